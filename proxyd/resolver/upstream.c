/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/upstream.h"

#include <sys/random.h>

#include "proxyd/resolver/bootstrap.h"
#include "proxyd/resolver/server.h"
#include "proxyd/resolver/validate.h"

static bool addr_same(const struct endpoint_addr *a, const struct endpoint_addr *b)
{
    if (a->addr.family == AF_UNSPEC || b->addr.family == AF_UNSPEC)
        return a->addr.family == b->addr.family;
    return a->port == b->port && addr_eq(&a->addr, &b->addr);
}

bool dns_resolver_eq(const struct dns_resolver *a, const struct dns_resolver *b)
{
    return a->protocol == b->protocol && addr_same(&a->addr, &b->addr) && a->url.port == b->url.port &&
           strcmp(a->url.host, b->url.host) == 0 && strcmp(a->url.path, b->url.path) == 0 &&
           strcmp(a->tls_name, b->tls_name) == 0 && a->validate == b->validate &&
           a->fail_closed == b->fail_closed && a->trust_anchors.len == b->trust_anchors.len &&
           (a->trust_anchors.len == 0 ||
            memcmp(a->trust_anchors.p, b->trust_anchors.p, a->trust_anchors.len) == 0);
}

/* Whom the certificate must name: what the policy says, else the host of the url, else the address. */
static void tls_init(struct dns_server *s)
{
    const struct dns_resolver *r = &s->conf;
    bool doh = r->protocol == RESOLVER_DOH;
    const char *name = r->tls_name[0] ? r->tls_name : doh && !r->url.literal ? r->url.host : "";

    memcpy(s->tls.name, name, strlen(name) + 1);
    s->tls.addr = doh && r->url.literal ? r->url.addr : r->addr.addr;
    s->tls.alpn = doh ? "h2" : "dot";
    s->tls.alpn_required = doh; /* HTTP/1 would be spoken to otherwise; RFC 7858 does without ALPN */
}

static int server_init(struct dns_server *s, struct dns_upstreams *all, const struct dns_resolver *conf)
{
    s->all = all;
    s->conf = *conf;
    s->conf.trust_anchors = (struct str){NULL, 0};
    LIST_INIT(&s->conns);
    TAILQ_INIT(&s->waiting);
    tls_init(s);
    if (conf->trust_anchors.len > 0) {
        s->anchors = malloc(conf->trust_anchors.len);
        if (!s->anchors)
            return -ENOMEM;
        memcpy(s->anchors, conf->trust_anchors.p, conf->trust_anchors.len);
        s->conf.trust_anchors = (struct str){s->anchors, conf->trust_anchors.len};
    }
    if (getrandom(s->cookie.client, sizeof(s->cookie.client), 0) != sizeof(s->cookie.client))
        return -EIO;
    if (conf->protocol == RESOLVER_DOH && conf->addr.addr.family == AF_UNSPEC && !conf->url.literal)
        return dns_bootstrap_new(all->loop, conf->url.host, all->bootstrap, all->nbootstrap, &s->bootstrap);
    return 0;
}

static void server_done(struct dns_server *s)
{
    dns_validator_free(s->validator);
    dns_conn_close_all(s);
    dns_bootstrap_free(s->bootstrap);
    dns_tls_forget(&s->tls);
    free(s->anchors);
}

int dns_upstreams_new(struct ev_loop *loop, const struct dns_resolver *resolvers, size_t n,
                      const struct endpoint_addr *bootstrap, size_t nbootstrap, struct dns_upstreams **ret)
{
    struct dns_upstreams *all;

    n = n < LIMIT_RESOLVERS ? n : LIMIT_RESOLVERS;
    all = calloc(1, sizeof(*all) + n * sizeof(all->v[0]));
    if (!all)
        return -ENOMEM;
    all->loop = loop;
    for (; all->nbootstrap < nbootstrap && all->nbootstrap < ARRAY_LEN(all->bootstrap); all->nbootstrap++)
        all->bootstrap[all->nbootstrap] = bootstrap[all->nbootstrap];
    for (size_t i = 0; i < n; i++) {
        all->n++;
        int r = server_init(&all->v[i], all, &resolvers[i]);
        if (r < 0) {
            dns_upstreams_free(all);
            return r;
        }
    }
    *ret = all;
    return 0;
}

struct dns_upstreams *dns_upstreams_free(struct dns_upstreams *all)
{
    if (!all)
        return NULL;
    for (size_t i = 0; i < all->n; i++)
        server_done(&all->v[i]);
    free(all);
    return NULL;
}
