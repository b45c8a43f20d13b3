/* SPDX-License-Identifier: MIT */
#include "common/base/clock.h"
#include "proxyd/dns/cell.h"

#define GAP_S 1.0 /* limits that were hit are reported once in this many seconds */

/* What a query is called in events: copies, because an acknowledgement from inside the event call may free
 * the query. */
struct labels {
    char name_buf[DNS_NAME_TEXT_MAX];
    char type_buf[DNS_TYPE_TEXT_MAX];
    const char *name;
    const char *type;
};

static void labels_of(const struct dns_ask *ask, struct labels *l)
{
    l->name = l->type = NULL;
    if (ask->q.qname.len == 0)
        return;
    l->name = dns_name_text(&ask->q.qname, l->name_buf);
    l->type = dns_type_text(ask->q.qtype, l->type_buf);
}

void dns_evidence_query(struct dns_cell *cell, const struct dns_ask *ask, bool own,
                        enum dns_reason_code reason, const struct dns_reply *cached, dns_ack_cb ack,
                        void *data)
{
    bool allow = reason == DNS_ALLOWLIST_MATCH;
    struct dns_query_info info = {.allow = allow, .cached = cached != NULL, .own = own, .reason = reason};
    _cleanup_free_ struct dns_texts *texts = cached ? malloc(sizeof(*texts)) : NULL;
    struct labels labels;

    if (cached && !texts) {
        ack(data, -ENOMEM);
        return;
    }
    labels_of(ask, &labels);
    info.name = labels.name;
    info.type = labels.type;
    if (cached) {
        dns_reply_texts(cached, texts);
        info.rcode = cached->rcode;
        info.answers = texts->v;
        info.nanswers = texts->n;
    } else if (allow && cell->policy->nresolvers > 0) {
        info.resolver_id = cell->policy->resolvers[0].id;
    }
    cell->events->query(cell->self, &info, ack, data);
}

void dns_evidence_answer(struct dns_cell *cell, const struct dns_query *q, const struct dns_verdict *v,
                         const struct dns_forward_result *result, dns_ack_cb ack, void *data)
{
    struct dns_answer_info info = {
        .own = q->own,
        .rcode = DNS_SERVFAIL,
        .resolver_id = result->resolver ? result->resolver->id : "",
        .latency_us = result->latency_us,
    };
    struct labels labels;

    labels_of(&q->ask, &labels);
    info.name = labels.name;
    info.type = labels.type;
    if (v) {
        info.reason = v->reason;
        info.rcode = v->rcode;
        info.answers = v->kept.v;
        info.nanswers = v->kept.n;
        info.removed = v->removed.v;
        info.nremoved = v->removed.n;
    } else {
        info.reason = result->error == -ETIMEDOUT ? DNS_UPSTREAM_TIMEOUT : DNS_UPSTREAM_FAILURE;
    }
    cell->events->answer(cell->self, &info, ack, data);
}

void dns_evidence_limited(struct dns_cell *cell)
{
    cell->counters.limited++;
    if (cell->gap_lost++ > 0)
        return;
    cell->gap_since_ms = clock_realtime_ms();
    ev_timer_set(&cell->gap_timer, GAP_S, 0.);
    ev_timer_start(cell->loop, &cell->gap_timer);
}

void dns_evidence_gap_flush(struct dns_cell *cell)
{
    struct dns_gap_info info = {
        .lost = cell->gap_lost,
        .since_ms = cell->gap_since_ms,
        .until_ms = clock_realtime_ms(),
        .cause = enum_text(&enum_dns_reason_code, DNS_RATE_LIMITED),
    };

    ev_timer_stop(cell->loop, &cell->gap_timer);
    cell->gap_lost = 0;
    if (info.lost > 0)
        cell->events->gap(cell->self, &info);
}

static void on_gap_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    dns_evidence_gap_flush(w->data);
}

void dns_evidence_init(struct dns_cell *cell)
{
    ev_init(&cell->gap_timer, on_gap_timer);
    cell->gap_timer.data = cell;
}
