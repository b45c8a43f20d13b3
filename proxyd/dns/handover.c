/* SPDX-License-Identifier: MIT */
/* The second half of a query: there is an answer. Its evidence, its pins, then the cell. */
#include "common/base/clock.h"
#include "proxyd/dns/flight.h"

static void step_reachable(struct dns_query *q)
{
    q->view->reachable = true;
    dns_flight_finish(q, 0, dns_reason_code_absent);
}

/* Valid for the answer's TTL and the grace, so that every cached answer of this view is covered as well. */
static uint64_t pin_until_us(const struct dns_view *v)
{
    uint64_t end =
        v->stale ? clock_boottime_us() + DNS_STALE_TTL_S * 1000000ull : dns_found_fresh_until(v->found);
    uint64_t now = clock_boottime_us();

    return (end > now ? end : now) + DNS_PIN_GRACE_S * 1000000ull;
}

static int pin_here(struct dns_query *q)
{
    struct dns_cell *cell = q->cell;
    const struct dns_verdict *v = q->view->verdict;

    if (q->view->pinned && q->view->lost == dns_pins_lost(cell->pins))
        return 0;
    for (size_t i = 0; i < v->naddrs; i++) {
        int r = dns_pins_put(&cell->pins, &q->ask.name, &v->addrs[i], pin_until_us(q->view));
        if (r < 0)
            return r;
    }
    q->view->pinned = true;
    q->view->lost = dns_pins_lost(cell->pins);
    return 0;
}

/* In a routed cell the kernel must know the addresses before the cell does. */
static void pin_there(struct dns_query *q)
{
    struct dns_cell *cell = q->cell;
    const struct dns_verdict *v = q->view->verdict;
    uint64_t ttl_us = pin_until_us(q->view) - clock_boottime_us();

    if (v->naddrs > LIMIT_PIN_ADDRS) {
        dns_flight_finish(q, -EHOSTUNREACH, DNS_UPSTREAM_FAILURE);
        return;
    }
    dns_flight_call(q, step_reachable);
    cell->pin(cell->pin_self, &q->ask.name, v->addrs, v->naddrs, (uint32_t)(ttl_us / 1000000), dns_flight_ack,
              q);
    dns_flight_called(q);
}

/* All evidence is there: the addresses are pinned, then the answer leaves. */
static void release(struct dns_query *q)
{
    struct dns_cell *cell = q->cell;
    const struct dns_view *v = q->view;

    if (q->own || q->refresh || v->synthetic || v->verdict->naddrs == 0) {
        dns_flight_finish(q, 0, dns_reason_code_absent);
        return;
    }
    int r = pin_here(q);
    if (r < 0)
        dns_flight_finish(q, r, dns_reason_code_absent);
    else if (cell->policy->routed && cell->pin && !v->reachable)
        pin_there(q);
    else
        dns_flight_finish(q, 0, dns_reason_code_absent);
}

int dns_handover_view(struct dns_query *q, struct dns_found *found, bool stale)
{
    struct dns_view *v;
    int r = dns_view_get(q->cell, &q->key, found, stale, &v);

    if (r < 0)
        return r;
    dns_view_unref(q->view);
    q->view = v;
    if (v->mark.slot == 0)
        v->mark = q->mark;
    v->listed |= !q->own;
    if (!q->own && !q->refresh)
        dns_refresh_note(q->cell, v);
    return 0;
}

/* Under the policy as it is now: false when the query is over because of that. */
bool dns_handover_allowed(struct dns_query *q)
{
    if (q->generation == q->cell->generation)
        return true;
    enum dns_reason_code reason = dns_policy_judge(q->cell->policy, &q->ask, q->own);
    q->generation = q->cell->generation;
    if (reason == DNS_ALLOWLIST_MATCH)
        return true;
    dns_flight_finish(q, -EPERM, reason);
    return false;
}

/* The same, and the view is one of this policy. */
bool dns_handover_seen(struct dns_query *q)
{
    if (q->generation == q->cell->generation)
        return true;
    if (!dns_handover_allowed(q))
        return false;
    struct dns_found *found = dns_found_ref(q->view->found);
    int r = dns_handover_view(q, found, q->view->stale);
    dns_found_unref(found);
    if (r < 0)
        dns_flight_finish(q, r, dns_reason_code_absent);
    return r == 0;
}

static void step_said(struct dns_query *q)
{
    const struct dns_view *told = q->view;

    /* a dial's event does not tell what the cell gets instead */
    q->view->said |= !q->own || !q->view->synthetic;
    if (!dns_handover_seen(q))
        return;
    if (q->view == told)
        release(q);
    else
        dns_handover(q);
}

/* There is a view: what it still has to say, then the answer. */
void dns_handover(struct dns_query *q)
{
    enum dns_reason_code reason = dns_view_reason(q->view, q->own);

    if (reason != DNS_ALLOWLIST_MATCH) {
        dns_evidence_answer(q->cell, q, reason, NULL, NULL);
        dns_flight_finish(q, dns_flight_errno(reason), reason);
    } else if (q->cached && q->view->said) {
        release(q);
    } else {
        dns_flight_call(q, step_said);
        dns_evidence_answer(q->cell, q, reason, dns_flight_ack, q);
        dns_flight_called(q);
    }
}
