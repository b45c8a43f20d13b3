/* SPDX-License-Identifier: MIT */
#include "proxyd/dns_events.h"

/* Records of one event: at most DNS_ANSWERS_MAX of each list (dns.h). */
struct record_list {
    struct ev_dns_record v[DNS_ANSWERS_MAX];
};
struct removed_list {
    struct ev_dns_removed v[DNS_ANSWERS_MAX];
};

static size_t records_of(const struct dns_answer_text *a, size_t n, struct record_list *to)
{
    n = n < DNS_ANSWERS_MAX ? n : DNS_ANSWERS_MAX;
    for (size_t i = 0; i < n; i++)
        to->v[i] = (struct ev_dns_record){str_of(a[i].name), str_of(a[i].type), a[i].ttl, str_of(a[i].data)};
    return n;
}

static size_t removed_of(const struct dns_answer_text *a, size_t n, struct removed_list *to)
{
    n = n < DNS_ANSWERS_MAX ? n : DNS_ANSWERS_MAX;
    for (size_t i = 0; i < n; i++)
        to->v[i] =
            (struct ev_dns_removed){str_of(a[i].type), str_of(a[i].data), a[i].reason, str_of(a[i].why)};
    return n;
}

static void claim(struct claims *c, enum event_type type, const void *rec, dns_ack_cb ack, void *data)
{
    if (!ack) {
        claims_deny(c, type, rec);
        return;
    }
    int r = claims_allow(c, type, rec, ack, data);
    if (r != CLAIMS_WAITS)
        ack(data, r == CLAIMS_GOES ? 0 : r);
}

static void on_query(void *self, const struct dns_query_info *i, dns_ack_cb ack, void *data)
{
    struct record_list answers;
    struct ev_dns_query rec = {
        .query_name = str_of(i->name),
        .query_type = str_of(i->type),
        .action = i->allow ? ACTION_ALLOW : ACTION_DENY,
        .reason_code = i->reason,
        .resolver_id = str_of(i->resolver_id),
        .origin = i->own ? STR_LIT("dial") : STR_LIT("cell"),
    };

    if (i->allow)
        rec.cached = OPT_BOOL(i->cached);
    if (i->cached) {
        rec.answers.n = records_of(i->answers, i->nanswers, &answers);
        rec.answers.v = answers.v;
    }
    claim(self, EVENT_DNS_QUERY, &rec, ack, data);
}

static void on_answer(void *self, const struct dns_answer_info *i, dns_ack_cb ack, void *data)
{
    char rcode[DNS_RCODE_TEXT_MAX];
    struct record_list answers;
    struct removed_list removed;
    struct ev_dns_answer rec = {
        .query_name = str_of(i->name),
        .query_type = str_of(i->type),
        .response_rcode = str_of(dns_rcode_text(i->rcode, rcode)),
        .reason_code = i->reason,
        .resolver_id = str_of(i->resolver_id),
        .latency_micros = i->latency_us,
    };

    rec.answers.n = records_of(i->answers, i->nanswers, &answers);
    rec.answers.v = answers.v;
    if (i->nremoved > 0) {
        rec.removed.n = removed_of(i->removed, i->nremoved, &removed);
        rec.removed.v = removed.v;
    }
    claim(self, EVENT_DNS_ANSWER, &rec, ack, data);
}

static void on_gap(void *self, const struct dns_gap_info *i)
{
    claims_lost(self, GAP_DNS, i->lost);
}

const struct dns_events dns_events_claims = {on_query, on_answer, on_gap};
