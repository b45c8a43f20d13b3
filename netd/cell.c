/* SPDX-License-Identifier: MIT */
#include "netd/cell.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "netd/evidence.h"

static const struct empty nothing;

static bool detaching(const struct registry_cell *c)
{
    return c->request.id == MSG_NETD_CELL_DETACH_REQ;
}

/* Only the first failure of a request is kept: the rest follows from it. */
__attribute__((format(printf, 3, 4))) static void note(struct registry_cell *c, uint32_t fail,
                                                       const char *fmt, ...)
{
    va_list ap;
    if (c->fail != 0)
        return;
    c->fail = fail;
    va_start(ap, fmt);
    vsnprintf(c->fail_text, sizeof(c->fail_text), fmt, ap);
    va_end(ap);
    log_warning("cell %s: %s", c->run_id, c->fail_text);
}

static void note_claim(struct registry_cell *c, int err, const char *event)
{
    uint32_t fail = err == -EPIPE       ? FAIL_UNAVAILABLE
                    : err == -ETIMEDOUT ? FAIL_TIMEOUT
                    : err == -ENOSPC    ? FAIL_NO_SPACE
                    : err == -EDQUOT    ? FAIL_QUOTA
                    : err == -EPERM     ? FAIL_AUTHORITY
                                        : FAIL_INTERNAL;
    note(c, fail, "no evidence of %s: %s", event, strerror(-err));
}

static void note_job(struct registry_cell *c, int err, const char *step)
{
    uint32_t fail = err == -ETIMEDOUT ? FAIL_TIMEOUT : err == -EEXIST ? FAIL_BAD_FD : FAIL_INTERNAL;
    note(c, fail, "cannot %s: %s", step, strerror(-err));
}

/* A send that fails means that the line is dying: gone() follows and ends netd. */
static void answer(struct registry_cell *c, const void *rec, const int *fds, size_t nfds)
{
    const struct registry_request q = c->request;
    struct endpoint *e = c->netd->supervisor;
    int r = c->fail != 0 ? endpoint_fail(e, q.seq, c->fail, "%s", c->fail_text)
                         : endpoint_reply(e, q.id, q.seq, rec, fds, nfds);
    if (r < 0)
        log_errno(r, "cell %s: cannot answer", c->run_id);
    c->request = (struct registry_request){0};
    c->fail = 0;
}

static void forget(struct registry_cell *c)
{
    signer_forget(c->netd->signer, c);
    registry_remove(&c->netd->registry, c);
}

static void count(struct registry_cell *c);

/* ---- attach ---- */

static void attach_finish(struct registry_cell *c)
{
    const struct netd_cell_attach_rep rep = {str_of(c->netd->self.digests[c->mode])};
    if (detaching(c)) { /* nobody wants the sockets any more, but what happened is counted */
        registry_close_sockets(c);
        c->state = REGISTRY_ATTACHED;
        if (c->counter_sock >= 0) {
            count(c);
            return;
        }
        c->fail = 0;
        answer(c, &nothing, NULL, 0);
        forget(c);
        return;
    }
    bool good = c->fail == 0;
    answer(c, &rep, c->sockets, _SOCKETS_MAX);
    registry_close_sockets(c);
    c->state = REGISTRY_ATTACHED;
    if (!good)
        forget(c);
}

static void on_enforcement_claimed(void *data, int err, uint64_t sequence)
{
    struct registry_cell *c = data;
    (void)sequence;
    c->claims--;
    if (err < 0)
        note_claim(c, err, "network_enforcement");
    attach_finish(c);
}

static void claim_enforcement(struct registry_cell *c)
{
    int r = evidence_enforcement(c, c->fail != 0 ? c->fail_text : NULL, on_enforcement_claimed);
    if (r == 0) {
        c->claims++;
        return;
    }
    note_claim(c, r, "network_enforcement");
    attach_finish(c);
}

static void on_attached(void *self, struct worker_result *r)
{
    struct registry_cell *c = self;
    c->worker = worker_free(c->worker);
    if (r->err < 0) {
        note_job(c, r->err, r->step);
    } else {
        c->counter_sock = TAKE_FD(r->counter_sock);
        for (size_t i = 0; i < _SOCKETS_MAX; i++)
            c->sockets[i] = TAKE_FD(r->sockets[i]);
    }
    claim_enforcement(c);
}

static int attach_start(struct registry_cell *c, int netns)
{
    const struct worker_task task = {
        .job = WORKER_ATTACH,
        .rules = ruleset_of(c->mode),
        .with_sockets = c->mode == NET_MODE_INTERCEPT,
        .userns = c->userns,
        .netns = netns,
        .counter_sock = -EBADF,
    };
    return worker_start(c->netd->loop, &task, c->netd->self.cookie, on_attached, c, &c->worker);
}

