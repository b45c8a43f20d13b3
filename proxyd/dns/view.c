/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/view.h"

#include "common/base/clock.h"
#include "proxyd/dns/cell.h"

#define RECORD_COST 128u /* the texts of one record, about */

static void view_free(struct dns_view *v)
{
    dns_verdict_free(v->verdict);
    dns_reply_unref(v->given);
    dns_texts_done(&v->given_texts);
    dns_found_unref(v->found);
    free(v);
}

struct dns_view *dns_view_unref(struct dns_view *v)
{
    if (v && --v->refs == 0)
        view_free(v);
    return NULL;
}

/* The message counts too: without the view the shared cache might have let go of it. */
static size_t cost(const struct dns_view *v)
{
    const struct dns_verdict *verdict = v->verdict;

    return sizeof(*v) + sizeof(*verdict) + v->node.len + v->found->len +
           (verdict->reply ? verdict->reply->len : 0) + verdict->naddrs * sizeof(struct addr) +
           (verdict->kept.n + verdict->removed.n) * RECORD_COST;
}

static void unlink_view(struct dns_cell *cell, struct dns_view *v)
{
    cell->view_bytes -= cost(v);
    dns_table_remove(&cell->views, &v->node);
    v->linked = false;
    dns_view_unref(v);
}

void dns_view_clear(struct dns_cell *cell)
{
    struct dns_node *node;

    while ((node = dns_table_oldest(&cell->views)))
        unlink_view(cell, (struct dns_view *)node);
}

/* Only what will be found again is kept: a fresh answer that others may be given as well. */
static void link_view(struct dns_cell *cell, struct dns_view *v, const struct dns_key *key)
{
    if (v->stale || v->found->ttl_s == 0 || dns_table_add(&cell->views, &v->node, key) < 0)
        return;
    v->linked = true;
    v->refs++;
    cell->view_bytes += cost(v);
    while (cell->views.n > LIMIT_DNS_CACHE || (cell->view_bytes > DNS_VIEW_BYTES && cell->views.n > 1))
        unlink_view(cell, (struct dns_view *)dns_table_oldest(&cell->views));
}

/* ---- answerMode synthetic ---- */

static int synthetic_record(const struct dns_key *key, const struct addr *addr, uint32_t ttl, struct buf *b)
{
    struct dns_rr rr = {.type = key->qtype, .class = DNS_CLASS_IN};

    dns_name_from_host(key->name, &rr.owner);
    return dns_reply_put_raw(b, &rr, ttl, addr->bytes, addr->family == AF_INET ? 4 : 16);
}

static int synthetic_build(struct dns_view *v, const struct dns_key *key, const struct addr *addr)
{
    const struct dns_reply *real = v->verdict->reply;
    uint32_t ttl = v->stale ? DNS_STALE_TTL_S : real->ttl_s;
    _cleanup_(buf_done) struct buf wire = {0};
    struct dns_rr rr;

    buf_init(&wire, 512);
    int r = synthetic_record(key, addr, ttl, &wire);
    if (r < 0)
        return r;
    struct dns_reader rd = dns_reader_of(wire.data, wire.len);
    if (dns_rr_read(&rd, &rr) < 0)
        return -EBADMSG;
    v->given = dns_reply_new(DNS_NOERROR, 1, real->ttl_s, &wire);
    if (!v->given)
        return -ENOMEM;
    v->given->at_us = real->at_us;
    v->synthetic = true;
    return dns_texts_add(&v->given_texts, wire.data, &rr, ttl, dns_reason_code_absent, NULL);
}

/* The name's own address in place of all that the resolver gave. Its CNAMEs would name what has no address
 * here. */
static int make_synthetic(struct dns_cell *cell, struct dns_view *v, const struct dns_key *key)
{
    struct addr addr;

    int r =
        dns_synthetic_addr(cell->synthetic, key->name, key->qtype == DNS_TYPE_A ? AF_INET : AF_INET6, &addr);
    if (r == -EDQUOT) {
        v->reason = DNS_RATE_LIMITED;
        return 0;
    }
    return r < 0 ? r : synthetic_build(v, key, &addr);
}

static int make_given(struct dns_cell *cell, struct dns_view *v, const struct dns_key *key)
{
    bool addresses = key->qtype == DNS_TYPE_A || key->qtype == DNS_TYPE_AAAA;

    v->reason = v->verdict->reason;
    if (v->reason != DNS_ALLOWLIST_MATCH)
        return 0;
    if (cell->policy->synthetic && addresses && v->verdict->naddrs > 0)
        return make_synthetic(cell, v, key);
    v->given = dns_reply_ref(v->verdict->reply);
    return 0;
}

/* ---- a new one ---- */

static int judge(struct dns_cell *cell, const struct dns_key *key, struct dns_view *v)
{
    struct dns_question q = {.qtype = key->qtype, .qclass = DNS_CLASS_IN};
    const struct dns_terms terms = {
        .policy = cell->policy,
        .history = &cell->history,
        .at_us = v->stale ? clock_boottime_us() : v->found->at_us,
        .stale = v->stale,
    };

    dns_name_from_host(key->name, &q.qname);
    v->verdict = dns_answer_judge(&terms, key->name, &q, v->found->msg, v->found->len);
    return v->verdict ? make_given(cell, v, key) : -ENOMEM;
}

static int view_new(struct dns_cell *cell, const struct dns_key *key, struct dns_found *found, bool stale,
                    struct dns_view **ret)
{
    struct dns_view *v = calloc(1, sizeof(*v));

    if (!v)
        return -ENOMEM;
    v->refs = 1;
    v->found = dns_found_ref(found);
    v->stale = stale;
    int r = judge(cell, key, v);
    if (r < 0) {
        view_free(v);
        return r;
    }
    /* a dns_query that says "cached" with its answers says all there is about an answer left as it was */
    v->said = !stale && !v->synthetic && v->reason == DNS_ALLOWLIST_MATCH && v->verdict->removed.n == 0 &&
              !v->verdict->ech_removed && !v->verdict->hints_removed;
    cell->counters.removed += v->verdict->removed.n;
    *ret = v;
    return 0;
}

int dns_view_get(struct dns_cell *cell, const struct dns_key *key, struct dns_found *found, bool stale,
                 struct dns_view **ret)
{
    struct dns_view *v = (struct dns_view *)dns_table_find(&cell->views, key);

    if (v && v->found == found && v->stale == stale) {
        dns_table_touch(&cell->views, &v->node);
        v->refs++;
        *ret = v;
        return 0;
    }
    int r = view_new(cell, key, found, stale, ret);
    if (r < 0)
        return r;
    if (v && !stale)
        unlink_view(cell, v);
    link_view(cell, *ret, key);
    dns_evidence_view(cell, key, *ret);
    return 0;
}
