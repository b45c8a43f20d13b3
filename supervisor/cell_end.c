/* SPDX-License-Identifier: MIT */
/* The steps from the end of the workload to the last event. Each runs whatever failed before; each undoes
 * what was done and says so in the log. */
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "supervisor/cell.h"

/* PID 1 of the pid namespace takes every process of the cell with it; with a cgroup, cgroup.kill does the
 * same even for a process that is just being forked. */
static void kill_everything(struct cell *c)
{
    if (c->cgroup && cgroup_cell_kill(c->cgroup) < 0)
        log_warning("cell %s: cgroup.kill failed, killing PID 1 instead", c->id);
    if (c->pidfd >= 0 && pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        log_failed(LOG_ERR, -errno, "cell %s: killing cell init", c->id);
    c->init = endpoint_free(c->init); /* end of file is a second order to end */
}

int cell_enter_kill(struct cell *c)
{
    ev_timer_stop(c->m->loop, &c->deadline);
    if (c->ended_us == 0)
        c->ended_us = clock_boottime_us();
    if (c->pidfd < 0) {
        c->init = endpoint_free(c->init);
        return CELL_STEP_NEXT;
    }
    if (c->pid_gone)
        return CELL_STEP_NEXT;
    kill_everything(c);
    return CELL_STEP_WAIT;
}

/* A death for want of memory looks like any kill -9: say what it was. */
static void note_memory(struct cell *c)
{
    bool own = false;
    unsigned long long kills = cgroup_cell_oom_kills(c->cgroup, &own);
    const struct opt_uint *max = &c->spec->run->limits.memory_max_bytes;
    if (kills == 0 || c->text[0])
        return;
    if (own && max->set)
        snprintf(
            c->text, sizeof(c->text),
            "run.limits.memoryMaxBytes of %llu bytes reached, the kernel ended %llu process%s of the cell",
            (unsigned long long)max->v, kills, kills == 1 ? "" : "es");
    else
        snprintf(c->text, sizeof(c->text),
                 "the host is out of memory, the kernel ended %llu process%s of the cell", kills,
                 kills == 1 ? "" : "es");
}

int cell_enter_completed(struct cell *c)
{
    if (c->cgroup)
        cgroup_cell_usage(c->cgroup, &c->usage);
    if (c->cgroup && c->started && c->spec->run)
        note_memory(c);
    if (c->started && c->spec->run && cell_claim_completed(c) < 0)
        c->failed = true;
    return CELL_STEP_NEXT;
}

static void on_unproxied(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)fds;
    (void)nfds;
    struct cell *c = data;
    if (error) {
        cell_step_failed(c, CELL_UNPROXY, "proxyd could not close the cell: %.*s", (int)error->text.len,
                         error->text.p);
        return;
    }
    const struct proxy_cell_close_rep *r = rec;
    c->connections = r->connections_allowed;
    c->l7_denied = r->l7_denied;
    c->dns_allowed = r->dns_allowed;
    c->dns_denied = r->dns_denied;
    c->bytes_sent = OPT_UINT(r->bytes_sent);
    c->bytes_received = OPT_UINT(r->bytes_received);
    for (size_t i = 0; i < r->rules.n; i++)
        if (r->rules.v[i].rule < c->policy.egress.n)
            c->rule_used[r->rules.v[i].rule] = true;
    for (size_t i = 0; i < r->apexes.n && i < ARRAY_LEN(c->apexes); i++) {
        c->apexes[c->napexes] = r->apexes.v[i];
        c->apexes[c->napexes].apex = arena_copy(&c->arena, r->apexes.v[i].apex);
        c->napexes += c->apexes[c->napexes].apex.p != NULL;
    }
    cell_step_done(c, CELL_UNPROXY);
}

int cell_enter_unproxy(struct cell *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->sockets); i++) {
        cleanup_closep(&c->sockets[i]);
        c->sockets[i] = -EBADF;
    }
    if (!c->proxied || !c->m->proxyd)
        return CELL_STEP_NEXT;
    struct proxy_cell_close_req req = {str_of(c->run_id)};
    int r = endpoint_call(c->m->proxyd, MSG_PROXY_CELL_CLOSE_REQ, &req, NULL, 0, LIMIT_DETACH_MS,
                          on_unproxied, c);
    return r < 0 ? r : CELL_STEP_WAIT;
}

static void on_detached(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)rec;
    (void)fds;
    (void)nfds;
    struct cell *c = data;
    if (error && error->fail != FAIL_UNKNOWN) /* unknown: an attach that never came through left nothing */
        cell_step_failed(c, CELL_DETACH, "netd could not release the cell: %.*s", (int)error->text.len,
                         error->text.p);
    else
        cell_step_done(c, CELL_DETACH);
}

