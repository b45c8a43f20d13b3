/* SPDX-License-Identifier: MIT */
/* The resolvers of a policy document. What cannot be served is refused with a sentence in the log. */
#include "common/base/log.h"
#include "proxyd/policy.h"
#include "proxyd/resolver/anchors.h"
#include "proxyd/resolver/upstream.h"

#define PORT_DO53 53
#define PORT_DOT  853

static int refused(const struct policy_resolver *r, const char *why)
{
    log_error("resolver %.*s: %s", (int)r->resolver_id.len, r->resolver_id.p, why);
    return -EINVAL;
}

static int compile_doh(const struct policy_resolver *r, struct dns_resolver *to)
{
    if (r->url.len == 0 || dns_url_parse(r->url, &to->url) < 0)
        return refused(r, "doh needs an https url");
    /* an endpoint beside it saves the look-up of the host */
    if (r->endpoint.len > 0 && addr_endpoint_parse(r->endpoint, to->url.port, &to->addr) < 0)
        return refused(r, "the endpoint is no address");
    return 0;
}

static int compile_where(const struct policy_resolver *r, struct dns_resolver *to)
{
    uint16_t port = r->protocol == RESOLVER_DOT ? PORT_DOT : PORT_DO53;

    switch (r->protocol) {
    case RESOLVER_DO53_UDP:
    case RESOLVER_DO53_TCP:
    case RESOLVER_DOT:
        if (addr_endpoint_parse(r->endpoint, port, &to->addr) < 0)
            return refused(r, "the endpoint is no address");
        return r->url.len == 0 ? 0 : refused(r, "only doh has a url");
    case RESOLVER_DOH:
        return compile_doh(r, to);
    case RESOLVER_DOQ:
        return refused(r, "doq is not served: no library in Debian 12 carries a client for it");
    default:
        return refused(r, "unknown protocol");
    }
}

static int compile_tls_name(const struct policy_resolver *r, struct dns_resolver *to)
{
    struct name name;

    if (r->tls_server_name.len == 0)
        return 0;
    if (r->protocol != RESOLVER_DOT && r->protocol != RESOLVER_DOH)
        return refused(r, "only dot and doh have a tlsServerName");
    if (name_parse(r->tls_server_name, NAME_HOST, &name) != NAME_OK)
        return refused(r, "tlsServerName is no host name");
    memcpy(to->tls_name, name.text, (size_t)name.len + 1);
    return 0;
}

static int compile_dnssec(const struct policy_resolver *r, struct dns_resolver *to, char **anchors)
{
    to->validate = r->dnssec_validate;
    to->fail_closed = r->dnssec_fail_closed;
    if (to->fail_closed && !to->validate)
        return refused(r, "failClosed means nothing without validate");
    if (r->trust_anchors.len == 0)
        return 0;
    if (dns_anchors_check(r->trust_anchors) < 0)
        return refused(r, "the trust anchors are not DS or DNSKEY records as zone file text");
    memcpy(*anchors, r->trust_anchors.p, r->trust_anchors.len);
    to->trust_anchors = (struct str){*anchors, r->trust_anchors.len};
    *anchors += r->trust_anchors.len;
    return 0;
}

static int compile_one(const struct policy_resolver *r, struct dns_resolver *to, char **anchors)
{
    int k = r->resolver_id.len <= LIMIT_LABEL ? 0 : -EINVAL;

    if (k == 0) {
        memcpy(to->id, r->resolver_id.p, r->resolver_id.len);
        to->protocol = (enum resolver_protocol)r->protocol;
        k = compile_where(r, to);
    }
    if (k == 0)
        k = compile_tls_name(r, to);
    return k == 0 ? compile_dnssec(r, to, anchors) : k;
}

static int compile_bootstrap(const struct policy *doc, struct proxy_policy *p)
{
    p->bootstrap = calloc(doc->bootstrap.n + 1, sizeof(*p->bootstrap));
    if (!p->bootstrap)
        return -ENOMEM;
    for (size_t i = 0; i < doc->bootstrap.n; i++)
        if (addr_endpoint_parse(doc->bootstrap.v[i], PORT_DO53, &p->bootstrap[i]) < 0)
            return -EINVAL;
    return 0;
}

int policy_compile_resolvers(const struct policy *doc, struct proxy_policy *p)
{
    size_t text = 0;

    for (size_t i = 0; i < doc->resolvers.n; i++)
        text += doc->resolvers.v[i].trust_anchors.len;
    p->resolvers = calloc(doc->resolvers.n + 1, sizeof(*p->resolvers));
    p->anchors = malloc(text + 1);
    if (!p->resolvers || !p->anchors)
        return -ENOMEM;
    char *anchors = p->anchors;
    for (size_t i = 0; i < doc->resolvers.n; i++) {
        int r = compile_one(&doc->resolvers.v[i], &p->resolvers[i], &anchors);
        if (r < 0)
            return r;
    }
    return compile_bootstrap(doc, p);
}