void cell_attach(struct registry_cell *c, int userns, int netns, struct registry_request request)
{
    _cleanup_close_ int net = netns; /* the sockets keep the namespace */
    c->userns = userns;
    c->request = request;
    c->state = REGISTRY_ATTACHING;
    c->mode = NET_MODE_INTERCEPT;
    c->since_s = clock_realtime_ms() / 1000;
    int verdict = netns_check(&c->netd->self.own, userns, net, c->netd->self.owner);
    if (verdict != NETNS_OK) {
        note(c, FAIL_BAD_FD, "the cell's namespaces are refused: %s",
             verdict < 0 ? strerror(-verdict) : netns_verdict_text(verdict));
    } else {
        int r = attach_start(c, net);
        if (r < 0)
            note_job(c, r, "start the child");
    }
    if (c->fail != 0)
        claim_enforcement(c);
}

/* ---- counters and detach ---- */

static void answer_counters(struct registry_cell *c)
{
    const struct ruleset *rs = ruleset_of(c->mode);
    struct netd_cell_counters_rep rep = {0};
    for (size_t i = 0; i < rs->nrows; i++) {
        if (rs->rows[i].chain != RULESET_OUTPUT) /* every packet passes there once */
            continue;
        if (ruleset_row_action(&rs->rows[i]) == ACTION_ALLOW)
            rep.packets_accepted += c->counts[i].packets;
        else
            rep.packets_dropped += c->counts[i].packets;
    }
    answer(c, &rep, NULL, 0);
}

static void report_finish(struct registry_cell *c)
{
    c->state = REGISTRY_ATTACHED;
    if (c->recount) {
        c->recount = false;
        c->fail = 0;
        count(c);
    } else if (detaching(c)) {
        answer(c, &nothing, NULL, 0);
        forget(c);
    } else {
        answer_counters(c);
    }
}

static void on_flow_claimed(void *data, int err, uint64_t sequence)
{
    struct registry_cell *c = data;
    (void)sequence;
    if (err < 0) {
        note_claim(c, err, "network_flow_decision");
        memset(c->reported, 0,
               sizeof(c->reported)); /* which one is not known: all are claimed again next time */
    }
    if (--c->claims == 0)
        report_finish(c);
}

/* Acknowledgements never come from inside a claim, so all are sent before the first can finish the report. */
static void report(struct registry_cell *c, const struct ruleset_count *counts)
{
    size_t nrows = ruleset_of(c->mode)->nrows;
    c->state = REGISTRY_REPORTING;
    for (size_t i = 0; i < nrows; i++) {
        if (c->reported[i] && memcmp(&c->counts[i], &counts[i], sizeof(counts[i])) == 0)
            continue;
        c->counts[i] = counts[i];
        int r = evidence_flow(c, i, on_flow_claimed);
        if (r < 0)
            note_claim(c, r, "network_flow_decision");
        else
            c->claims++;
        c->reported[i] = r == 0;
    }
    if (c->claims == 0)
        report_finish(c);
}

/* That the counts are missing is itself claimed. */
static void report_loss(struct registry_cell *c)
{
    c->state = REGISTRY_REPORTING;
    int r = evidence_flows_lost(c, on_flow_claimed);
    if (r == 0) {
        c->claims++;
        return;
    }
    log_errno(r, "cell %s: cannot claim the gap", c->run_id);
    report_finish(c);
}

static void on_counted(void *self, struct worker_result *r)
{
    struct registry_cell *c = self;
    c->worker = worker_free(c->worker);
    if (r->err < 0) {
        note_job(c, r->err, r->step);
        report_loss(c);
    } else {
        report(c, r->counts);
    }
}

static void count(struct registry_cell *c)
{
    const struct worker_task task = {
        .job = WORKER_COUNT,
        .rules = ruleset_of(c->mode),
        .userns = c->userns,
        .netns = -EBADF,
        .counter_sock = c->counter_sock,
        .seq = ++c->netd->netlink_seq,
    };
    c->state = REGISTRY_COUNTING;
    int r = worker_start(c->netd->loop, &task, c->netd->self.cookie, on_counted, c, &c->worker);
    if (r < 0) {
        note_job(c, r, "start the child");
        report_loss(c);
    }
}

void cell_counters(struct registry_cell *c, struct registry_request request)
{
    c->request = request;
    count(c);
}

void cell_detach(struct registry_cell *c, struct registry_request request)
{
    if (c->request.id != 0)
        (void)!endpoint_fail(c->netd->supervisor, c->request.seq, FAIL_STATE, "the cell is being detached");
    c->request = request;
    switch (c->state) {
    case REGISTRY_ATTACHING:
        if (c->worker != NULL) { /* else the claim is on its way, and attach_finish() goes on */
            c->worker = worker_free(c->worker);
            note(c, FAIL_STATE, "detached before it was attached");
            claim_enforcement(c);
        }
        break;
    case REGISTRY_COUNTING:
    case REGISTRY_REPORTING:
        c->recount = true;
        break;
    default:
        count(c);
    }
}
