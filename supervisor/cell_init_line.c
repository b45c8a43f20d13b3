/* SPDX-License-Identifier: MIT */
/* What PID 1 of a cell tells the supervisor. It is a sibling, but one that shares a pid namespace with the
 * workload: its words decide about its own cell only. */
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "supervisor/cell.h"

static int on_ready(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct cell *c = self;
    const struct init_ready *r = m->rec;
    int err = cell_set_isolation(c, r);
    if (err < 0)
        return err;
    endpoint_set_state(e, LINE_BARRIER);
    c->init_ready = true;
    cell_step_done(c, CELL_SETUP);
    return 0;
}

static int on_failed(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)e;
    struct cell *c = self;
    const struct init_failed *f = m->rec;
    snprintf(c->text, sizeof(c->text), "%.*s", (int)f->text.len, f->text.p);
    if (c->state == CELL_RUN && str_is(f->stage, "exec")) { /* the workload's fault, not the suite's */
        c->result = f->error == ENOENT || f->error == ENOTDIR ? RUN_NOT_FOUND : RUN_NOT_EXECUTABLE;
        c->ended_us = clock_boottime_us();
        cell_step_done(c, CELL_RUN);
    } else {
        c->text[0] = '\0';
        cell_abort(c, "%.*s", (int)f->text.len, f->text.p);
    }
    return 0;
}

static int on_started(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)e;
    (void)m;
    struct cell *c = self;
    c->ran = true;
    cell_say(c, "the workload runs");
    return 0;
}

static int on_denied(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)e;
    struct cell *c = self;
    if (c->open_claims >= LIMIT_CLAIM_CREDITS)
        return -EDQUOT; /* cell init limits the rate: one that does not is broken */
    return cell_claim(c, EVENT_SYSCALL_DENIED, m->rec) == -EPIPE ? -EPIPE : 0;
}

static int on_exited(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct cell *c = self;
    const struct init_exited *x = m->rec;
    endpoint_set_state(e, LINE_ENDED);
    c->ended_us = clock_boottime_us();
    if (c->result == 0) {
        c->result = x->timed_out ? RUN_TIMED_OUT : x->signal.set ? RUN_SIGNALED : RUN_EXITED;
        c->exit_code = (unsigned)x->exit_code.v;
        c->signal = (unsigned)x->signal.v;
    }
    cell_step_done(c, CELL_RUN);
    return 0;
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    struct cell *c = self;
    (void)e;
    c->init = endpoint_free(c->init);
    if (c->state < CELL_KILL && c->result == 0)
        cell_abort(c, err < 0 ? "cell init broke its protocol" : "cell init ended before it said why");
}

int cell_open_init_line(struct cell *c, int sock)
{
    static const struct endpoint_handler handlers[] = {
        {MSG_INIT_READY, on_ready},   {MSG_INIT_FAILED, on_failed}, {MSG_INIT_STARTED, on_started},
        {MSG_INIT_DENIED, on_denied}, {MSG_INIT_EXITED, on_exited},
    };
    static const struct endpoint_ops ops = {handlers, ARRAY_LEN(handlers), NULL, on_gone};
    struct endpoint_config cfg = {&iface_init, FROM_CLIENT, ROLE_SUPERVISOR, ROLE_INIT, &ops, c};
    return endpoint_new(c->m->loop, sock, &cfg, &c->init);
}
