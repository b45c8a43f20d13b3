/* SPDX-License-Identifier: MIT */
/* dnsAuthority.resolvers: whom the proxy asks, over what, and what of the answers it believes. */
#include "proto/limits.h"
#include "supervisor/spec/validate.h"

#define RESOLVER_ID_MAX 128u

static void endpoint(struct validate *v, const struct doc_at *at, struct spec_resolver *r)
{
    struct str s;
    if (r->protocol == RESOLVER_DOH) {
        validate_doh_url(v, at, &r->url, &r->endpoint);
        return;
    }
    if (doc_str(&v->doc, at, LIMIT_LABEL, &s) && addr_endpoint_parse(s, 0, &r->endpoint) < 0)
        doc_complain(&v->doc, at, "endpoint", "must be IP:PORT or [IPv6]:PORT");
}

/* What only makes sense once answers are validated. */
static void needs_validate(struct validate *v, const struct doc_at *at, const char *key)
{
    struct doc_at f;
    if (doc_member(at, key, &f))
        doc_complain(&v->doc, &f, "needs", "needs \"validate\": true");
}

static void dnssec(struct validate *v, const struct doc_at *at, struct spec_resolver *r)
{
    static const struct doc_key keys[] = {
        {"validate", true}, {"failClosed", true}, {"trustAnchorsPath", false}};
    struct doc_at f;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    bool known = doc_member(at, "validate", &f) && doc_bool(&v->doc, &f, &r->dnssec_validate);
    if (doc_member(at, "failClosed", &f))
        doc_bool(&v->doc, &f, &r->dnssec_fail_closed);
    if (doc_member(at, "trustAnchorsPath", &f))
        validate_path(v, &f, &r->trust_anchors_path);
    if (known && !r->dnssec_validate && r->dnssec_fail_closed)
        needs_validate(v, at, "failClosed");
    if (known && !r->dnssec_validate)
        needs_validate(v, at, "trustAnchorsPath");
}

static void tls_server_name(struct validate *v, const struct doc_at *at, struct spec_resolver *r)
{
    struct str s;
    if (r->protocol && r->protocol != RESOLVER_DOT && r->protocol != RESOLVER_DOH)
        doc_complain(&v->doc, at, "needs", "is only for the protocols dot and doh");
    if (doc_str(&v->doc, at, NAME_MAX_LEN + 1, &s))
        validate_name(v, at, s, /* pattern= */ false, &r->tls_server_name);
}

static void resolver(struct validate *v, const struct doc_at *at, struct spec_resolver *r)
{
    static const struct doc_key keys[] = {{"resolverId", true},
                                          {"protocol", true},
                                          {"endpoint", true},
                                          {"dnssec", false},
                                          {"tlsServerName", false}};
    struct doc_at f;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "resolverId", &f))
        validate_id(v, &f, RESOLVER_ID_MAX, "._-", &r->id);
    if (doc_member(at, "protocol", &f) && doc_enum(&v->doc, &f, &enum_resolver_protocol, &r->protocol) &&
        r->protocol == RESOLVER_DOQ)
        doc_complain(&v->doc, &f, "unsupported", "doq: no DNS-over-QUIC client library exists in Debian 12");
    if (doc_member(at, "endpoint", &f))
        endpoint(v, &f, r);
    if (doc_member(at, "dnssec", &f))
        dnssec(v, &f, r);
    if (doc_member(at, "tlsServerName", &f))
        tls_server_name(v, &f, r);
}

void validate_resolvers(struct validate *v, const struct doc_at *at, struct spec_dns *dns)
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
