/* SPDX-License-Identifier: MIT */
#include "proto/limits.h"
#include "supervisor/spec/validate.h"

#define RESOLVER_ID_MAX 128u
#define STALE_MAX_S     604800u /* RFC 8767 section 5: stale data at most a week */
#define NOVEL_IPS_MAX   65535u

/* ---- resolvers ---- */

static void endpoint(struct validate *v, const struct doc_at *at, struct spec_resolver *r)
{
    struct str s;
    if (!doc_str(&v->doc, at, LIMIT_LABEL, &s))
        return;
    if (r->protocol == RESOLVER_DOH) {
        if (strncmp(s.p, "https://", 8) != 0 || s.len == 8)
            doc_complain(&v->doc, at, "endpoint", "must be an https:// URL");
    } else if (addr_endpoint_parse(s, 0, &r->endpoint) < 0) {
        doc_complain(&v->doc, at, "endpoint", "must be IP:PORT or [IPv6]:PORT");
    }
}

static void dnssec(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {
        {"validate", true}, {"failClosed", true}, {"trustAnchorsPath", false}};
    struct doc_at f;
    struct str s;
    bool b;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "validate", &f))
        doc_bool(&v->doc, &f, &b);
    if (doc_member(at, "failClosed", &f))
        doc_bool(&v->doc, &f, &b);
    if (doc_member(at, "trustAnchorsPath", &f))
        validate_path(v, &f, &s);
}

static void resolver(struct validate *v, const struct doc_at *at, struct spec_resolver *r)
{
    static const struct doc_key keys[] = {{"resolverId", true},
                                          {"protocol", true},
                                          {"endpoint", true},
                                          {"dnssec", false},
                                          {"tlsServerName", false}};
    struct doc_at f;
    struct str s;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "resolverId", &f))
        validate_id(v, &f, RESOLVER_ID_MAX, "._-", &r->id);
    if (doc_member(at, "protocol", &f))
        doc_enum(&v->doc, &f, &enum_resolver_protocol, &r->protocol);
    if (doc_member(at, "endpoint", &f))
        endpoint(v, &f, r);
    if (doc_member(at, "dnssec", &f))
        dnssec(v, &f);
    if (doc_member(at, "tlsServerName", &f) && doc_str(&v->doc, &f, NAME_MAX_LEN + 1, &s))
        validate_name(v, &f, s, /* pattern= */ false, &s);
}

static void resolvers(struct validate *v, const struct doc_at *at, struct spec_dns *dns)
{
    size_t n;
    if (!doc_array(&v->doc, at, 1, LIMIT_RESOLVERS, &n))
        return;
    struct spec_resolver *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i), f;
        resolver(v, &e, &list[i]);
        for (size_t k = 0; k < i; k++)
            if (list[i].id.p && list[k].id.p && str_eq(list[i].id, list[k].id) &&
                doc_member(&e, "resolverId", &f))
                doc_complain(&v->doc, &f, "unique", "must be unique");
    }
    dns->resolvers = list;
    dns->nresolvers = n;
}

/* ---- what may be asked ---- */

static void hostname_allowlist(struct validate *v, const struct doc_at *at, struct spec_dns *dns)
{
    size_t n;
    struct str s;
    if (!doc_array(&v->doc, at, 0, LIMIT_DNS_NAMES, &n))
        return;
    struct str *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i);
        if (doc_str(&v->doc, &e, NAME_MAX_LEN + 2, &s))
            validate_name(v, &e, s, /* pattern= */ true, &list[i]);
    }
    dns->names = (struct strs){list, n};
}

static void query_types(struct validate *v, const struct doc_at *at, struct spec_dns *dns)
{
    size_t n;
    if (!doc_array(&v->doc, at, 0, LIMIT_QUERY_TYPES, &n))
        return;
    struct str *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i);
        if (!doc_str(&v->doc, &e, 16, &list[i]))
            continue;
        if (!spec_query_type_known(list[i]))
            doc_complain(&v->doc, &e, "query-type",
                         "must be a DNS data type in upper case, such as \"A\" or \"HTTPS\"");
        for (size_t k = 0; k < i; k++)
            if (list[k].p && str_eq(list[k], list[i])) {
                doc_complain(&v->doc, &e, "unique", "is listed twice");
                break;
            }
    }
    if (n)
        dns->query_types = (struct strs){list, n};
}

