/* SPDX-License-Identifier: MIT */
/* Names for proxyd's own dials: A and AAAA side by side, through the judgement, cache and events of any other
 * query. */
#include "proxyd/dns/cell.h"

#define OTHER_S                                                                                              \
    0.25 /* once one family has an address, the other gets this long (RFC 8305 section 3, with room) */

struct dns_resolve {
    TAILQ_ENTRY(dns_resolve) link;
    struct dns_cell *cell;
    bool active;
    bool starting; /* dns_query_own is on the stack: not the time to finish */
    struct name name;
    dns_resolve_cb cb;
    void *data;
    unsigned outstanding;
    ev_timer other;
    size_t n4, n6;
    struct addr a4[LIMIT_DIAL_ADDRS], a6[LIMIT_DIAL_ADDRS];
    int error; /* of the last question that failed */
    enum dns_reason_code reason;
};

void dns_resolve_pump(struct dns_cell *cell)
{
    if (cell->nwaiting > 0 && !ev_is_active(&cell->resolve_pump)) {
        ev_timer_set(&cell->resolve_pump, 0., 0.);
        ev_timer_start(cell->loop, &cell->resolve_pump);
    }
}

static void resolve_free(struct dns_resolve *r)
{
    struct dns_cell *cell = r->cell;

    if (r->active) {
        TAILQ_REMOVE(&cell->resolves_active, r, link);
        dns_flight_forget(cell, r);
    } else {
        TAILQ_REMOVE(&cell->resolves_waiting, r, link);
        cell->nwaiting--;
    }
    ev_timer_stop(cell->loop, &r->other);
    free(r);
}

/* Both families in turn, IPv6 first. */
static size_t merge(const struct dns_resolve *r, struct addr ret[LIMIT_DIAL_ADDRS])
{
    size_t n = 0;

    for (size_t i = 0; n < LIMIT_DIAL_ADDRS && (i < r->n6 || i < r->n4); i++) {
        if (i < r->n6)
            ret[n++] = r->a6[i];
        if (i < r->n4 && n < LIMIT_DIAL_ADDRS)
            ret[n++] = r->a4[i];
    }
    return n;
}

static void resolve_finish(struct dns_resolve *r, int error, enum dns_reason_code reason)
{
    struct addr addrs[LIMIT_DIAL_ADDRS];
    size_t n = error ? 0 : merge(r, addrs);
    dns_resolve_cb cb = r->cb;
    void *data = r->data;

    resolve_free(r);
    cb(data, error, reason, addrs, n);
}

static void resolve_check(struct dns_resolve *r)
{
    bool found = r->n4 + r->n6 > 0;

    if (r->starting)
        return;
    if (r->outstanding == 0) {
        resolve_finish(r, found ? 0 : r->error, found ? dns_reason_code_absent : r->reason);
    } else if (found && !ev_is_active(&r->other)) {
        ev_timer_set(&r->other, OTHER_S, 0.);
        ev_timer_start(r->cell->loop, &r->other);
    }
}

static void on_other(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    resolve_finish(w->data, 0, dns_reason_code_absent);
}

/* "No such name" says least: a refusal or a failure of the other family is the better reason to report. */
static void note_error(struct dns_resolve *r, int error, enum dns_reason_code reason)
{
    if (r->error != 0 && r->error != -ENOENT)
        return;
    r->error = error;
    r->reason = reason;
}

void dns_resolve_answer(struct dns_resolve *r, uint16_t qtype, int error, enum dns_reason_code reason,
                        const struct dns_reply *reply)
{
    size_t n = 0;

    r->outstanding--;
    if (reply)
        n = dns_reply_addrs(reply, qtype == DNS_TYPE_A ? r->a4 : r->a6, LIMIT_DIAL_ADDRS);
    if (qtype == DNS_TYPE_A)
        r->n4 = n;
    else
        r->n6 = n;
    if (n == 0)
        note_error(r, error ? error : -ENOENT, reason);
    resolve_check(r);
}

static void resolve_start(struct dns_resolve *r)
{
    const struct dns_policy *policy = r->cell->policy;
    bool six = dns_policy_type_allowed(policy, DNS_TYPE_AAAA);
    /* with neither allowed, the question for A is asked to be refused with its event */
    bool four = dns_policy_type_allowed(policy, DNS_TYPE_A) || !six;

    r->active = r->starting = true;
    r->outstanding = (unsigned)four + (unsigned)six;
    if (four)
        dns_query_own(r->cell, r, &r->name, DNS_TYPE_A);
    if (six && r->error == -EPERM)
        r->outstanding--; /* the name is not allowed: one refusal is enough */
    else if (six)
        dns_query_own(r->cell, r, &r->name, DNS_TYPE_AAAA);
    r->starting = false;
    resolve_check(r);
}

/* Counted in queries, because one that nobody waits for any more still has its socket. */
static bool room_for_one(const struct dns_cell *cell)
{
    return cell->own_in_flight + 2 <= 2 * DNS_RESOLVE_ACTIVE_MAX;
}

static void on_pump(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_cell *cell = w->data;
    struct dns_resolve *r;

    (void)loop;
    (void)events;
    /* the batch bounds what the cache answers within one turn of the loop */
    for (unsigned i = 0; i < DNS_RESOLVE_ACTIVE_MAX && room_for_one(cell); i++) {
        r = TAILQ_FIRST(&cell->resolves_waiting);
        if (!r)
            return;
        TAILQ_REMOVE(&cell->resolves_waiting, r, link);
        cell->nwaiting--;
        TAILQ_INSERT_TAIL(&cell->resolves_active, r, link);
        resolve_start(r);
    }
    /* without room, the end of a query pumps again */
    if (room_for_one(cell))
        dns_resolve_pump(cell);
}

int dns_resolve(struct dns_cell *cell, const struct name *name, dns_resolve_cb cb, void *data,
                struct dns_resolve **ret)
{
    if (cell->ending)
        return -ECANCELED;
    if (cell->nwaiting >= DNS_RESOLVE_QUEUE_MAX)
        return -EDQUOT;
    struct dns_resolve *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->cell = cell;
    r->name = *name;
    r->cb = cb;
    r->data = data;
    ev_init(&r->other, on_other);
    r->other.data = r;
    TAILQ_INSERT_TAIL(&cell->resolves_waiting, r, link);
    cell->nwaiting++;
    dns_resolve_pump(cell);
    *ret = r;
    return 0;
}

void dns_resolve_cancel(struct dns_resolve *r)
{
    if (r)
        resolve_free(r);
}

void dns_resolve_init(struct dns_cell *cell)
{
    TAILQ_INIT(&cell->resolves_waiting);
    TAILQ_INIT(&cell->resolves_active);
    ev_init(&cell->resolve_pump, on_pump);
    cell->resolve_pump.data = cell;
}

void dns_resolve_done(struct dns_cell *cell)
{
    struct dns_resolve *r;

    cell->ending = true;
    while ((r = TAILQ_FIRST(&cell->resolves_active)) || (r = TAILQ_FIRST(&cell->resolves_waiting)))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it takes r off its list */
        resolve_finish(r, -ECANCELED, dns_reason_code_absent);
    ev_timer_stop(cell->loop, &cell->resolve_pump);
}
