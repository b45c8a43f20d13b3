/* SPDX-License-Identifier: MIT */
#include "proxyd/http/fields.h"

#include <strings.h>

bool http_is_token_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool http_is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!http_is_token_char((uint8_t)s.p[i]))
            return false;
    return s.len > 0;
}

bool http_is_control(uint8_t c)
{
    return (c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f;
}

struct str http_trim(struct str s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.len--;
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

struct str http_cut(struct str s, char c, struct str *rest)
{
    const char *at = s.len > 0 ? memchr(s.p, c, s.len) : NULL;

    *rest = at ? (struct str){at + 1, s.len - (size_t)(at - s.p) - 1} : STR_NONE;
    return at ? (struct str){s.p, (size_t)(at - s.p)} : s;
}

bool http_is_nocase(struct str s, const char *t)
{
    return s.len == strlen(t) && (s.len == 0 || strncasecmp(s.p, t, s.len) == 0);
}

bool http_list_next(struct str *rest, struct str *ret)
{
    while (rest->len > 0) {
        struct str element = http_trim(http_cut(*rest, ',', rest));
        if (element.len == 0)
            continue;
        *ret = element;
        return true;
    }
    return false;
}

struct str http_line_next(struct str *rest)
{
    struct str line = http_cut(*rest, '\r', rest);

    *rest = rest->len > 0 ? (struct str){rest->p + 1, rest->len - 1} : STR_NONE;
    return line;
}

bool http_field_next(struct str *rest, struct http_field *ret)
{
    struct str value, line = http_line_next(rest);

    if (line.len == 0)
        return false;
    struct str name = http_cut(line, ':', &value);
    *ret = (struct http_field){name, value.p ? http_trim(value) : STR_NONE, line};
    return true;
}

bool http_field_is(const struct http_field *f, const char *name)
{
    return http_is_nocase(f->name, name);
}

static bool is_one_of(struct str s, const char *const *names)
{
    for (; *names; names++)
        if (http_is_nocase(s, *names))
            return true;
    return false;
}

int http_connection_add(struct http_connection *c, struct str value)
{
    struct str token;

    while (http_list_next(&value, &token)) {
        if (!http_is_token(token) || c->n >= ARRAY_LEN(c->tokens))
            return -EBADMSG;
        c->tokens[c->n++] = token;
        c->close |= http_is_nocase(token, "close");
        c->keep_alive |= http_is_nocase(token, "keep-alive");
        c->upgrade |= http_is_nocase(token, "upgrade");
    }
    return 0;
}

bool http_field_is_hop(const struct http_connection *c, const struct http_field *f)
{
    static const char *const always[] = {
        "Connection",          "Keep-Alive", "Proxy-Connection",
        "Proxy-Authorization", "TE",         "HTTP2-Settings",
        "Proxy-Authenticate",  "Upgrade",    NULL,
    };
    static const char *const never[] = {"Host", "Content-Length", "Transfer-Encoding", "Trailer", NULL};

    if (is_one_of(f->name, always))
        return true;
    if (is_one_of(f->name, never))
        return false;
    for (size_t i = 0; i < c->n; i++)
        if (str_eq(c->tokens[i], f->name) ||
            (c->tokens[i].len == f->name.len && strncasecmp(c->tokens[i].p, f->name.p, f->name.len) == 0))
            return true;
    return false;
}
