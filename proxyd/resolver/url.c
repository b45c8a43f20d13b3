/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "common/base/num.h"
#include "proxyd/resolver/upstream.h"

#define SCHEME "https://"

/* What may be in a path or a query (RFC 3986 section 3.3 and 3.4); "{" is not: a template is not expanded
 * here.
 */
static bool path_ok(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || !strchr("-._~!$&'()*+,;=:@/?%", c)))
            return false;
    }
    return true;
}

static int host_take(struct str s, struct dns_url *url)
{
    bool six = s.len > 2 && s.p[0] == '[' && s.p[s.len - 1] == ']';
    char text[ADDR_TEXT_MAX];
    struct name name;

    if (six)
        s = (struct str){s.p + 1, s.len - 2};
    if (addr_parse(s, &url->addr) == 0) {
        url->literal = true;
        (void)snprintf(url->host, sizeof(url->host), "%s", addr_format(&url->addr, text));
        return six == (url->addr.family == AF_INET6) ? 0 : -EINVAL;
    }
    if (six || name_parse(s, NAME_HOST, &name) != NAME_OK)
        return -EINVAL;
    memcpy(url->host, name.text, (size_t)name.len + 1);
    return 0;
}

int dns_url_parse(struct str s, struct dns_url *ret)
{
    struct dns_url url = {.port = 443};
    uint64_t port;
    size_t n = 0;

    if (s.len <= strlen(SCHEME) || s.len > LIMIT_URL || memcmp(s.p, SCHEME, strlen(SCHEME)) != 0)
        return -EINVAL;
    s = (struct str){s.p + strlen(SCHEME), s.len - strlen(SCHEME)};
    while (n < s.len && s.p[n] != '/' && s.p[n] != '?' && s.p[n] != '#')
        n++;
    struct str rest = {s.p + n, s.len - n}, host = {s.p, n};
    const char *colon = memrchr(host.p, ':', host.len);
    if (colon && !memchr(colon, ']', (size_t)(host.p + host.len - colon))) {
        struct str digits = {colon + 1, (size_t)(host.p + host.len - colon - 1)};
        if (num_parse_u64(digits, 1, UINT16_MAX, &port) < 0)
            return -EINVAL;
        url.port = (uint16_t)port;
        host.len = (size_t)(colon - host.p);
    }
    if (host_take(host, &url) < 0 || !path_ok(rest) || (rest.len > 0 && rest.p[0] != '/'))
        return -EINVAL;
    (void)snprintf(url.path, sizeof(url.path), "%.*s", rest.len ? (int)rest.len : 1, rest.len ? rest.p : "/");
    *ret = url;
    return 0;
}
