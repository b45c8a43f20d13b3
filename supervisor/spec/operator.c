/* SPDX-License-Identifier: MIT */
#include "supervisor/spec/operator.h"

#include <stdio.h>

#include "proto/limits.h"
#include "supervisor/spec/load.h"
#include "supervisor/spec/operator_internal.h"
#include "supervisor/spec/validate.h"

/* ---- network ---- */

/* One IPv4 prefix, one IPv6 prefix, or both with a comma. netd cuts the cells' addresses from them. */
static void routed_pool(struct validate *v, const struct doc_at *at, struct operator_config *c)
{
    char text[2][SPEC_PREFIX_TEXT_MAX] = {"", ""}, both[2 * SPEC_PREFIX_TEXT_MAX];
    size_t n = 0;
    bool seen4 = false, seen6 = false;
    struct str rest;
    if (!doc_str(&v->doc, at, OPERATOR_ROUTED_POOL, &rest))
        return;
    for (bool more = true; more;) {
        const char *comma = memchr(rest.p, ',', rest.len);
        struct str s = {rest.p, comma ? (size_t)(comma - rest.p) : rest.len};
        struct addr_prefix p;
        bool *seen;
        bool good = addr_prefix_parse(s, &p) == 0;
        seen = good && p.addr.family == AF_INET6 ? &seen6 : &seen4;
        if (!good || *seen) {
            doc_complain(&v->doc, at, "pool",
                         "must be an IPv4 prefix, an IPv6 prefix, or one of each with a comma between");
            return;
        }
        *seen = true;
        (void)spec_prefix_format(&p, text[n++]);
        more = comma != NULL;
        rest = (struct str){rest.p + s.len + more, rest.len - s.len - more};
    }
    (void)snprintf(both, sizeof(both), "%s%s%s", text[0], n > 1 ? "," : "", text[1]);
    c->routed_pool = arena_copy(&c->arena, str_of(both));
    if (!c->routed_pool.p)
        v->doc.out->err = -ENOMEM;
}

static void upstream_proxy(struct validate *v, const struct doc_at *at, struct operator_config *c)
{
    static const struct doc_key keys[] = {{"kind", true}, {"endpoint", true}};
    struct policy_upstream *u = doc_alloc(&v->doc, 1, sizeof(*u));
    struct endpoint_addr e;
    struct doc_at f;
    if (!u || !doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "kind", &f))
        doc_enum(&v->doc, &f, &enum_upstream_proxy, &u->kind);
    if (doc_member(at, "endpoint", &f) && doc_str(&v->doc, &f, LIMIT_ADDR_TEXT, &u->endpoint) &&
        addr_endpoint_parse(u->endpoint, 0, &e) < 0)
        doc_complain(&v->doc, &f, "endpoint", "must be IP:PORT or [IPv6]:PORT");
    c->network.upstream = u;
}

static void metadata_address(struct validate *v, const struct doc_at *at, struct str *ret)
{
    struct addr a;
    if (doc_str(&v->doc, at, LIMIT_ADDR_TEXT, ret) &&
        (addr_parse(*ret, &a) < 0 || addr_classify(&a) != ADDR_METADATA))
        doc_complain(&v->doc, at, "metadata",
                     "must be 169.254.169.254, fd00:ec2::254, 168.63.129.16 or 100.100.100.200");
}

static void metadata(struct validate *v, const struct doc_at *at, struct operator_config *c)
{
    size_t n;
    if (!doc_array(&v->doc, at, 0, LIMIT_METADATA_PREFIXES, &n))
        return;
    struct str *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i);
        metadata_address(v, &e, &list[i]);
    }
    c->network.metadata = (struct strs){list, n};
}

static void network(struct validate *v, const struct doc_at *at, struct operator_config *c)
{
    static const struct doc_key keys[] = {
        {"mode", false},  {"routedPool", false},        {"upstreamProxy", false},
        {"quota", false}, {"metadataAddresses", false}, {"caFile", false}};
    struct doc_at f;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "mode", &f))
        doc_enum(&v->doc, &f, &enum_net_mode, &c->network.mode);
    if (doc_member(at, "routedPool", &f))
        routed_pool(v, &f, c);
    else if (c->network.mode == NET_MODE_ROUTED)
        doc_complain(&v->doc, &f, "needs", "is required for the mode \"routed\"");
    if (doc_member(at, "upstreamProxy", &f))
        upstream_proxy(v, &f, c);
    if (doc_member(at, "quota", &f))
        validate_quota(&v->doc, &f, LIMIT_DNS_RATE_MAX, &c->network.quota);
    if (doc_member(at, "metadataAddresses", &f))
        metadata(v, &f, c);
    if (doc_member(at, "caFile", &f))
        validate_path(v, &f, &c->ca_file);
}

