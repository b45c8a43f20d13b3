/* SPDX-License-Identifier: MIT */
/* Counters and detach: the rules' counters as events, and the end of the flow log. */
#include "common/base/log.h"
#include "netd/cell_internal.h"

#define REPORT_HOST_ROWS 64u /* claims of one cell that are under way for them */

static void answer_counters(struct registry_cell *c)
{
    const struct ruleset *rs = c->rs;
    struct netd_cell_counters_rep rep = {0};
    for (size_t i = 0; i < rs->nrows; i++) {
        if (rs->rows[i].chain != RULESET_OUTPUT) /* every packet passes there once */
            continue;
        if (ruleset_row_action(&rs->rows[i]) == ACTION_ALLOW)
            rep.packets_accepted += c->counts[i].packets;
        else
            rep.packets_dropped += c->counts[i].packets;
    }
    cell_answer(c, &rep, NULL, 0);
}

static void report_finish(struct registry_cell *c)
{
    static const struct empty nothing;
    c->state = REGISTRY_ATTACHED;
    if (c->recount) {
        c->recount = false;
        c->fail = 0;
        cell_count(c);
    } else if (cell_detaching(c)) {
        cell_answer(c, &nothing, NULL, 0);
        cell_forget(c);
    } else {
        answer_counters(c);
    }
}

static void on_flow_claimed(void *data, int err, uint64_t sequence);

/* The host's rows, so many at a time as the line has room for. */
static void report_host(struct registry_cell *c)
{
    for (size_t i = 0; c->routed != NULL && i < c->routed->nrows && c->claims < REPORT_HOST_ROWS; i++) {
        struct routed_count *row = &c->routed->rows[i];
        if (row->reported && row->told == row->packets && row->told_bytes == row->bytes)
            continue;
        int r = evidence_routed(c, i, on_flow_claimed);
        if (r < 0)
            cell_note_claim(c, r, "network_flow_decision");
        else
            c->claims++;
        row->reported = true; /* one that failed is not tried again: what failed is noted */
        row->told = row->packets;
        row->told_bytes = row->bytes;
    }
}

/* A detach also waits for what the flow log has said; a reading on the way does not. */
static void report_settle(struct registry_cell *c)
{
    bool last = cell_detaching(c) && !c->recount;
    if (c->claims == 0)
        report_host(c);
    if (c->claims == 0 && !(last && flowlog_claims(c->flowlog) > 0))
        report_finish(c);
}

void cell_flows_settled(struct registry_cell *c)
{
    if (c->state == REGISTRY_REPORTING)
        report_settle(c);
}

static void on_flow_claimed(void *data, int err, uint64_t sequence)
{
    struct registry_cell *c = data;
    (void)sequence;
    if (err < 0) {
        cell_note_claim(c, err, "network_flow_decision");
        memset(c->reported, 0,
               sizeof(c->reported)); /* which one is not known: all are claimed again next time */
    }
    c->claims--;
    report_settle(c);
}

/* Acknowledgements never come from inside a claim, so all are sent before the first can finish the report. */
static void report(struct registry_cell *c, const struct ruleset_count *counts)
{
    size_t nrows = c->rs->nrows;
    int host = c->routed != NULL ? routed_cell_count(c->routed) : 0;
    c->state = REGISTRY_REPORTING;
    if (host < 0)
        cell_note_job(c, host, "read the host's counters");
    for (size_t i = 0; i < nrows; i++) {
        if (c->reported[i] && memcmp(&c->counts[i], &counts[i], sizeof(counts[i])) == 0)
            continue;
        c->counts[i] = counts[i];
        int r = evidence_flow(c, i, on_flow_claimed);
        if (r < 0)
            cell_note_claim(c, r, "network_flow_decision");
        else
            c->claims++;
        c->reported[i] = r == 0;
    }
    report_settle(c);
}

/* That the counts are missing is itself claimed. */
static void report_loss(struct registry_cell *c)
{
    c->state = REGISTRY_REPORTING;
    int r = evidence_gap(c, c->rs->nrows, c->since_s, "flow counters unreadable", on_flow_claimed, c);
    if (r == 0)
        c->claims++;
    else
        log_errno(r, "cell %s: cannot claim the gap", c->run_id);
    report_settle(c);
}

static void on_counted(void *self, struct worker_result *r)
{
    struct registry_cell *c = self;
    c->worker = worker_free(c->worker);
    flowlog_resume(c->flowlog);
    if (cell_detaching(c) && !c->recount)
        flowlog_finish(c->flowlog, r->err < 0 ? NULL : r);
    if (r->err < 0) {
        cell_note_job(c, r->err, r->step);
        report_loss(c);
    } else {
        report(c, r->counts);
    }
}

void cell_count(struct registry_cell *c)
{
    const struct worker_task task = {
        .job = WORKER_COUNT,
        .rules = c->rs,
        .with_flows = cell_detaching(c) && c->flowlog != NULL,
        .userns = c->userns,
        .netns = -EBADF,
        .counter_sock = c->counter_sock,
        .seq = ++c->netd->netlink_seq,
    };
    c->state = REGISTRY_COUNTING;
    flowlog_pause(c->flowlog); /* two exchanges on one socket would mix */
    int r = worker_start(c->netd->loop, &task, c->netd->self.cookie, on_counted, c, &c->worker);
    if (r < 0) {
        cell_note_job(c, r, "start the child");
        flowlog_resume(c->flowlog);
        if (cell_detaching(c))
            flowlog_finish(c->flowlog, NULL);
        report_loss(c);
    }
}

void cell_counters(struct registry_cell *c, struct registry_request request)
{
    c->request = request;
    cell_count(c);
}

void cell_detach(struct registry_cell *c, struct registry_request request)
{
    if (c->request.id != 0)
        (void)!endpoint_fail(c->netd->supervisor, c->request.seq, FAIL_STATE, "the cell is being detached");
    c->request = request;
    switch (c->state) {
    case REGISTRY_ATTACHING:
        cell_detach_early(c);
        break;
    case REGISTRY_COUNTING:
    case REGISTRY_REPORTING:
        c->recount = true;
        break;
    default:
        cell_count(c);
    }
}
