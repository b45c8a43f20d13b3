/* SPDX-License-Identifier: MIT */
#include "common/base/num.h"
#include "proto/limits.h"
#include "supervisor/spec/validate.h"

#define SCHEME     "https://"
#define TEMPLATE   "{?dns}" /* RFC 6570, as RFC 8484 section 4.1 writes it; ours is the POST form */
#define HTTPS_PORT 443u

static bool complain(struct validate *v, const struct doc_at *at, const char *text)
{
    doc_complain(&v->doc, at, "endpoint", "%s", text);
    return false;
}

/* RFC 3986 section 3.3: what a path may be made of; a query and a fragment are not asked for. */
static bool good_path(struct str s)
{
    static const char other[] = "-._~!$&'()*+,;=:@%/";
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              memchr(other, c, sizeof(other) - 1)))
            return false;
    }
    return true;
}

/* The host and port, as they stand between "//" and the path. */
static bool authority(struct validate *v, const struct doc_at *at, struct str s, struct endpoint_addr *ret)
{
    struct endpoint_addr e = {.port = HTTPS_PORT};
    struct str host = s, name;
    uint64_t port;
    if (s.len >= 2 && s.p[0] == '[' && s.p[s.len - 1] == ']' &&
        addr_parse((struct str){s.p + 1, s.len - 2}, &e.addr) == 0) {
        *ret = e;
        return e.addr.family == AF_INET6 || complain(v, at, "must have only IPv6 addresses in brackets");
    }
    if (addr_parse(s, &e.addr) == 0 ? e.addr.family == AF_INET : addr_endpoint_parse(s, 0, &e) == 0) {
        *ret = e;
        return true;
    }
    const char *colon = memrchr(s.p, ':', s.len);
    if (colon) {
        host.len = (size_t)(colon - s.p);
        if (num_parse_u64((struct str){colon + 1, s.len - host.len - 1}, 1, 65535, &port) < 0)
            return complain(v, at, "must have a port from 1 to 65535 behind the \":\"");
        e.port = (uint16_t)port;
    }
    if (!validate_name(v, at, host, /* pattern= */ false, &name))
        return false;
    *ret = (struct endpoint_addr){.addr = {.family = AF_UNSPEC}, .port = e.port};
    return true;
}

bool validate_doh_url(struct validate *v, const struct doc_at *at, struct str *ret_url,
                      struct endpoint_addr *ret_addr)
{
    const size_t scheme = sizeof(SCHEME) - 1, template = sizeof(TEMPLATE) - 1;
    struct str s;
    if (!doc_str(&v->doc, at, LIMIT_URL, &s))
        return false;
    if (s.len <= scheme || strncmp(s.p, SCHEME, scheme) != 0)
        return complain(v, at, "must be an https:// URL");
    if (s.len > template && memcmp(s.p + s.len - template, TEMPLATE, template) == 0)
        s.len -= template;
    struct str rest = {s.p + scheme, s.len - scheme};
    const char *slash = memchr(rest.p, '/', rest.len);
    struct str host = {rest.p, slash ? (size_t)(slash - rest.p) : rest.len};
    if (memchr(host.p, '@', host.len))
        return complain(v, at, "must not have a user name");
    if (!good_path((struct str){host.p + host.len, rest.len - host.len}))
        return complain(v, at, "must have no query, fragment or character that a path may not have");
    if (!authority(v, at, host, ret_addr))
        return false;
    struct str copy = arena_copy(v->doc.arena, s);
    if (!copy.p) {
        v->doc.out->err = -ENOMEM;
        return false;
    }
    *ret_url = copy;
    return true;
}
