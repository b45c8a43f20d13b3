/* SPDX-License-Identifier: MIT */
#include "signerd/token_uri.h"

#define TOKEN_SCHEME "pkcs11:"

bool token_uri_is(struct str s)
{
    return s.len >= sizeof(TOKEN_SCHEME) - 1 && memcmp(s.p, TOKEN_SCHEME, sizeof(TOKEN_SCHEME) - 1) == 0;
}

static int uri_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-decoded, at most max bytes. The count, or -EINVAL. */
static int uri_decode(struct str s, uint8_t *dst, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= ' ' || c > '~' || n == max)
            return -EINVAL;
        if (c == '%') {
            int high = i + 2 < s.len ? uri_hex(s.p[i + 1]) : -1,
                low = i + 2 < s.len ? uri_hex(s.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return -EINVAL;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        }
        dst[n++] = c;
    }
    return (int)n;
}

static int uri_text(struct str s, char *dst, size_t cap)
{
    int n = dst[0] ? -EINVAL : uri_decode(s, (uint8_t *)dst, cap - 1); /* none twice */

    if (n <= 0 || memchr(dst, '\0', (size_t)n))
        return -EINVAL;
    dst[n] = '\0';
    return 0;
}

static int uri_path(struct str s, char *dst)
{
    int r;

    if (s.len > 5 && memcmp(s.p, "file:", 5) == 0)
        s = (struct str){s.p + 5, s.len - 5};
    if (s.len > 2 && memcmp(s.p, "//", 2) == 0) /* file:///path */
        s = (struct str){s.p + 2, s.len - 2};
    r = uri_text(s, dst, PATH_MAX);
    return r == 0 && dst[0] == '/' ? 0 : -EINVAL;
}

static int uri_take_path_attribute(struct str name, struct str value, struct token_uri *u)
{
    int n;

    if (str_is(name, "token"))
        return uri_text(value, u->token, sizeof(u->token));
    if (str_is(name, "serial"))
        return uri_text(value, u->serial, sizeof(u->serial));
    if (str_is(name, "object"))
        return uri_text(value, u->object, sizeof(u->object));
    if (str_is(name, "type"))
        return str_is(value, "private") ? 0 : -EINVAL;
    if (!str_is(name, "id"))
        return -EINVAL;
    n = u->id_len ? -EINVAL : uri_decode(value, u->id, sizeof(u->id));
    if (n <= 0)
        return -EINVAL;
    u->id_len = (size_t)n;
    return 0;
}

static int uri_take_query_attribute(struct str name, struct str value, struct token_uri *u)
{
    if (str_is(name, "module-path"))
        return uri_path(value, u->module);
    if (str_is(name, "pin-source"))
        return uri_path(value, u->pin_file);
    return str_is(name, "x-token-dir") ? uri_path(value, u->token_dir) : -EINVAL;
}

/* name=value pairs with this separator. */
static int uri_each(struct str s, char separator, struct token_uri *u,
                    int (*take)(struct str name, struct str value, struct token_uri *u))
{
    while (s.len > 0) {
        const char *end = memchr(s.p, separator, s.len), *equals;
        size_t n = end ? (size_t)(end - s.p) : s.len;

        equals = memchr(s.p, '=', n);
        if (!equals || take((struct str){s.p, (size_t)(equals - s.p)},
                            (struct str){equals + 1, n - (size_t)(equals + 1 - s.p)}, u) < 0)
            return -EINVAL;
        n += end != NULL;
        s = (struct str){s.p + n, s.len - n};
    }
    return 0;
}

int token_uri_parse(struct str s, struct token_uri *ret, const char **ret_why)
{
    const size_t scheme = sizeof(TOKEN_SCHEME) - 1;
    struct token_uri u = {.token = ""};
    const char *query;
    size_t n;

    *ret_why = "it is not a pkcs11: URI that is understood here (RFC 7512)";
    if (!token_uri_is(s) || s.len > TOKEN_URI_MAX)
        return -EINVAL;
    s = (struct str){s.p + scheme, s.len - scheme};
    query = s.len ? memchr(s.p, '?', s.len) : NULL;
    n = query ? (size_t)(query - s.p) : s.len;
    if (uri_each((struct str){s.p, n}, ';', &u, uri_take_path_attribute) < 0 ||
        (query && uri_each((struct str){query + 1, s.len - n - 1}, '&', &u, uri_take_query_attribute) < 0))
        return -EINVAL;
    if (!u.module[0])
        *ret_why = "it does not say which module: ?module-path=/path/of/module.so";
    else if (!u.pin_file[0])
        *ret_why = "it does not say where the PIN is: pin-source=file:/path";
    else if (!u.token[0] && !u.serial[0])
        *ret_why = "it does not say which token: token=LABEL";
    else if (!u.object[0] && !u.id_len)
        *ret_why = "it does not say which key: object=LABEL or id=%01";
    else {
        *ret = u;
        return 0;
    }
    return -EINVAL;
}
