/* SPDX-License-Identifier: MIT */
/* One query from judgement to answer. Evidence comes before effect (decisions 28): the packet to the resolver
 * waits for the acknowledgement of dns_query, the answer to the cell for that of dns_answer; a cached answer
 * waits for its one dns_query. Whatever goes wrong on the way ends in SERVFAIL. */
#include "common/base/clock.h"
#include "proxyd/dns/cell.h"

#define RATE_INTERVAL_US (1000000u / LIMIT_DNS_PER_SECOND)

static void query_release(struct dns_query *q)
{
    if (q->cell) {
        LIST_REMOVE(q, link);
        ev_timer_stop(q->cell->loop, &q->deadline);
        if (q->own) {
            q->cell->own_in_flight--;
            dns_resolve_pump(q->cell);
        } else {
            q->cell->in_flight--;
        }
    }
    dns_forward_free(q->forward);
    dns_reply_unref(q->reply);
    free(q);
}

/* GCRA: one second's worth may come at once, then LIMIT_DNS_PER_SECOND. */
static bool rate_allows(struct dns_cell *cell)
{
    uint64_t now = clock_boottime_us();

    if (cell->rate_us < now)
        cell->rate_us = now;
    if (cell->rate_us - now > 1000000u - RATE_INTERVAL_US)
        return false;
    cell->rate_us += RATE_INTERVAL_US;
    return true;
}

static void send_reply(struct dns_cell *cell, const struct dns_origin *origin, const struct dns_ask *ask,
                       uint8_t rcode, const struct dns_reply *reply, bool waited)
{
    bool udp = origin->kind == DNS_FROM_UDP;
    size_t max = !udp ? UINT16_MAX : ask->udp_size < DNS_UDP_REPLY_MAX ? ask->udp_size : DNS_UDP_REPLY_MAX;
    struct buf *b = &cell->out;

    if (rcode == DNS_SERVFAIL)
        cell->counters.servfail++;
    buf_clear(b);
    if (dns_reply_write(b, ask, rcode, reply, clock_boottime_us(), max) < 0)
        b = NULL;
    if (udp && b)
        dns_udp_send(cell, origin, b);
    else if (origin->kind == DNS_FROM_TCP)
        dns_tcp_send(origin->tcp, b, waited);
}

/* The asker's answer: the reply whose evidence is durable, or a failure. Frees the query unless an
 * acknowledgement is still to come for it. */
static void query_finish(struct dns_query *q, int error, enum dns_reason_code reason)
{
    struct dns_origin origin = q->origin;
    struct dns_reply *reply = error ? NULL : q->reply;

    q->origin.kind = DNS_FROM_NOBODY;
    q->done = true;
    ev_timer_stop(q->cell->loop, &q->deadline);
    q->forward = dns_forward_free(q->forward);
    if (origin.kind == DNS_FROM_PROXY)
        dns_resolve_answer(origin.proxy, q->ask.q.qtype, error, reason, reply);
    else
        send_reply(q->cell, &origin, &q->ask, reply ? reply->rcode : DNS_SERVFAIL, reply, true);
    if (!q->ack_pending)
        query_release(q);
}

/* True when the acknowledged step may go on; else q is finished or freed. */
static bool ack_taken(struct dns_query *q, int result)
{
    q->ack_pending = false;
    if (!q->cell || q->done) {
        query_release(q);
        return false;
    }
    ev_timer_stop(q->cell->loop, &q->deadline);
    if (result < 0) {
        query_finish(q, result, dns_reason_code_absent);
        return false;
    }
    return true;
}

static void await_ack(struct dns_query *q)
{
    q->ack_pending = true;
    ev_timer_set(&q->deadline, LIMIT_ACK_MS / 1000., 0.);
    ev_timer_start(q->cell->loop, &q->deadline);
}

static void on_deadline(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    query_finish(w->data, -ETIMEDOUT, dns_reason_code_absent);
}

static void on_answer_ack(void *data, int result)
{
    struct dns_query *q = data;

    if (!ack_taken(q, result))
        return;
    dns_cache_put(q->cell->cache, &q->ask.name, q->ask.q.qtype, q->reply);
    query_finish(q, 0, dns_reason_code_absent);
}

static int failure_errno(enum dns_reason_code reason)
{
    switch (reason) {
    case DNS_REBIND_REJECTED:
        return -EPERM;
    case DNS_UPSTREAM_TIMEOUT:
        return -ETIMEDOUT;
    default:
        return -EHOSTUNREACH;
    }
}

static void on_forwarded(void *data, const struct dns_forward_result *result)
{
    struct dns_query *q = data;
    struct dns_cell *cell = q->cell;
    struct dns_verdict *v = NULL;

    if (result->error == 0) {
        v = dns_answer_judge(cell->policy, &q->ask.name, &q->ask.q, result->msg, result->len);
        if (!v) {
            query_finish(q, -ENOMEM, dns_reason_code_absent);
            return;
        }
        cell->counters.removed += v->removed.n;
    }
    if (v && v->reason == DNS_ALLOWLIST_MATCH) {
        q->reply = TAKE_PTR(v->reply);
        await_ack(q);
        dns_evidence_answer(cell, q, v, result, on_answer_ack, q); /* q may be gone now */
    } else {
        enum dns_reason_code reason = v                             ? v->reason
                                      : result->error == -ETIMEDOUT ? DNS_UPSTREAM_TIMEOUT
                                                                    : DNS_UPSTREAM_FAILURE;
        dns_evidence_answer(cell, q, v, result, NULL, NULL);
        query_finish(q, failure_errno(reason), reason);
    }
    dns_verdict_free(v);
}

