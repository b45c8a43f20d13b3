/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/bootstrap.h"

#include <sys/queue.h>

#include "common/base/clock.h"
#include "proxyd/resolver/forward.h"

struct dns_boot_lookup {
    LIST_ENTRY(dns_boot_lookup) link;
    struct dns_bootstrap *b;
    dns_boot_cb cb;
    void *data;
};

/* One family of the host. */
struct half {
    struct dns_bootstrap *b;
    uint16_t qtype;
    struct dns_forward *forward;
    struct addr addrs[DNS_BOOTSTRAP_ADDRS];
    size_t n;
};

struct dns_bootstrap {
    struct ev_loop *loop;
    struct dns_upstreams *upstreams;
    struct dns_counters counters;
    struct name host;
    struct half half[2]; /* AAAA, A */
    unsigned pending;
    uint32_t ttl_s;
    uint64_t until_us;
    struct addr addrs[DNS_BOOTSTRAP_ADDRS];
    size_t n;
    ev_timer later;
    LIST_HEAD(dns_boot_lookups, dns_boot_lookup) lookups;
};

/* The addresses of an answer at the end of its CNAMEs: whatever names they have, the certificate decides. */
static void read_answer(struct half *h, const uint8_t *msg, size_t len)
{
    struct dns_reader r = dns_reader_of(msg, len);
    size_t want = h->qtype == DNS_TYPE_A ? 4 : 16;
    struct dns_question q;
    struct dns_header head;
    struct dns_rr rr;

    if (dns_header_read(&r.at, &head) < 0 || DNS_RCODE(head.flags) != DNS_NOERROR ||
        dns_question_read(&r, &q) < 0)
        return;
    for (unsigned i = 0; i < head.ancount && i < DNS_ANSWERS_MAX && h->n < ARRAY_LEN(h->addrs); i++) {
        if (dns_rr_read(&r, &rr) < 0)
            return;
        if (rr.type != h->qtype || rr.class != DNS_CLASS_IN || rr.rdlen != want)
            continue;
        struct addr *a = &h->addrs[h->n++];
        *a = (struct addr){.family = want == 4 ? AF_INET : AF_INET6};
        memcpy(a->bytes, msg + rr.rdata, want);
        if (rr.ttl < h->b->ttl_s)
            h->b->ttl_s = rr.ttl;
    }
}

static void tell_all(struct dns_bootstrap *b)
{
    struct dns_boot_lookup *l;

    while ((l = LIST_FIRST(&b->lookups))) {
        dns_boot_cb cb = l->cb;
        void *data = l->data;
        dns_boot_lookup_free(l);
        cb(data, b->n > 0 ? 0 : -EHOSTUNREACH, b->addrs, b->n);
    }
}

/* Both families are here: in turn, as they are dialed. Without a new address the old ones must do. */
static void round_end(struct dns_bootstrap *b)
{
    uint32_t ttl = b->ttl_s < DNS_BOOTSTRAP_TTL_MIN_S ? DNS_BOOTSTRAP_TTL_MIN_S : b->ttl_s;
    size_t n = 0;

    for (size_t i = 0; i < DNS_BOOTSTRAP_ADDRS; i++)
        for (size_t k = 0; k < 2 && n < DNS_BOOTSTRAP_ADDRS; k++)
            if (i < b->half[k].n)
                b->addrs[n++] = b->half[k].addrs[i];
    if (n > 0) {
        b->n = n;
        b->until_us = clock_boottime_us() + 1000000ull * ttl;
    }
    tell_all(b);
}

static void on_answer(void *data, const struct dns_forward_result *result)
{
    struct half *h = data;

    if (result->error == 0)
        read_answer(h, result->msg, result->len);
    h->forward = dns_forward_free(h->forward);
    if (--h->b->pending == 0)
        round_end(h->b);
}

static void round_start(struct dns_bootstrap *b)
{
    b->ttl_s = DNS_BOOTSTRAP_TTL_MAX_S;
    for (size_t i = 0; i < 2; i++) {
        struct half *h = &b->half[i];
        struct dns_question q = {.qtype = h->qtype, .qclass = DNS_CLASS_IN};
        h->n = 0;
        dns_name_from_host(&b->host, &q.qname);
        if (dns_forward_new(b->upstreams, &q, &b->counters, on_answer, h, &h->forward) == 0)
            b->pending++;
    }
}

static void on_later(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    tell_all(w->data);
}

static void later(struct dns_bootstrap *b)
{
    ev_timer_stop(b->loop, &b->later);
    ev_timer_set(&b->later, 0., 0.);
    ev_timer_start(b->loop, &b->later);
}

int dns_boot_lookup_new(struct dns_bootstrap *b, dns_boot_cb cb, void *data, struct dns_boot_lookup **ret)
{
    struct dns_boot_lookup *l = malloc(sizeof(*l));

    if (!l)
        return -ENOMEM;
    *l = (struct dns_boot_lookup){.b = b, .cb = cb, .data = data};
    LIST_INSERT_HEAD(&b->lookups, l, link);
    *ret = l;
    if (b->pending > 0)
        return 0;
    if (b->n == 0 || clock_boottime_us() >= b->until_us)
        round_start(b);
    if (b->pending == 0)
        later(b);
    return 0;
}

struct dns_boot_lookup *dns_boot_lookup_free(struct dns_boot_lookup *l)
{
    if (l)
        LIST_REMOVE(l, link);
    free(l);
    return NULL;
}

int dns_bootstrap_new(struct ev_loop *loop, const char *host, const struct endpoint_addr *resolvers, size_t n,
                      struct dns_bootstrap **ret)
{
    struct dns_resolver v[LIMIT_RESOLVERS] = {0};
    struct dns_bootstrap *b = calloc(1, sizeof(*b));

    if (!b)
        return -ENOMEM;
    n = n < LIMIT_RESOLVERS ? n : LIMIT_RESOLVERS;
    for (size_t i = 0; i < n; i++) {
        v[i].protocol = RESOLVER_DO53_UDP;
        v[i].addr = resolvers[i];
    }
    int r = name_parse(str_of(host), NAME_HOST, &b->host) == NAME_OK ? 0 : -EINVAL;
    if (r == 0)
        r = dns_upstreams_new(loop, v, n, NULL, 0, &b->upstreams);
    if (r < 0) {
        free(b);
        return r;
    }
    b->loop = loop;
    b->half[0] = (struct half){.b = b, .qtype = DNS_TYPE_AAAA};
    b->half[1] = (struct half){.b = b, .qtype = DNS_TYPE_A};
    ev_init(&b->later, on_later);
    b->later.data = b;
    *ret = b;
    return 0;
}

struct dns_bootstrap *dns_bootstrap_free(struct dns_bootstrap *b)
{
    if (!b)
        return NULL;
    ev_timer_stop(b->loop, &b->later);
    for (size_t i = 0; i < 2; i++)
        dns_forward_free(b->half[i].forward);
    dns_upstreams_free(b->upstreams);
    free(b);
    return NULL;
}