/* ---- what may be answered ---- */

static void answer(struct validate *v, const struct doc_at *at, struct spec_answer *ret)
{
    struct str s;
    if (!doc_str(&v->doc, at, NAME_MAX_LEN + 2 + ADDR_ENDPOINT_MAX, &s))
        return;
    const char *colon = memchr(s.p, ':', s.len);
    if (!colon) {
        doc_complain(&v->doc, at, "answer", "must be HOST:ADDRESS or HOST:PREFIX");
        return;
    }
    struct str host = {s.p, (size_t)(colon - s.p)}, prefix = {colon + 1, s.len - host.len - 1};
    validate_name(v, at, host, /* pattern= */ true, &ret->name);
    validate_prefix(v, at, prefix, &ret->prefix);
}

static void answer_allowlist(struct validate *v, const struct doc_at *at, struct spec_dns *dns)
{
    size_t n;
    if (!doc_array(&v->doc, at, 0, LIMIT_ANSWER_RULES, &n))
        return;
    struct spec_answer *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i);
        answer(v, &e, &list[i]);
    }
    dns->answers = list;
    dns->nanswers = n;
}

static void rebinding_policy(struct validate *v, const struct doc_at *at, struct spec_dns *dns)
{
    static const struct doc_key keys[] = {
        {"maxNovelIpsPerHostname", false}, {"responseIpAllowlist", false}, {"rejectOnRebind", false}};
    struct doc_at f;
    uint64_t n;
    bool b;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "maxNovelIpsPerHostname", &f))
        doc_uint(&v->doc, &f, 1, NOVEL_IPS_MAX, &n);
    if (doc_member(at, "responseIpAllowlist", &f))
        answer_allowlist(v, &f, dns);
    if (doc_member(at, "rejectOnRebind", &f))
        doc_bool(&v->doc, &f, &b);
}

static void refresh_policy(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {
        {"minTtlSeconds", false}, {"maxStaleSeconds", false}, {"strategy", false}};
    static const char *const words[] = {"ttl-honor", "manual"};
    static const struct enum_names names = {"strategy", words, ARRAY_LEN(words)};
    struct doc_at f;
    uint64_t n;
    uint32_t word;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "minTtlSeconds", &f))
        doc_uint(&v->doc, &f, 0, STALE_MAX_S, &n);
    if (doc_member(at, "maxStaleSeconds", &f))
        doc_uint(&v->doc, &f, 0, STALE_MAX_S, &n);
    if (doc_member(at, "strategy", &f))
        doc_enum(&v->doc, &f, &names, &word);
}

static void answer_mode(struct validate *v, const struct doc_at *at)
{
    static const char *const words[] = {"real", "synthetic"};
    static const struct enum_names names = {"answerMode", words, ARRAY_LEN(words)};
    uint32_t word;
    doc_enum(&v->doc, at, &names, &word);
}

void validate_dns_authority(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {{"resolvers", false},         {"hostnameAllowlist", false},
                                          {"allowedQueryTypes", false}, {"refreshPolicy", false},
                                          {"rebindingPolicy", false},   {"answerMode", false}};
    struct doc_at f;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    struct spec_dns *dns = doc_alloc(&v->doc, 1, sizeof(*dns));
    if (!dns)
        return;
    dns->query_types = spec_query_types_default;
    if (doc_member(at, "resolvers", &f))
        resolvers(v, &f, dns);
    if (doc_member(at, "hostnameAllowlist", &f))
        hostname_allowlist(v, &f, dns);
    if (doc_member(at, "allowedQueryTypes", &f))
        query_types(v, &f, dns);
    if (doc_member(at, "refreshPolicy", &f))
        refresh_policy(v, &f);
    if (doc_member(at, "rebindingPolicy", &f))
        rebinding_policy(v, &f, dns);
    if (doc_member(at, "answerMode", &f))
        answer_mode(v, &f);
    v->spec->dns = dns;
}