int cell_enter_detach(struct cell *c)
{
    if (!c->attached || !c->m->netd)
        return CELL_STEP_NEXT;
    struct netd_cell_ref req = {str_of(c->run_id)};
    int r =
        endpoint_call(c->m->netd, MSG_NETD_CELL_DETACH_REQ, &req, NULL, 0, LIMIT_DETACH_MS, on_detached, c);
    return r < 0 ? r : CELL_STEP_WAIT;
}

/* What is still there although the cell is over: said, never hidden. */
static void note_residue(struct cell *c)
{
    int r = c->cgroup ? cgroup_cell_remove(c->cgroup) : 0;
    if (r < 0)
        snprintf(c->residue, sizeof(c->residue), "the cgroup of the cell could not be removed: %s",
                 strerror(-r));
    if (c->pidfd >= 0 && !c->pid_gone)
        snprintf(c->residue, sizeof(c->residue), "PID 1 of the cell did not end");
    if (c->residue[0])
        log_warning("cell %s: %s", c->id, c->residue);
}

static int claim_farewell(struct cell *c)
{
    c->farewell = true;
    return cell_claim_destroyed(c);
}

void cell_say_farewell(struct cell *c)
{
    int r = claim_farewell(c);
    if (r < 0)
        cell_step_failed(c, CELL_DESTROYED, "the log does not take the end of the cell: %s", strerror(-r));
}

/* All at once: they share a commit, and the order on a line is the order in the log. A cell with secrets
 * waits before its last event: another one may have to be claimed again (cell_claims.c), and behind the last
 * one nothing is taken. */
int cell_enter_destroyed(struct cell *c)
{
    note_residue(c);
    bool all = c->spec->secrets.n == 0 || cell_claim_identity(c, EVENT_REVOKED) >= 0;
    all = (!c->started || cell_claim_homeostasis(c) >= 0) && all;
    all = cell_claim_summary(c) >= 0 && all;
    all = (c->nrefs == 0 || cell_claim_bundle(c) >= 0) && all;
    if (!all)
        log_error("cell %s: a summary is not in the log", c->id);
    if (c->marks && c->open_claims > 0)
        return CELL_STEP_WAIT;
    int r = claim_farewell(c);
    return r < 0 ? r : CELL_STEP_WAIT;
}

static void on_head(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)fds;
    (void)nfds;
    struct cell *c = data;
    if (error) {
        cell_step_failed(c, CELL_HEAD, "no checkpoint from signerd: %.*s", (int)error->text.len,
                         error->text.p);
        return;
    }
    const struct signer_head_rep *r = rec;
    snprintf(c->checkpoint, sizeof(c->checkpoint), "%.*s", (int)r->checkpoint.len, r->checkpoint.p);
    cell_step_done(c, CELL_HEAD);
}

int cell_enter_head(struct cell *c)
{
    if (!c->m->signer)
        return -EPIPE;
    if (c->marks && c->declared && !c->farewell && claim_farewell(c) < 0) /* the step before took too long */
        log_error("cell %s: its end is not in the log", c->id);
    struct empty none = {};
    int r = endpoint_call(signer_client_endpoint(c->m->signer), MSG_SIGNER_HEAD_REQ, &none, NULL, 0,
                          LIMIT_ACK_MS, on_head, c);
    return r < 0 ? r : CELL_STEP_WAIT;
}

/* All violations in as many notes as it takes: one frame holds a few dozen long ones. */
static void send_violations(struct cell *c)
{
    for (size_t i = 0; i < c->violations.n; i++) {
        const struct violation *v = &c->violations.v[i];
        struct ev_violation one = {str_of(v->path), str_of(v->rule), str_of(v->message)};
        struct control_rejected note = {.violations = {&one, 1}};
        if (endpoint_send(c->m->control, MSG_CONTROL_REJECTED, &note, NULL, 0) < 0)
            return;
    }
}

void cell_answer(struct cell *c)
{
    if (!c->m->control)
        return;
    if (c->result == RUN_REJECTED)
        send_violations(c);
    if (c->failed && c->result != RUN_REJECTED)
        c->result = RUN_SUITE_FAILED; /* an outcome without its evidence is no outcome */
    struct control_run_rep rep = {.result = c->result ? c->result : RUN_SUITE_FAILED,
                                  .text = str_of(c->text),
                                  .l7_denied = c->l7_denied,
                                  .dns_denied = c->dns_denied};
    if (c->result == RUN_EXITED)
        rep.exit_code = OPT_UINT(c->exit_code);
    if (c->result == RUN_SIGNALED)
        rep.signal = OPT_UINT(c->signal);
    if (c->checkpoint[0])
        rep.checkpoint = str_of(c->checkpoint);
    int r = endpoint_reply(c->m->control, MSG_CONTROL_RUN_REQ, c->seq, &rep, NULL, 0);
    if (r < 0)
        log_failed(LOG_WARNING, r, "cell %s: the operator did not get the outcome", c->id);
}
