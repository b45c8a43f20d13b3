/* SPDX-License-Identifier: MIT */
#include "proto/limits.h"
#include "supervisor/spec/validate.h"

#define STALE_MAX_S   604800u /* RFC 8767 section 5: stale data at most a week */
#define NOVEL_IPS_MAX 65535u

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
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    struct spec_rebinding *r = doc_alloc(&v->doc, 1, sizeof(*r));
    if (!r)
        return;
    if (doc_member(at, "maxNovelIpsPerHostname", &f) && doc_uint(&v->doc, &f, 1, NOVEL_IPS_MAX, &n))
        r->max_novel = OPT_UINT(n);
    if (doc_member(at, "responseIpAllowlist", &f))
        answer_allowlist(v, &f, dns);
    if (doc_member(at, "rejectOnRebind", &f))
        doc_bool(&v->doc, &f, &r->reject);
    if (doc_member(at, "rejectOnRebind", &f) && r->reject && !r->max_novel.set && dns->nanswers == 0)
        doc_complain(
            &v->doc, &f, "needs",
            "needs \"maxNovelIpsPerHostname\" or \"responseIpAllowlist\": there is nothing to reject");
    if (r->max_novel.set || r->reject)
        dns->rebinding = r;
}

static void refresh_policy(struct validate *v, const struct doc_at *at, struct spec_dns *dns)
{
    static const struct doc_key keys[] = {
        {"minTtlSeconds", false}, {"maxStaleSeconds", false}, {"strategy", false}};
    struct doc_at f;
    uint64_t n;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    struct spec_refresh *r = doc_alloc(&v->doc, 1, sizeof(*r));
    if (!r)
        return;
    r->strategy = REFRESH_TTL_HONOR;
    if (doc_member(at, "minTtlSeconds", &f) && doc_uint(&v->doc, &f, 0, STALE_MAX_S, &n))
        r->min_ttl_s = OPT_UINT(n);
    if (doc_member(at, "maxStaleSeconds", &f) && doc_uint(&v->doc, &f, 0, STALE_MAX_S, &n))
        r->max_stale_s = OPT_UINT(n);
    if (doc_member(at, "strategy", &f))
        doc_enum(&v->doc, &f, &enum_refresh_strategy, &r->strategy);
    dns->refresh = r;
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
    dns->answer_mode = ANSWER_REAL;
    if (doc_member(at, "resolvers", &f))
        validate_resolvers(v, &f, dns);
    if (doc_member(at, "hostnameAllowlist", &f))
        hostname_allowlist(v, &f, dns);
    if (doc_member(at, "allowedQueryTypes", &f))
        query_types(v, &f, dns);
    if (doc_member(at, "refreshPolicy", &f))
        refresh_policy(v, &f, dns);
    if (doc_member(at, "rebindingPolicy", &f))
        rebinding_policy(v, &f, dns);
    if (doc_member(at, "answerMode", &f))
        doc_enum(&v->doc, &f, &enum_answer_mode, &dns->answer_mode);
    v->spec->dns = dns;
}
