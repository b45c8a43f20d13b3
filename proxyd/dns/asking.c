/* SPDX-License-Identifier: MIT */
/* The first half of a query: its evidence, then the answer out of the cache or from the resolvers. */
#include "proxyd/dns/flight.h"

static void lookup_failed(struct dns_query *q, enum dns_reason_code reason,
                          const struct dns_lookup_result *result)
{
    dns_evidence_failure(q->cell, q, reason, result);
    dns_flight_finish(q, dns_flight_errno(reason), reason);
}

static void on_lookup(void *data, const struct dns_lookup_result *result)
{
    struct dns_query *q = data;

    q->lookup = NULL;
    q->resolver = result->resolver;
    q->latency_us = result->latency_us;
    q->cell->counters.upstream += result->upstream;
    q->cell->counters.strays += result->strays;
    enum dns_reason_code reason = dns_policy_judge(q->cell->policy, &q->ask, q->own);
    if (q->generation != q->cell->generation && reason != DNS_ALLOWLIST_MATCH) {
        lookup_failed(q, reason, result); /* the policy has changed meanwhile */
        return;
    }
    q->generation = q->cell->generation;
    if (result->dnssec_failed) {
        lookup_failed(q, DNS_DNSSEC_FAILED, result);
    } else if (result->error < 0) {
        lookup_failed(q, result->error == -ETIMEDOUT ? DNS_UPSTREAM_TIMEOUT : DNS_UPSTREAM_FAILURE, result);
    } else {
        int r = dns_handover_view(q, result->found, result->stale);
        if (r < 0)
            dns_flight_finish(q, r, dns_reason_code_absent);
        else
            dns_handover(q);
    }
}

static void step_asked(struct dns_query *q)
{
    if (q->view) {
        if (dns_handover_seen(q))
            dns_handover(q);
        return;
    }
    if (!dns_handover_allowed(q))
        return;
    int r = dns_authority_ask(q->cell->authority, &q->key, on_lookup, q, &q->lookup);
    if (r < 0)
        dns_flight_finish(q, r, dns_reason_code_absent);
}

/* An answer that is at hand. -ENOMEM. */
static int query_hit(struct dns_query *q)
{
    bool stale = false;
    struct dns_found *hit = dns_authority_cached(q->cell->authority, &q->key, q->cell->now_us, &stale);

    if (!hit || q->refresh)
        return 0;
    int r = dns_handover_view(q, hit, stale);
    if (r < 0)
        return r;
    q->cached = true;
    q->resolver = hit->resolver;
    q->cell->counters.cached++;
    return 0;
}

int dns_flight_start(struct dns_cell *cell, const struct dns_origin *origin, const struct dns_ask *ask,
                     const struct dns_key *key, const struct dns_tunnel_mark *mark)
{
    struct dns_query *q = dns_flight_new(cell, origin, ask, key);

    if (!q)
        return -ENOMEM;
    q->mark = *mark;
    int r = query_hit(q);
    if (r < 0) {
        dns_flight_free(q);
        return r;
    }
    if (origin->kind == DNS_FROM_TCP)
        dns_tcp_waits(origin->tcp);
    if (q->own && q->cached && q->view->said) {
        /* Nothing is asked and nothing new is learnt: the dial's own event names host and address. */
        dns_handover(q);
        return 0;
    }
    dns_flight_call(q, step_asked);
    dns_evidence_query(cell, &q->ask, &q->origin, DNS_ALLOWLIST_MATCH, q->view, dns_flight_ack, q);
    dns_flight_called(q);
    return 0;
}
