/* SPDX-License-Identifier: MIT */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "netd/flowlog_internal.h"

_Static_assert(FLOWLOG_IN_FLIGHT + WORKER_FLOWS_MAX + 2 * RULESET_ROWS_MAX + 8 <= LIMIT_CLAIM_CREDITS,
               "what may be claimed at the end fits");

static uint64_t now_s(void)
{
    return clock_realtime_ms() / 1000;
}

void flowlog_second_begin(struct flowlog *f)
{
    if (ev_is_active(&f->second))
        return;
    f->since_s = now_s();
    ev_now_update(f->cell->netd->loop);
    ev_timer_again(f->cell->netd->loop, &f->second);
}

/* ---- claims ---- */
static void claim_answered(struct flowlog *f)
{
    if (--f->claims == 0)
        f->settled(f->cell);
}

/* What is not in the log is lost, whatever the reason; the next gap says so, if signerd takes that one. */
static void not_sealed(struct flowlog *f, uint64_t *lost, int err)
{
    (*lost)++;
    log_failed(LOG_WARNING, err, "cell %s: a flow event is not in the log", f->cell->run_id);
    if (!f->finished)
        flowlog_second_begin(f);
}

static void on_flow_sealed(void *data, int err, uint64_t sequence)
{
    struct flowlog *f = data;
    (void)sequence;
    if (err < 0)
        not_sealed(f, &f->lost, err);
    claim_answered(f);
}

static void on_end_sealed(void *data, int err, uint64_t sequence)
{
    struct flowlog *f = data;
    (void)sequence;
    if (err < 0)
        not_sealed(f, &f->lost_ends, err);
    claim_answered(f);
}

static void on_gap_sealed(void *data, int err, uint64_t sequence)
{
    struct flowlog *f = data;
    (void)sequence;
    if (err < 0)
        log_failed(LOG_ERR, err, "cell %s: a gap in the flow events is not in the log", f->cell->run_id);
    claim_answered(f);
}

bool flowlog_claim_flow(struct flowlog *f, const struct nflog_record *r)
{
    bool ended = r->kind == NFLOG_ENDED;
    int e = evidence_one_flow(f->cell, r, ended ? on_end_sealed : on_flow_sealed, f);
    if (e < 0)
        return false;
    f->claims++;
    f->events++;
    return true;
}

static void claim_gap(struct flowlog *f, uint64_t *lost, const char *cause)
{
    if (*lost == 0)
        return;
    int r = evidence_gap(f->cell, *lost, f->since_s, cause, on_gap_sealed, f);
    if (r < 0) { /* it is tried again with the next second's */
        if (!f->gap_failed)
            log_errno(r, "cell %s: cannot claim a gap in the flow events", f->cell->run_id);
        f->gap_failed = true;
        return;
    }
    f->claims++;
    *lost = 0;
}

void flowlog_claim_gaps(struct flowlog *f)
{
    claim_gap(f, &f->lost, "flow_rate_limit");
    claim_gap(f, &f->lost_ends, "flow_end_rate_limit");
    f->since_s = now_s();
}

static bool may_claim(const struct flowlog *f)
{
    return f->events < LIMIT_FLOWS_PER_SEC && f->claims < FLOWLOG_IN_FLIGHT;
}

/* ---- one second ---- */
static struct flowlog_repeat *find_repeat(struct flowlog *f, const struct nflog_record *r)
{
    for (size_t i = 0; i < f->nrepeats; i++)
        if (f->repeats[i].row == r->row && packet_tuple_eq(&f->repeats[i].tuple, &r->tuple))
            return &f->repeats[i];
    return NULL;
}

/* Without memory the next packet of this tuple is an event of its own. */
static void remember(struct flowlog *f, const struct nflog_record *r)
{
    if (f->repeats == NULL)
        f->repeats = calloc(LIMIT_FLOWS_PER_SEC, sizeof(*f->repeats));
    if (f->repeats != NULL && f->nrepeats < LIMIT_FLOWS_PER_SEC)
        f->repeats[f->nrepeats++] = (struct flowlog_repeat){.row = r->row, .tuple = r->tuple};
}

static void lose(struct flowlog *f, uint64_t *lost, uint64_t n)
{
    *lost += n;
    f->surplus++;
}

/* A hole in the numbering: the full socket has refused packets before this one. How many the counters know;
 * to count them here as well would be to count them twice. */
static void note_seq(struct flowlog *f, uint32_t seq)
{
    if (seq != f->next_seq)
        f->incomplete = true;
    f->next_seq = seq + 1;
}

static void on_packet(struct flowlog *f, const struct nflog_record *r)
{
    note_seq(f, r->seq);
    f->accounted++;
    struct flowlog_repeat *again = r->has_tuple ? find_repeat(f, r) : NULL;
    if (again != NULL) {
        again->packets++;
        again->bytes += r->bytes;
        f->surplus++;
    } else if (r->row != RULESET_UNCOUNTED && r->has_tuple && may_claim(f) && flowlog_claim_flow(f, r)) {
        remember(f, r);
    } else {
        lose(f, &f->lost, 1);
    }
}

static bool is_listed(const struct worker_result *c, const struct nflog_record *r)
{
    for (size_t i = 0; c != NULL && i < c->nflows; i++)
        if (c->flows[i].has_tuple && packet_tuple_eq(&c->flows[i].tuple, &r->tuple))
            return true;
    return false;
}

/* The end of a flow that no row accepted is not one: it was never let go on. */
static void on_ended(struct flowlog *f, const struct nflog_record *r)
{
    if (r->row == RULESET_UNCOUNTED || is_listed(f->last, r))
        return;
    f->ended++;
    if (!r->has_tuple || !may_claim(f) || !flowlog_claim_flow(f, r))
        lose(f, &f->lost_ends, 1);
}

void flowlog_on_record(void *self, const struct nflog_record *r)
{
    struct flowlog *f = self;
    flowlog_second_begin(f);
    if (r->kind == NFLOG_PACKET)
        on_packet(f, r);
    else
        on_ended(f, r);
}

void flowlog_claim_repeats(struct flowlog *f)
{
    for (size_t i = 0; i < f->nrepeats; i++) {
        const struct flowlog_repeat *p = &f->repeats[i];
        const struct nflog_record r = {.kind = NFLOG_PACKET,
                                       .row = p->row,
                                       .has_tuple = true,
                                       .packets = p->packets,
                                       .bytes = p->bytes,
                                       .tuple = p->tuple};
        if (p->packets > 0 && (!may_claim(f) || !flowlog_claim_flow(f, &r)))
            f->lost += p->packets;
    }
    f->nrepeats = 0;
}
