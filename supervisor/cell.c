/* SPDX-License-Identifier: MIT */
#include "supervisor/cell.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "supervisor/spec/parse.h"
#include "supervisor/spec/policy_edit.h"

struct cell_step {
    const char *text; /* for -v; NULL = not worth a line */
    int (*enter)(struct cell *c);
    unsigned timeout_ms; /* of the whole step; 0 = its own deadlines bound it */
    bool ending;
    bool bounded; /* a sibling is working for us: an abort waits for its answer, so that nothing is left
                     behind */
};

static const struct cell_step steps[_CELL_STATE_MAX] = {
    [CELL_DECLARE] = {"declared authority sent to the log", cell_enter_declare, 0, false, false},
    [CELL_SPAWN] = {"making namespaces", cell_enter_spawn, LIMIT_LAUNCH_MS, false, true},
    [CELL_DECLARED] = {NULL, cell_enter_declared, LIMIT_ACK_MS, false, false},
    [CELL_SECRETS] = {NULL, cell_enter_secrets, 0, false, false},
    [CELL_ATTACH] = {"network rules and sockets", cell_enter_attach, LIMIT_ATTACH_MS, false, true},
    [CELL_PROXY] = {"proxies", cell_enter_proxy, LIMIT_ATTACH_MS, false, true},
    [CELL_SETUP] = {"the cell's files", cell_enter_setup, LIMIT_LAUNCH_MS, false, false},
    [CELL_STARTED] = {"started: waiting until the log is durable", cell_enter_started, LIMIT_ACK_MS, false,
                      false},
    [CELL_RUN] = {"running", cell_enter_run, 0, false, false},
    [CELL_KILL] = {"ending every process of the cell", cell_enter_kill, LIMIT_DETACH_MS, true, false},
    [CELL_COMPLETED] = {NULL, cell_enter_completed, 0, true, false},
    [CELL_UNPROXY] = {"closing the proxies", cell_enter_unproxy, LIMIT_DETACH_MS, true, false},
    [CELL_DETACH] = {"reading the network counters", cell_enter_detach, LIMIT_DETACH_MS, true, false},
    [CELL_DESTROYED] = {"destroyed: waiting until the log is durable", cell_enter_destroyed, LIMIT_ACK_MS,
                        true, false},
    [CELL_HEAD] = {NULL, cell_enter_head, LIMIT_ACK_MS, true, false},
    [CELL_REJECT] = {"rejected: waiting until the log is durable", cell_enter_reject, LIMIT_ACK_MS, true,
                     false},
};

static void enter_state(struct cell *c, enum cell_state s);

/* Moving on always happens from the loop: a callback may still be using the cell when its step is through. */
static void move_to(struct cell *c, enum cell_state s)
{
    ev_timer_stop(c->m->loop, &c->timer);
    c->state = s;
    c->entered = false;
    ev_timer_stop(c->m->loop, &c->kick);
    ev_timer_set(&c->kick, 0, 0);
    ev_timer_start(c->m->loop, &c->kick);
}

static enum cell_state after(const struct cell *c)
{
    if (c->state == CELL_REJECT)
        return CELL_HEAD;
    if (c->state == CELL_HEAD)
        return CELL_DONE;
    if (c->failed && !steps[c->state].ending)
        return c->declared ? CELL_KILL : CELL_HEAD;
    return c->state + 1;
}

void cell_step_done(struct cell *c, enum cell_state s)
{
    if (c->state == s && c->entered)
        move_to(c, after(c));
}

__attribute__((format(printf, 2, 0))) static void note_failure(struct cell *c, const char *fmt, va_list ap)
{
    if (c->failed && c->text[0])
        return; /* the first reason is the reason */
    vsnprintf(c->text, sizeof(c->text), fmt, ap);
    c->failed = true;
    if (c->result == 0)
        c->result = RUN_SUITE_FAILED;
    log_error("cell %s: %s", c->id, c->text);
}

void cell_step_failed(struct cell *c, enum cell_state s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    note_failure(c, fmt, ap);
    va_end(ap);
    cell_step_done(c, s);
}

void cell_abort(struct cell *c, const char *fmt, ...)
{
    if (c->state == CELL_DONE)
        return;
    va_list ap;
    va_start(ap, fmt);
    note_failure(c, fmt, ap);
    va_end(ap);
    c->forced = true;
    if (steps[c->state].ending || steps[c->state].bounded)
        return; /* is on its way, or will be when the sibling has answered */
    move_to(c, c->declared ? CELL_KILL : CELL_HEAD);
}

void cell_signal(struct cell *c, unsigned signal, struct str reason)
{
    if (signal == SIGKILL) {
        if (c->state < CELL_KILL && c->result == 0) {
            c->result = RUN_SIGNALED;
            c->signal = SIGKILL;
            c->forced = true;
            if (reason.len == 0)
                reason = STR_LIT("killed by the operator");
            str_escape(c->text, sizeof(c->text), reason.p, reason.len);
            if (!steps[c->state].bounded)
                move_to(c, CELL_KILL);
            else
                c->failed = true;
        }
        return;
    }
    struct init_signal s = {signal};
    if (c->state < CELL_RUN || (c->state == CELL_RUN && !c->entered)) /* the caller wants an end */
        cell_abort(c, "interrupted before the start");
    else if (c->state == CELL_RUN && c->init && endpoint_send(c->init, MSG_INIT_SIGNAL, &s, NULL, 0) < 0)
        log_warning("cell %s: signal %u could not be forwarded", c->id, signal);
}