static void on_query_ack(void *data, int result)
{
    struct dns_query *q = data;

    if (!ack_taken(q, result))
        return;
    if (q->cached) {
        query_finish(q, 0, dns_reason_code_absent);
        return;
    }
    struct dns_cell *cell = q->cell;
    /* the name goes out in its canonical form, not in the bytes the cell chose */
    struct dns_question question = {.qtype = q->ask.q.qtype, .qclass = DNS_CLASS_IN};
    dns_name_from_host(&q->ask.name, &question.qname);
    int r = dns_forward_new(cell->loop, cell->policy->resolvers, cell->policy->nresolvers, &question,
                            &cell->counters, on_forwarded, q, &q->forward);
    if (r < 0)
        query_finish(q, r, dns_reason_code_absent);
}

/* An allowed query: evidence first, then from the cache or out. -ENOMEM. */
static int query_start(struct dns_cell *cell, const struct dns_origin *origin, const struct dns_ask *ask)
{
    struct dns_query *q = calloc(1, sizeof(*q));
    struct dns_reply *hit;

    if (!q)
        return -ENOMEM;
    q->cell = cell;
    q->origin = *origin;
    q->ask = *ask;
    q->own = origin->kind == DNS_FROM_PROXY;
    ev_init(&q->deadline, on_deadline);
    q->deadline.data = q;
    LIST_INSERT_HEAD(&cell->queries, q, link);
    if (q->own)
        cell->own_in_flight++;
    else
        cell->in_flight++;
    if (origin->kind == DNS_FROM_TCP)
        dns_tcp_waits(origin->tcp);
    hit = dns_cache_get(cell->cache, &ask->name, ask->q.qtype, clock_boottime_us());
    if (hit) {
        q->reply = dns_reply_ref(hit);
        q->cached = true;
        cell->counters.cached++;
    }
    await_ack(q);
    dns_evidence_query(cell, ask, q->own, DNS_ALLOWLIST_MATCH, hit, on_query_ack, q); /* q may be gone now */
    return 0;
}

void dns_query_take(struct dns_cell *cell, const struct dns_origin *origin, const uint8_t *msg, size_t len)
{
    struct dns_ask ask;

    cell->counters.queries++;
    if (!rate_allows(cell)) {
        dns_evidence_limited(cell);
        return;
    }
    if (dns_ask_read(msg, len, &ask) < 0) {
        cell->counters.malformed++;
        dns_evidence_query(cell, &ask, false, DNS_MALFORMED_QUERY, NULL, NULL, NULL);
        return;
    }
    enum dns_reason_code reason = dns_policy_judge(cell->policy, &ask, /* own= */ false);
    if (reason != DNS_ALLOWLIST_MATCH) {
        cell->counters.denied++;
        send_reply(cell, origin, &ask, DNS_REFUSED, NULL, false);
        dns_evidence_query(cell, &ask, false, reason, NULL, NULL, NULL);
        return;
    }
    if (cell->in_flight >= LIMIT_DNS_IN_FLIGHT) {
        dns_evidence_limited(cell);
        return;
    }
    cell->counters.allowed++;
    if (query_start(cell, origin, &ask) < 0)
        send_reply(cell, origin, &ask, DNS_SERVFAIL, NULL, false);
}

void dns_query_own(struct dns_cell *cell, struct dns_resolve *resolve, const struct name *name,
                   uint16_t qtype)
{
    struct dns_ask ask = {.rd = true, .udp_size = DNS_UDP_REPLY_MAX, .host = true, .name = *name};
    struct dns_origin origin = {.kind = DNS_FROM_PROXY, .proxy = resolve};

    dns_name_from_host(name, &ask.q.qname);
    ask.q.qtype = qtype;
    ask.q.qclass = DNS_CLASS_IN;
    enum dns_reason_code reason = dns_policy_judge(cell->policy, &ask, /* own= */ true);
    if (reason != DNS_ALLOWLIST_MATCH) {
        dns_evidence_query(cell, &ask, true, reason, NULL, NULL, NULL);
        dns_resolve_answer(resolve, qtype, -EPERM, reason, NULL);
    } else if (query_start(cell, &origin, &ask) < 0) {
        dns_resolve_answer(resolve, qtype, -ENOMEM, dns_reason_code_absent, NULL);
    }
}

void dns_query_forget(struct dns_cell *cell, const void *waiting)
{
    for (struct dns_query *q = LIST_FIRST(&cell->queries); q; q = LIST_NEXT(q, link)) {
        bool tcp = q->origin.kind == DNS_FROM_TCP && q->origin.tcp == waiting;
        if (tcp || (q->origin.kind == DNS_FROM_PROXY && q->origin.proxy == waiting))
            q->origin.kind = DNS_FROM_NOBODY;
    }
}

void dns_query_drop_all(struct dns_cell *cell)
{
    struct dns_query *q, *next;

    for (q = LIST_FIRST(&cell->queries); q; q = next) {
        next = LIST_NEXT(q, link);
        if (!q->ack_pending) {
            query_release(q);
            continue;
        }
        ev_timer_stop(cell->loop, &q->deadline);
        q->forward = dns_forward_free(q->forward);
        LIST_REMOVE(q, link);
        q->cell = NULL;
    }
}
