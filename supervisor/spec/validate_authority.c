/* SPDX-License-Identifier: MIT */
#include "common/base/num.h"
#include "proto/limits.h"
#include "supervisor/secrets/names.h"
#include "supervisor/spec/validate.h"

/* ---- secretRefs ---- */

static void secret_ref(struct validate *v, const struct doc_at *at, struct str *list, size_t i)
{
    struct str s;
    if (!validate_id(v, at, LIMIT_SECRET_NAME, "_-", &s))
        return;
    if (secret_name_reserved(s))
        doc_complain(&v->doc, at, "reserved", "is a reserved name");
    for (size_t k = 0; k < i; k++)
        if (list[k].p && str_eq(list[k], s)) {
            doc_complain(&v->doc, at, "unique", "must be unique");
            break;
        } else if (list[k].p && secret_names_collide(list[k], s)) {
            doc_complain(&v->doc, at, "unique", "has the same broker variable as entry %zu", k);
            break;
        }
    list[i] = s;
}

static void secret_refs(struct validate *v, const struct doc_at *at)
{
    size_t n;
    if (!doc_array(&v->doc, at, 0, LIMIT_SECRETS, &n))
        return;
    struct str *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i);
        secret_ref(v, &e, list, i);
    }
    v->spec->secrets = (struct strs){list, n};
}

/* ---- egressRules ---- */

static bool port_range(struct str s, struct spec_egress *r)
{
    uint64_t lo, hi;
    const char *dash = memchr(s.p, '-', s.len);
    if (!dash)
        return false;
    struct str a = {s.p, (size_t)(dash - s.p)}, b = {dash + 1, s.len - a.len - 1};
    if (num_parse_u64(a, 1, 65535, &lo) < 0 || num_parse_u64(b, 1, 65535, &hi) < 0 || lo > hi)
        return false;
    r->port_lo = (uint16_t)lo;
    r->port_hi = (uint16_t)hi;
    return true;
}

static void port(struct validate *v, const struct doc_at *at, struct spec_egress *r)
{
    uint64_t n;
    if (json_is_string(at->json)) {
        struct str s = {json_string_value(at->json), json_string_length(at->json)};
        if (!port_range(s, r))
            doc_complain(&v->doc, at, "port-range",
                         "must be a number, or a range such as \"8000-8100\" between 1 and 65535");
    } else if (!json_is_integer(at->json)) {
        doc_complain(&v->doc, at, "type", "must be an integer or a string, not %s", doc_type_name(at->json));
    } else if (doc_uint(&v->doc, at, 1, 65535, &n)) {
        r->port_lo = r->port_hi = (uint16_t)n;
    }
}

/* The spec's words: "https" means tls, and "any" is not one, absent says it. */
static void protocol(struct validate *v, const struct doc_at *at, uint32_t *ret)
{
    static const char *const words[] = {"tls", "https", "http", "h2c", "quic", "tcp", "udp"};
    static const struct enum_names names = {"protocol", words, ARRAY_LEN(words)};
    uint32_t word;
    if (!doc_enum(&v->doc, at, &names, &word))
        return;
    struct str text = str_of(words[word - 1]);
    *ret = str_is(text, "https") ? (uint32_t)EGRESS_TLS : enum_value(&enum_egress_protocol, text);
}

void validate_egress_rule(struct validate *v, const struct doc_at *at, struct spec_egress *r)
{
    static const struct doc_key keys[] = {
        {"host", true}, {"port", true}, {"protocol", false}, {"dnsEgressJustification", false}};
    struct doc_at f;
    r->protocol = EGRESS_ANY;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "host", &f))
        validate_host(v, &f, &r->host);
    if (doc_member(at, "port", &f))
        port(v, &f, r);
    if (doc_member(at, "protocol", &f))
        protocol(v, &f, &r->protocol);
    if (doc_member(at, "dnsEgressJustification", &f))
        doc_str(&v->doc, &f, SPEC_JUSTIFICATION, &r->justification);
}

