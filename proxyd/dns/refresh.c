/* SPDX-License-Identifier: MIT */
/* refreshPolicy ttl-honor: what the cell has asked for since it was asked for last is asked for once more
 * shortly before its TTL ends, as a query like any other, with its events. So the cell's answer is always at
 * hand, and a drift is seen when it happens. */
#include "common/base/clock.h"
#include "proxyd/dns/cell.h"

#define BATCH     8u      /* questions begun at a time */
#define IN_FLIGHT 16u     /* and under way */
#define AGAIN_US  250000u /* when there was no room: tried again so much later */
#define LEAD_MIN  500000u /* microseconds before the end: a tenth of the TTL, within these bounds */
#define LEAD_MAX  10000000u

static uint64_t due_us(const struct dns_view *v)
{
    uint64_t lead = v->found->ttl_s * 100000ull;

    lead = lead < LEAD_MIN ? LEAD_MIN : lead > LEAD_MAX ? LEAD_MAX : lead;
    return dns_found_fresh_until(v->found) - lead;
}

static bool wanted(const struct dns_view *v)
{
    return v->used && v->linked && v->reason == DNS_ALLOWLIST_MATCH;
}

static void timer_at(struct dns_cell *cell, uint64_t at_us)
{
    uint64_t now_us = clock_boottime_us();

    if (ev_is_active(&cell->refresh_timer) && cell->refresh_at_us <= at_us)
        return;
    cell->refresh_at_us = at_us;
    ev_timer_stop(cell->loop, &cell->refresh_timer);
    ev_timer_set(&cell->refresh_timer, at_us > now_us ? (double)(at_us - now_us) / 1e6 : 0., 0.);
    ev_timer_start(cell->loop, &cell->refresh_timer);
}

void dns_refresh_note(struct dns_cell *cell, struct dns_view *v)
{
    if (!cell->policy->refresh || v->used)
        return;
    v->used = true;
    if (wanted(v))
        timer_at(cell, due_us(v));
}

/* The views that are due are held, because a question may end in a new view and that ends an old one. */
static size_t take_due(struct dns_cell *cell, uint64_t now_us, struct dns_view *ret[BATCH])
{
    uint64_t next = UINT64_MAX;
    size_t n = 0;

    for (struct dns_node *node = TAILQ_FIRST(&cell->views.by_use); node; node = TAILQ_NEXT(node, by_use)) {
        struct dns_view *v = (struct dns_view *)node;
        uint64_t due = due_us(v);
        if (!wanted(v))
            continue;
        if (due <= now_us && n < BATCH && cell->refresh_in_flight + n < IN_FLIGHT) {
            v->used = false;
            v->refs++;
            ret[n++] = v;
            continue;
        }
        due = due > now_us ? due : now_us + AGAIN_US;
        next = due < next ? due : next;
    }
    if (next < UINT64_MAX)
        timer_at(cell, next);
    return n;
}

/* Over already, or asked for by another cell of the authority since. */
static bool moot(struct dns_cell *cell, const struct dns_view *v, uint64_t now_us)
{
    struct dns_key key;
    struct name name;
    bool stale;

    if (now_us >= dns_found_fresh_until(v->found))
        return true;
    dns_node_name(&v->node, &name);
    key = (struct dns_key){&name, v->node.qtype, v->node.hash};
    const struct dns_found *f = dns_authority_cached(cell->authority, &key, now_us, &stale);
    return f && f != v->found && !stale;
}

static void on_refresh(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_cell *cell = w->data;
    struct dns_view *due[BATCH];
    uint64_t now_us = clock_boottime_us();

    (void)events;
    ev_timer_stop(loop, w);
    size_t n = take_due(cell, now_us, due);
    for (size_t i = 0; i < n; i++) {
        if (due[i]->linked && !moot(cell, due[i], now_us))
            dns_query_refresh(cell, due[i]);
        dns_view_unref(due[i]);
    }
}

void dns_refresh_init(struct dns_cell *cell)
{
    ev_init(&cell->refresh_timer, on_refresh);
    cell->refresh_timer.data = cell;
}

void dns_refresh_done(struct dns_cell *cell)
{
    ev_timer_stop(cell->loop, &cell->refresh_timer);
}
