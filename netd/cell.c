/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "netd/cell_internal.h"

void cell_note(struct registry_cell *c, uint32_t fail, const char *fmt, ...)
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

void cell_note_claim(struct registry_cell *c, int err, const char *event)
{
    uint32_t fail = err == -EPIPE       ? FAIL_UNAVAILABLE
                    : err == -ETIMEDOUT ? FAIL_TIMEOUT
                    : err == -ENOSPC    ? FAIL_NO_SPACE
                    : err == -EDQUOT    ? FAIL_QUOTA
                    : err == -EPERM     ? FAIL_AUTHORITY
                                        : FAIL_INTERNAL;
    cell_note(c, fail, "no evidence of %s: %s", event, strerror(-err));
}

void cell_note_job(struct registry_cell *c, int err, const char *step)
{
    uint32_t fail = err == -ETIMEDOUT ? FAIL_TIMEOUT : err == -EEXIST ? FAIL_BAD_FD : FAIL_INTERNAL;
    cell_note(c, fail, "cannot %s: %s", step, strerror(-err));
}

/* A send that fails means that the line is dying: gone() follows and ends netd. */
void cell_answer(struct registry_cell *c, const void *rec, const int *fds, size_t nfds)
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

void cell_forget(struct registry_cell *c)
{
    signer_forget(c->netd->signer, c);
    registry_remove(&c->netd->registry, c);
}

/* ---- attach ---- */

static void attach_answer(struct registry_cell *c)
{
    const struct str digest = str_of(c->netd->self.digests[c->mode][c->rs->logs]);
    const struct netd_cell_attach_rep rep = {digest};
    const struct netd_cell_attach_none_rep none = {digest};
    if (c->mode == NET_MODE_NONE)
        cell_answer(c, &none, NULL, 0);
    else
        cell_answer(c, &rep, c->sockets, c->mode == NET_MODE_ROUTED ? NETD_ROUTED_SOCKETS : _SOCKETS_MAX);
}

static void attach_finish(struct registry_cell *c)
{
    static const struct empty nothing;
    if (cell_detaching(c)) { /* nobody wants the sockets any more, but what happened is counted */
        registry_close_sockets(c);
        c->state = REGISTRY_ATTACHED;
        if (c->counter_sock >= 0) {
            cell_count(c);
            return;
        }
        c->fail = 0;
        cell_answer(c, &nothing, NULL, 0);
        cell_forget(c);
        return;
    }
    bool good = c->fail == 0;
    attach_answer(c);
    registry_close_sockets(c);
    c->state = REGISTRY_ATTACHED;
    if (!good)
        cell_forget(c);
}

static void on_enforcement_claimed(void *data, int err, uint64_t sequence)
{
    struct registry_cell *c = data;
    (void)sequence;
    if (err < 0)
        cell_note_claim(c, err, "network_enforcement");
    if (--c->claims == 0)
        attach_finish(c);
}

/* Without a log of flows the cell runs all the same, rules and counters are whole; but that is said. */
static void claim_enforcement(struct registry_cell *c)
{
    int r = evidence_enforcement(c, c->fail != 0 ? c->fail_text : NULL, on_enforcement_claimed);
    c->claims += r == 0;
    if (r == 0 && c->fail == 0 && !c->rs->logs) {
        r = evidence_gap(c, 0, c->since_s, "no_flow_log", on_enforcement_claimed, c);
        c->claims += r == 0;
    }
    if (r < 0)
        cell_note_claim(c, r, "network_enforcement");
    if (c->claims == 0)
        attach_finish(c);
}

static int take_flow_log(struct registry_cell *c, struct worker_result *r)
{
    if (r->flow_err == 0)
        return flowlog_new(c, TAKE_FD(r->flow_sock), c->rs, cell_flows_settled, &c->flowlog);
    log_failed(LOG_WARNING, r->flow_err, "cell %s: flows are counted, but not logged: this kernel lacks %s",
               c->run_id, "nfnetlink_log or nf_conntrack_netlink");
    c->rs = ruleset_get(c->mode, false);
    return 0;
}

static void on_attached(void *self, struct worker_result *r)
{
    struct registry_cell *c = self;
    c->worker = worker_free(c->worker);
    if (r->err < 0) {
        cell_note_job(c, r->err, r->step);
    } else {
        c->counter_sock = TAKE_FD(r->counter_sock);
        for (size_t i = 0; i < _SOCKETS_MAX; i++)
            c->sockets[i] = TAKE_FD(r->sockets[i]);
        int e = take_flow_log(c, r);
        if (e < 0)
            cell_note_job(c, e, "start the flow log");
    }
    claim_enforcement(c);
}

static int attach_start(struct registry_cell *c, int netns)
{
    const char *step = "";
    int r = c->routed != NULL ? routed_cell_link(c->routed, netns, c->run_id, &step) : 0;
    if (r < 0) {
        cell_note_job(c, r, step);
        return 0;
    }
    const struct worker_task task = {
        .job = WORKER_ATTACH,
        .rules = c->rs,
        .plain_rules = ruleset_get(c->mode, false),
        .with_sockets = c->mode != NET_MODE_NONE,
        .link = c->routed != NULL ? &c->routed->link : NULL,
        .userns = c->userns,
        .netns = netns,
        .counter_sock = -EBADF,
    };
    return worker_start(c->netd->loop, &task, c->netd->self.cookie, on_attached, c, &c->worker);
}

void cell_attach(struct registry_cell *c, enum net_mode mode, int userns, int netns,
                 struct registry_request request)
{
    _cleanup_close_ int net = netns; /* the sockets keep the namespace */
    c->userns = userns;
    c->request = request;
    c->state = REGISTRY_ATTACHING;
    c->mode = mode;
    c->rs = ruleset_of(mode);
    c->since_s = clock_realtime_ms() / 1000;
    int verdict = netns_check(&c->netd->self.own, userns, net, c->netd->self.owner);
    if (verdict != NETNS_OK) {
        cell_note(c, FAIL_BAD_FD, "the cell's namespaces are refused: %s",
                  verdict < 0 ? strerror(-verdict) : netns_verdict_text(verdict));
    } else {
        int r = attach_start(c, net);
        if (r < 0)
            cell_note_job(c, r, "start the child");
    }
    if (c->fail != 0)
        claim_enforcement(c);
}

void cell_detach_early(struct registry_cell *c)
{
    if (c->worker == NULL) /* the claim is on its way, and attach_finish() goes on */
        return;
    c->worker = worker_free(c->worker);
    cell_note(c, FAIL_STATE, "detached before it was attached");
    claim_enforcement(c);
}
