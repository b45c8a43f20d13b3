/* SPDX-License-Identifier: MIT */
/* One allowed query from its evidence to its answer. Evidence comes before effect (decisions 28): the packet
 * to the resolver waits for the acknowledgement of dns_query, the answer to the cell for that of dns_answer;
 * a cached answer waits for its one dns_query. An address that a packet may be sent to is pinned before the
 * answer leaves. Whatever goes wrong on the way ends in SERVFAIL. */
#include "proxyd/dns/flight.h"
#include "common/base/clock.h"

#define SPARE_MAX 16u /* queries whose memory is kept for the next ones */

/* ---- life ---- */

static unsigned *in_flight_of(struct dns_cell *cell, const struct dns_query *q)
{
    return q->own ? &cell->own_in_flight : q->refresh ? &cell->refresh_in_flight : &cell->in_flight;
}

static struct dns_query *query_new(struct dns_cell *cell)
{
    struct dns_query *q = LIST_FIRST(&cell->spare);

    if (!q)
        return malloc(sizeof(*q));
    LIST_REMOVE(q, link);
    cell->nspare--;
    return q;
}

void dns_flight_free(struct dns_query *q)
{
    struct dns_cell *cell = q->cell;

    dns_lookup_cancel(q->lookup);
    dns_view_unref(q->view);
    if (!cell) {
        free(q);
        return;
    }
    LIST_REMOVE(q, link);
    ev_timer_stop(cell->loop, &q->deadline);
    (*in_flight_of(cell, q))--;
    if (q->own)
        dns_resolve_pump(cell);
    if (cell->nspare < SPARE_MAX && !cell->ending) {
        LIST_INSERT_HEAD(&cell->spare, q, link);
        cell->nspare++;
    } else {
        free(q);
    }
}

/* ---- the answer ---- */

void dns_flight_reply(struct dns_cell *cell, const struct dns_origin *origin, const struct dns_ask *ask,
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

/* The asker's answer: the view's reply, or a failure. Frees the query unless an acknowledgement is still to
 * come for it. */
void dns_flight_finish(struct dns_query *q, int error, enum dns_reason_code reason)
{
    struct dns_origin origin = q->origin;
    struct dns_reply *reply = error ? NULL : dns_view_reply(q->view, q->own);
    uint8_t rcode = reply                          ? reply->rcode
                    : reason == DNS_ALLOWLIST_MISS ? DNS_REFUSED
                    : reason == DNS_TYPE_DENIED    ? DNS_REFUSED
                                                   : DNS_SERVFAIL;

    q->origin.kind = DNS_FROM_NOBODY;
    q->done = true;
    ev_timer_stop(q->cell->loop, &q->deadline);
    q->lookup = dns_lookup_cancel(q->lookup);
    if (origin.kind == DNS_FROM_PROXY)
        dns_resolve_answer(origin.proxy, q->ask.q.qtype, error, reason, reply);
    else if (!q->refresh)
        dns_flight_reply(q->cell, &origin, &q->ask, rcode, reply, true);
    if (!q->ack_pending)
        dns_flight_free(q);
}

int dns_flight_errno(enum dns_reason_code reason)
{
    switch (reason) {
    case DNS_REBIND_REJECTED:
    case DNS_ALLOWLIST_MISS:
    case DNS_TYPE_DENIED:
        return -EPERM;
    case DNS_UPSTREAM_TIMEOUT:
        return -ETIMEDOUT;
    default:
        return -EHOSTUNREACH;
    }
}

/* ---- waiting for an acknowledgement, of an event or of a pin ---- */

static void ack_taken(struct dns_query *q)
{
    if (!q->cell || q->done) {
        dns_flight_free(q);
        return;
    }
    ev_timer_stop(q->cell->loop, &q->deadline);
    if (q->ack_result < 0)
        dns_flight_finish(q, q->ack_result, dns_reason_code_absent);
    else
        q->step(q);
}

void dns_flight_ack(void *data, int result)
{
    struct dns_query *q = data;

    q->ack_pending = false;
    q->ack_result = result;
    if (!q->calling)
        ack_taken(q);
}

/* Around a call that gets dns_flight_ack: an acknowledgement from inside takes effect when the call has
 * returned. */
void dns_flight_call(struct dns_query *q, void (*step)(struct dns_query *))
{
    q->ack_pending = q->calling = true;
    q->step = step;
}

void dns_flight_called(struct dns_query *q)
{
    q->calling = false;
    if (!q->ack_pending) {
        ack_taken(q);
        return;
    }
    ev_timer_set(&q->deadline, LIMIT_ACK_MS / 1000., 0.);
    ev_timer_start(q->cell->loop, &q->deadline);
}

static void on_deadline(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    dns_flight_finish(w->data, -ETIMEDOUT, dns_reason_code_absent);
}

struct dns_query *dns_flight_new(struct dns_cell *cell, const struct dns_origin *origin,
                                 const struct dns_ask *ask, const struct dns_key *key)
{
    struct dns_query *q = query_new(cell);

    if (!q)
        return NULL;
    /* ask last and by itself: it is the greater part by far */
    memset(q, 0, offsetof(struct dns_query, ask));
    memset((char *)q + offsetof(struct dns_query, key), 0, sizeof(*q) - offsetof(struct dns_query, key));
    q->ask = *ask;
    q->cell = cell;
    q->origin = *origin;
    q->key = (struct dns_key){&q->ask.name, key->qtype, key->hash};
    q->own = origin->kind == DNS_FROM_PROXY;
    q->refresh = origin->kind == DNS_FROM_REFRESH;
    q->generation = cell->generation;
    ev_init(&q->deadline, on_deadline);
    q->deadline.data = q;
    LIST_INSERT_HEAD(&cell->queries, q, link);
    (*in_flight_of(cell, q))++;
    return q;
}

/* ---- ends ---- */

void dns_flight_forget(struct dns_cell *cell, const void *waiting)
{
    for (struct dns_query *q = LIST_FIRST(&cell->queries); q; q = LIST_NEXT(q, link)) {
        bool tcp = q->origin.kind == DNS_FROM_TCP && q->origin.tcp == waiting;
        if (tcp || (q->origin.kind == DNS_FROM_PROXY && q->origin.proxy == waiting))
            q->origin.kind = DNS_FROM_NOBODY;
    }
}

void dns_flight_fail_all(struct dns_cell *cell)
{
    struct dns_query *q;

    /* an answer may end other queries (its connection, its resolve): start again from the front */
    do {
        q = LIST_FIRST(&cell->queries);
        while (q && q->done)
            q = LIST_NEXT(q, link);
        if (q)
            dns_flight_finish(q, -EHOSTUNREACH, dns_reason_code_absent);
    } while (q);
}

void dns_flight_detach(struct dns_cell *cell)
{
    for (struct dns_query *q = LIST_FIRST(&cell->queries); q; q = LIST_NEXT(q, link))
        q->view = dns_view_unref(q->view);
}

void dns_flight_drop_all(struct dns_cell *cell)
{
    struct dns_query *q, *next;

    for (q = LIST_FIRST(&cell->queries); q; q = next) {
        next = LIST_NEXT(q, link);
        if (!q->ack_pending) {
            dns_flight_free(q);
            continue;
        }
        ev_timer_stop(cell->loop, &q->deadline);
        q->lookup = dns_lookup_cancel(q->lookup);
        q->view = dns_view_unref(q->view);
        LIST_REMOVE(q, link);
        q->cell = NULL;
    }
    while ((q = LIST_FIRST(&cell->spare))) {
        LIST_REMOVE(q, link);
        free(q);
    }
}