static void egress_rules(struct validate *v, const struct doc_at *at)
{
    size_t n;
    if (!doc_array(&v->doc, at, 0, LIMIT_EGRESS_RULES, &n))
        return;
    struct spec_egress *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i);
        validate_egress_rule(v, &e, &list[i]);
    }
    v->spec->egress = list;
    v->spec->negress = n;
}

/* ---- cdnAuthority ---- */

static void cdn_patterns(struct validate *v, const struct doc_at *at, struct strs *ret)
{
    struct str s;
    size_t n;
    if (!doc_array(&v->doc, at, 1, LIMIT_CDN_PATTERNS, &n))
        return;
    struct str *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i);
        if (doc_str(&v->doc, &e, NAME_MAX_LEN + 2, &s))
            validate_name(v, &e, s, /* pattern= */ true, &list[i]);
    }
    *ret = (struct strs){list, n};
}

static void cdn_provider(struct validate *v, const struct doc_at *at, struct spec_cdn *ret)
{
    static const struct doc_key keys[] = {{"providerId", true}, {"hostnamePatterns", true}};
    struct doc_at f;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "providerId", &f))
        validate_id(v, &f, LIMIT_CELL_ID, "._-", &ret->provider_id);
    if (doc_member(at, "hostnamePatterns", &f))
        cdn_patterns(v, &f, &ret->patterns);
}

static void cdn_authority(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {{"providers", true}};
    struct doc_at f;
    size_t n;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (!doc_member(at, "providers", &f) || !doc_array(&v->doc, &f, 0, LIMIT_CDN_PROVIDERS, &n))
        return;
    struct spec_cdn *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(&f, i), id;
        cdn_provider(v, &e, &list[i]);
        for (size_t k = 0; k < i; k++)
            if (list[i].provider_id.p && list[k].provider_id.p &&
                str_eq(list[i].provider_id, list[k].provider_id) && doc_member(&e, "providerId", &id))
                doc_complain(&v->doc, &id, "unique", "must be unique");
    }
    v->spec->cdn = list;
    v->spec->ncdn = n;
}

/* ---- egressQuota ---- */

void validate_quota(struct doc *d, const struct doc_at *at, uint64_t dns_max, struct spec_quota *ret)
{
    static const struct doc_key keys[] = {{"maxConnections", false},
                                          {"maxBytes", false},
                                          {"maxBytesPerSecond", false},
                                          {"maxDnsPerSecond", false}};
    struct opt_uint *const values[] = {&ret->max_connections, &ret->max_bytes, &ret->max_bytes_per_second,
                                       &ret->max_dns_per_second};
    const uint64_t max[] = {LIMIT_TCP_OPEN, INT64_MAX, INT64_MAX, dns_max};
    struct doc_at f;
    if (!doc_object(d, at, keys, ARRAY_LEN(keys)))
        return;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        uint64_t n;
        if (doc_member(at, keys[i].name, &f) && doc_uint(d, &f, 1, max[i], &n))
            *values[i] = OPT_UINT(n);
    }
}

static void egress_quota(struct validate *v, const struct doc_at *at)
{
    validate_quota(&v->doc, at, LIMIT_DNS_PER_SECOND, &v->spec->quota);
}

static void authority_derivation(struct validate *v, const struct doc_at *at)
{
    if (!json_is_object(at->json))
        doc_complain(&v->doc, at, "type", "must be an object, not %s", doc_type_name(at->json));
}

void validate_authority(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {{"secretRefs", true},    {"egressRules", false},
                                          {"egressQuota", false},  {"dnsAuthority", false},
                                          {"cdnAuthority", false}, {"authorityDerivation", false},
                                          {"filesystem", false}};
    static const struct {
        const char *name;
        void (*validate)(struct validate *v, const struct doc_at *at);
    } rows[] = {
        {"secretRefs", secret_refs},         {"egressRules", egress_rules},
        {"egressQuota", egress_quota},       {"dnsAuthority", validate_dns_authority},
        {"cdnAuthority", cdn_authority},     {"authorityDerivation", authority_derivation},
        {"filesystem", validate_filesystem},
    };
    struct doc_at f;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (doc_member(at, rows[i].name, &f))
            rows[i].validate(v, &f);
}
