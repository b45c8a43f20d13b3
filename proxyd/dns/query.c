/* SPDX-License-Identifier: MIT */
/* Who asks what: the judgement of one question, before anything leaves. */
#include "common/base/clock.h"
#include "proxyd/dns/cell.h"

/* GCRA: one second's worth may come at once, then the policy's number in a second. */
static bool rate_allows(struct dns_cell *cell)
{
    uint64_t now = cell->now_us;
    uint32_t per_second = cell->policy->per_second ? cell->policy->per_second : LIMIT_DNS_PER_SECOND;
    uint32_t interval_us = 1000000u / per_second;

    if (cell->rate_us < now)
        cell->rate_us = now;
    if (cell->rate_us - now > 1000000u - interval_us)
        return false;
    cell->rate_us += interval_us;
    return true;
}

/* Counts the name for the hints of tunnelling: once for a name whose answer is at hand, and then cheaply. */
static void note_name(struct dns_cell *cell, const struct dns_ask *ask, const struct dns_view *view,
                      struct dns_tunnel_mark *ret)
{
    *ret = (struct dns_tunnel_mark){.slot = 0};
    if (view && view->mark.slot > 0) {
        *ret = view->mark;
        dns_tunnel_again(cell->tunnel, ret);
    } else if (ask->host) {
        dns_tunnel_note(&cell->tunnel, &ask->name, ret);
    }
}

/* A view that the cell itself asked for is of a name and a type that this policy allows: views do not outlive
 * a policy. So a cached answer costs no walk over the lists. */
static enum dns_reason_code judge(struct dns_cell *cell, const struct dns_ask *ask,
                                  const struct dns_view *view)
{
    if (view && view->listed && ask->q.qclass == DNS_CLASS_IN)
        return DNS_ALLOWLIST_MATCH;
    return dns_policy_judge(cell->policy, ask, /* own= */ false);
}

void dns_query_take(struct dns_cell *cell, const struct dns_origin *origin, const uint8_t *msg, size_t len)
{
    struct dns_tunnel_mark mark;
    struct dns_ask ask;

    cell->counters.queries++;
    cell->now_us = clock_boottime_us();
    if (!rate_allows(cell)) {
        dns_evidence_limited(cell);
        return;
    }
    if (dns_ask_read(msg, len, &ask) < 0) {
        cell->counters.malformed++;
        dns_evidence_query(cell, &ask, origin, DNS_MALFORMED_QUERY, NULL, NULL, NULL);
        return;
    }
    const struct dns_key key = dns_key_of(&ask.name, ask.q.qtype);
    const struct dns_view *view = ask.host ? (struct dns_view *)dns_table_find(&cell->views, &key) : NULL;
    enum dns_reason_code reason = judge(cell, &ask, view);
    note_name(cell, &ask, view, &mark);
    if (reason != DNS_ALLOWLIST_MATCH) {
        cell->counters.denied++;
        dns_flight_reply(cell, origin, &ask, DNS_REFUSED, NULL, false);
        dns_evidence_query(cell, &ask, origin, reason, NULL, NULL, NULL);
        return;
    }
    if (cell->in_flight >= LIMIT_DNS_IN_FLIGHT) {
        dns_evidence_limited(cell);
        return;
    }
    cell->counters.allowed++;
    if (dns_flight_start(cell, origin, &ask, &key, &mark) < 0)
        dns_flight_reply(cell, origin, &ask, DNS_SERVFAIL, NULL, false);
}

static void ask_make(const struct name *name, uint16_t qtype, struct dns_ask *ret)
{
    *ret = (struct dns_ask){.rd = true, .udp_size = DNS_UDP_REPLY_MAX, .host = true, .name = *name};
    dns_name_from_host(name, &ret->q.qname);
    ret->q.qtype = qtype;
    ret->q.qclass = DNS_CLASS_IN;
}

void dns_query_own(struct dns_cell *cell, struct dns_resolve *resolve, const struct name *name,
                   uint16_t qtype)
{
    struct dns_origin origin = {.kind = DNS_FROM_PROXY, .proxy = resolve};
    const struct dns_tunnel_mark mark = {.slot = 0};
    struct dns_ask ask;

    cell->now_us = clock_boottime_us();
    ask_make(name, qtype, &ask);
    enum dns_reason_code reason = dns_policy_judge(cell->policy, &ask, /* own= */ true);
    if (reason != DNS_ALLOWLIST_MATCH) {
        dns_evidence_query(cell, &ask, &origin, reason, NULL, NULL, NULL);
        dns_resolve_answer(resolve, qtype, -EPERM, reason, NULL);
        return;
    }
    const struct dns_key key = dns_key_of(&ask.name, qtype);
    if (dns_flight_start(cell, &origin, &ask, &key, &mark) < 0)
        dns_resolve_answer(resolve, qtype, -ENOMEM, dns_reason_code_absent, NULL);
}

void dns_query_refresh(struct dns_cell *cell, const struct dns_view *view)
{
    const struct dns_origin origin = {.kind = DNS_FROM_REFRESH};
    struct dns_tunnel_mark mark = view->mark;
    struct dns_ask ask;
    struct name name;

    cell->now_us = clock_boottime_us();
    dns_node_name(&view->node, &name);
    ask_make(&name, view->node.qtype, &ask);
    const struct dns_key key = {&ask.name, view->node.qtype, view->node.hash};
    /* a name that only the egress rules list is asked for when it is dialed, and not before */
    if (dns_policy_judge(cell->policy, &ask, /* own= */ false) == DNS_ALLOWLIST_MATCH)
        (void)!dns_flight_start(cell, &origin, &ask, &key, &mark);
}