/* ---- log ---- */

static void log_settings(struct validate *v, const struct doc_at *at, struct operator_log *l)
{
    static const struct doc_key keys[] = {
        {"seal", false},        {"segmentBytes", false},     {"segmentAgeSeconds", false},
        {"retainBytes", false}, {"retainAgeSeconds", false}, {"redact", false},
        {"quota", false}};
    const struct {
        const char *name;
        uint64_t min, max, *to;
    } numbers[] = {{"segmentBytes", LIMIT_SEGMENT_MIN, LIMIT_SEGMENT_MAX, &l->segment_bytes},
                   {"segmentAgeSeconds", 1, LIMIT_RETAIN_AGE_S, &l->segment_age_s},
                   {"retainBytes", 0, LIMIT_RETAIN_BYTES, &l->retain_bytes},
                   {"retainAgeSeconds", 0, LIMIT_RETAIN_AGE_S, &l->retain_age_s}};
    struct doc_at f;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "seal", &f))
        doc_enum(&v->doc, &f, &enum_seal_mode, &l->seal);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (doc_member(at, numbers[i].name, &f))
            doc_uint(&v->doc, &f, numbers[i].min, numbers[i].max, numbers[i].to);
    if (doc_member(at, "redact", &f))
        operator_redact(v, &f, &l->redact);
    if (doc_member(at, "quota", &f))
        operator_log_quota(v, &f, l);
}

/* ---- the document ---- */

static void constant(struct validate *v, const struct doc_at *at, const char *wanted)
{
    struct str s;
    if (doc_str(&v->doc, at, LIMIT_LABEL, &s) && !str_is(s, wanted))
        doc_complain(&v->doc, at, "constant", "must be \"%s\"", wanted);
}

static void document(struct validate *v, const struct doc_at *at, struct operator_config *c)
{
    static const struct doc_key top[] = {{"apiVersion", true}, {"kind", true}, {"spec", true}};
    static const struct doc_key keys[] = {{"evidence", false}, {"network", false}, {"log", false}};
    struct doc_at f, g;
    if (!doc_object(&v->doc, at, top, ARRAY_LEN(top)))
        return;
    if (doc_member(at, "apiVersion", &f))
        constant(v, &f, SPEC_API_VERSION);
    if (doc_member(at, "kind", &f))
        constant(v, &f, OPERATOR_KIND);
    if (!doc_member(at, "spec", &f) || !doc_object(&v->doc, &f, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(&f, "evidence", &g))
        c->has_evidence = doc_enum(&v->doc, &g, &enum_evidence, &c->network.evidence);
    if (doc_member(&f, "network", &g))
        network(v, &g, c);
    if (doc_member(&f, "log", &g))
        log_settings(v, &g, &c->log);
}

int operator_default(struct operator_config **ret)
{
    struct operator_config *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    arena_init(&c->arena, SPEC_ARENA);
    c->network.evidence = EVIDENCE_STRICT;
    c->network.mode = NET_MODE_INTERCEPT;
    c->log = (struct operator_log){
        .seal = SEAL_EVENT, .segment_bytes = LIMIT_SEGMENT, .segment_age_s = LIMIT_SEGMENT_AGE_S};
    *ret = c;
    return 0;
}

int operator_parse(struct str bytes, struct operator_config **ret, struct violations *out)
{
    _cleanup_(document_unref) json_t *root = NULL;
    _cleanup_(operator_freep) struct operator_config *c = NULL;
    int r = document_load(bytes, &root, out);
    if (r != DOCUMENT_OK)
        return r < 0 ? r : OPERATOR_INVALID;
    r = operator_default(&c);
    if (r < 0)
        return r;
    struct validate v = {.doc = {&c->arena, out}};
    struct doc_at at = {.json = root};
    document(&v, &at, c);
    if (out->err)
        return out->err;
    if (out->n)
        return OPERATOR_INVALID;
    *ret = TAKE_PTR(c);
    return OPERATOR_OK;
}

struct operator_config *operator_free(struct operator_config *c)
{
    if (c)
        arena_done(&c->arena);
    free(c);
    return NULL;
}

void operator_freep(struct operator_config **c)
{
    *c = operator_free(*c);
}