void cell_say(struct cell *c, const char *fmt, ...)
{
    char text[LIMIT_ERROR_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct control_step s = {str_of(text), clock_boottime_us() - c->begun_us};
    if (c->m->control && endpoint_send(c->m->control, MSG_CONTROL_STEP, &s, NULL, 0) < 0)
        log_debug("step not shown: the operator's queue is full");
}

/* ---- the machine ---- */

static void on_step_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct cell *c = w->data;
    cell_step_failed(c, c->state, "%s took longer than %u s",
                     steps[c->state].text ? steps[c->state].text : "a step",
                     steps[c->state].timeout_ms / 1000);
}

static void finish(struct cell *c)
{
    cell_answer(c);
    manager_remove_cell(c->m, c);
}

static void enter_state(struct cell *c, enum cell_state s)
{
    const struct cell_step *step = &steps[s];
    c->entered = true;
    if (s == CELL_DONE) {
        finish(c);
        return;
    }
    if (step->text)
        cell_say(c, "%s", step->text);
    if (step->timeout_ms > 0) {
        ev_now_update(c->m->loop);
        ev_timer_set(&c->timer, step->timeout_ms / 1000.0, 0);
        ev_timer_start(c->m->loop, &c->timer);
    }
    int r = step->enter(c);
    if (r == CELL_STEP_NEXT)
        cell_step_done(c, s);
    else if (r < 0)
        cell_step_failed(c, s, "%s: %s", step->text ? step->text : "a step of the cell failed", strerror(-r));
}

/* Cell init should have ended the workload by now: it is stopped or broken. */
static void on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct cell *c = w->data;
    if (c->state != CELL_RUN)
        return;
    c->result = RUN_TIMED_OUT;
    c->forced = true;
    c->ended_us = clock_boottime_us();
    move_to(c, CELL_KILL);
}

static void on_kick(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct cell *c = w->data;
    enter_state(c, c->state);
}

/* ---- life ---- */

static struct cell *cell_alloc(struct manager *m)
{
    struct cell *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->m = m;
    c->id_lock = c->pidfd = c->netns = c->userns = c->who = -EBADF;
    for (size_t i = 0; i < 3; i++)
        c->stdio[i] = -EBADF;
    for (size_t i = 0; i < ARRAY_LEN(c->sockets); i++)
        c->sockets[i] = -EBADF;
    c->begun_us = clock_boottime_us();
    arena_init(&c->arena, LIMIT_ARENA);
    ev_init(&c->timer, on_step_timeout);
    ev_init(&c->kick, on_kick);
    ev_init(&c->deadline, on_deadline);
    c->timer.data = c->kick.data = c->deadline.data = c;
    return c;
}

int cell_new(struct manager *m, uint64_t seq, const struct control_run_req *req, struct str document,
             const struct attachments *files, int stdio[3])
{
    struct cell *c = cell_alloc(m);
    if (!c)
        return -ENOMEM;
    c->seq = seq;
    snprintf(c->run_id, sizeof(c->run_id), "%.*s", (int)req->run_id.len, req->run_id.p);
    snprintf(c->id, sizeof(c->id), "%.*s", (int)req->name.len, req->name.p);
    cell_digest_text((const uint8_t *)req->spec_sha256.p, c->spec_digest);
    for (size_t i = 0; i < 3; i++)
        c->stdio[i] = TAKE_FD(stdio[i]);
    int r = cell_check(c, document, files);
    if (r < 0) {
        cell_free(c);
        return r;
    }
    manager_add_cell(m, c);
    move_to(c, r == SPEC_OK ? CELL_DECLARE : CELL_REJECT);
    return 0;
}

void cell_free(struct cell *c)
{
    ev_timer_stop(c->m->loop, &c->timer);
    ev_timer_stop(c->m->loop, &c->kick);
    ev_timer_stop(c->m->loop, &c->deadline);
    ev_io_stop(c->m->loop, &c->pid_watch);
    cell_forget_claims(c);
    c->marks = secret_marks_free(c->marks);
    c->change = policy_change_drop(c->change);
    c->live = policy_live_free(c->live);
    cell_unlock_id(c);
    endpoint_free(c->init);
    const int fds[] = {c->pidfd, c->netns, c->userns, c->who, c->stdio[0], c->stdio[1], c->stdio[2]};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        cleanup_closep(&fds[i]);
    for (size_t i = 0; i < ARRAY_LEN(c->sockets); i++)
        cleanup_closep(&c->sockets[i]);
    cgroup_cell_free(c->cgroup);
    spec_free(c->spec);
    violations_done(&c->violations);
    arena_done(&c->arena);
    free(c);
}
