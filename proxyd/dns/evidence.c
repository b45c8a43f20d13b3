/* SPDX-License-Identifier: MIT */
#include "common/base/clock.h"
#include "proxyd/dns/cell.h"

#define GAP_S 1.0 /* limits that were hit are reported once in this many seconds */

/* What a query is called in events. */
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
    /* a host name is its own text */
    l->name = ask->host ? ask->name.text : dns_name_text(&ask->q.qname, l->name_buf);
    l->type = dns_type_text(ask->q.qtype, l->type_buf);
}

void dns_evidence_query(struct dns_cell *cell, const struct dns_ask *ask, const struct dns_origin *origin,
                        enum dns_reason_code reason, const struct dns_view *view, dns_ack_cb ack, void *data)
{
    bool allow = reason == DNS_ALLOWLIST_MATCH;
    struct dns_query_info info = {
        .allow = allow,
        .cached = view != NULL,
        .own = origin->kind == DNS_FROM_PROXY,
        .refresh = origin->kind == DNS_FROM_REFRESH,
        .reason = reason,
    };
    struct labels labels;

    labels_of(ask, &labels);
    info.name = labels.name;
    info.type = labels.type;
    if (view) {
        const struct dns_texts *texts = dns_view_texts(view, info.own);
        const struct dns_reply *reply = dns_view_reply(view, info.own);
        info.rcode = reply ? reply->rcode : DNS_SERVFAIL;
        info.answers = texts->v;
        info.nanswers = texts->n;
    } else if (allow && cell->policy->nresolvers > 0) {
        info.resolver_id = cell->policy->resolvers[0].id;
    }
    cell->events->query(cell->self, &info, ack, data);
}

static void answer_info(const struct dns_query *q, enum dns_reason_code reason, const struct labels *labels,
                        struct dns_answer_info *ret)
{
    *ret = (struct dns_answer_info){
        .name = labels->name,
        .type = labels->type,
        .own = q->own,
        .reason = reason,
        .rcode = DNS_SERVFAIL,
        .resolver_id = q->resolver ? q->resolver->id : "",
        .latency_us = q->latency_us,
    };
}

void dns_evidence_answer(struct dns_cell *cell, const struct dns_query *q, enum dns_reason_code reason,
                         dns_ack_cb ack, void *data)
{
    const struct dns_view *view = q->view;
    const struct dns_verdict *v = view->verdict;
    struct dns_answer_info info;
    struct labels labels;

    labels_of(&q->ask, &labels);
    answer_info(q, reason, &labels, &info);
    info.rcode = v->rcode;
    info.answers = v->kept.v;
    info.nanswers = v->kept.n;
    info.removed = v->removed.v;
    info.nremoved = v->removed.n;
    info.ech_removed = v->ech_removed;
    info.hints_removed = v->hints_removed;
    info.stale = view->stale;
    info.synthetic = view->synthetic && !q->own;
    info.dnssec = view->found->dnssec;
    cell->events->answer(cell->self, &info, ack, data);
}

void dns_evidence_failure(struct dns_cell *cell, const struct dns_query *q, enum dns_reason_code reason,
                          const struct dns_lookup_result *result)
{
    struct dns_answer_info info;
    struct labels labels;

    labels_of(&q->ask, &labels);
    answer_info(q, reason, &labels, &info);
    info.dnssec = result->dnssec;
    cell->events->answer(cell->self, &info, NULL, NULL);
    if (reason != DNS_DNSSEC_FAILED)
        return;
    const struct dns_authority_info authority = {
        .event = DNS_AUTHORITY_DNSSEC_FAILED,
        .resolver_id = info.resolver_id,
        .name = info.name,
        .type = info.type,
        .dnssec = result->dnssec,
        .why = result->dnssec_why,
    };
    cell->events->authority(cell->self, &authority);
}

/* ---- drift and rebinding ---- */

struct address_list {
    size_t n;
    const char *v[2 * DNS_ANSWERS_MAX];
};

static void add_addresses(struct address_list *list, const struct dns_texts *texts, bool removed)
{
    for (size_t i = 0; i < texts->n && list->n < ARRAY_LEN(list->v); i++) {
        const struct dns_answer_text *t = &texts->v[i];
        bool address = strcmp(t->type, "A") == 0 || strcmp(t->type, "AAAA") == 0;
        if (address && (!removed || t->reason == DNS_REBIND_REJECTED))
            list->v[list->n++] = t->data;
    }
}

static const char *first_why(const struct dns_texts *removed)
{
    for (size_t i = 0; i < removed->n; i++)
        if (removed->v[i].reason == DNS_REBIND_REJECTED)
            return removed->v[i].why;
    return NULL;
}

static void authority_event(struct dns_cell *cell, enum dns_authority_event event,
                            const struct address_list *list, struct dns_authority_info *info)
{
    info->event = event;
    info->addresses = list->v;
    info->naddresses = list->n;
    cell->events->authority(cell->self, info);
}

void dns_evidence_view(struct dns_cell *cell, const struct dns_key *key, const struct dns_view *view)
{
    const struct dns_verdict *v = view->verdict;
    const struct dns_novelty *nov = v->novelty;
    struct address_list all = {.n = 0}, rejected = {.n = 0};
    char type[DNS_TYPE_TEXT_MAX];
    struct dns_authority_info info = {
        .resolver_id = view->found->resolver ? view->found->resolver->id : "",
        .name = key->name->text,
        .type = dns_type_text(key->qtype, type),
    };

    add_addresses(&rejected, &v->removed, /* removed= */ true);
    if (!nov && rejected.n == 0)
        return;
    add_addresses(&all, &v->kept, /* removed= */ false);
    if (nov && nov->drift) {
        info.previous = nov->previous;
        info.current = nov->current;
        authority_event(cell, DNS_AUTHORITY_DRIFT, &all, &info);
        info.previous = info.current = NULL;
    }
    if (nov && nov->threshold) {
        add_addresses(&all, &v->removed, /* removed= */ true);
        info.counted = true;
        info.novel = nov->novel;
        info.max_novel = cell->policy->max_novel;
        authority_event(cell, DNS_AUTHORITY_REBIND_THRESHOLD, &all, &info);
        info.counted = false;
    }
    if (rejected.n > 0) {
        info.why = first_why(&v->removed);
        authority_event(cell, DNS_AUTHORITY_REBIND_REJECTED, &rejected, &info);
    }
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
