/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/suite.h"

#include <poll.h>
#include <stdio.h>

#include <openssl/sha.h>

#include "common/base/io.h"
#include "common/ipc/frame.h"

struct suite_run {
    struct suite *s;
    struct suite_run *next;
    suite_outcome_fn *done;
    void *data;
};

static void unlink_run(struct suite_run *run)
{
    for (struct suite_run **at = &run->s->runs; *at; at = &(*at)->next)
        if (*at == run) {
            *at = run->next;
            return;
        }
}

static void suite_failed(struct suite *s, const char *text)
{
    if (s->over)
        return;
    s->over = true;
    s->ops->failed(s->self, s->text[0] ? s->text : text);
}

/* ---- what the supervisor says ---- */

static int on_step(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)e;
    struct suite *s = self;
    if (s->ops->step)
        s->ops->step(s->self, m->rec);
    return 0;
}

static int on_rejected(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)e;
    struct suite *s = self;
    if (s->ops->rejected)
        s->ops->rejected(s->self, m->rec);
    return 0;
}

static void fill_outcome(const struct suite *s, const struct control_run_rep *r, struct suite_outcome *o)
{
    *o = (struct suite_outcome){.result = r->result,
                                .exit_code = (unsigned)r->exit_code.v,
                                .signal = (unsigned)r->signal.v,
                                .l7_denied = r->l7_denied,
                                .dns_denied = r->dns_denied};
    if (r->text.len > 0 || r->result != RUN_SUITE_FAILED)
        snprintf(o->text, sizeof(o->text), "%.*s", (int)r->text.len, r->text.p ? r->text.p : "");
    else
        snprintf(o->text, sizeof(o->text), "%s", s->text);
    snprintf(o->checkpoint, sizeof(o->checkpoint), "%.*s", (int)r->checkpoint.len,
             r->checkpoint.p ? r->checkpoint.p : "");
}

static void on_outcome(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)fds;
    (void)nfds;
    struct suite_run run = *(struct suite_run *)data;
    struct suite_outcome o = {.result = RUN_SUITE_FAILED};
    unlink_run(data);
    free(data);
    if (run.s->over)
        return;
    if (error && error->fail == FAIL_UNAVAILABLE) {
        suite_failed(run.s, "the supervisor died");
        return;
    }
    if (error) {
        o.fail = error->fail;
        snprintf(o.text, sizeof(o.text), "%.*s", (int)error->text.len, error->text.p);
    } else {
        fill_outcome(run.s, rec, &o);
    }
    run.done(run.data, &o);
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    (void)e;
    (void)err;
    suite_failed(self, "the supervisor died");
}

/* ---- the daemons ---- */

static void on_patience(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    suite_failed(w->data, "a daemon died and the cell could not be ended in order");
}

/* The daemon whose end explains the others': they are in the order in which one's death takes the next along.
 */
static enum launcher_daemon first_dead(const struct suite *s)
{
    for (unsigned i = 0; i < _LAUNCHER_MAX; i++) {
        struct pollfd p = {.fd = s->l->pidfds[i], .events = POLLIN};
        if (poll(&p, 1, 0) > 0)
            return (enum launcher_daemon)i;
    }
    return _LAUNCHER_MAX;
}

/* A daemon ended before its time. The supervisor notices too and ends its cells; its answers are awaited, so
 * that the log gets its last events. */
static void on_daemon_end(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)revents;
    struct suite *s = w->data;
    enum launcher_daemon d = first_dead(s);
    ev_io_stop(loop, w);
    if (d < _LAUNCHER_MAX && !s->text[0]) /* the others follow it */
        snprintf(s->text, sizeof(s->text), "%s died: run with -v to see why", launcher_name(d));
    if (w == &s->daemons[LAUNCHER_SUPERVISOR])
        suite_failed(s, "");
    else if (!ev_is_active(&s->patience))
        ev_timer_start(loop, &s->patience);
}

bool suite_is_failing(const struct suite *s)
{
    return s->over || ev_is_active(&s->patience);
}

/* ---- start and end ---- */

static void watch(struct suite *s)
{
    for (size_t i = 0; i < _LAUNCHER_MAX; i++) {
        ev_io_init(&s->daemons[i], on_daemon_end, s->l->pidfds[i], EV_READ);
        s->daemons[i].data = s;
        ev_io_start(s->loop, &s->daemons[i]);
    }
    ev_timer_init(&s->patience, on_patience, LAUNCHER_END_MS / 1000.0, 0);
    s->patience.data = s;
}

int suite_open(struct ev_loop *loop, struct launcher *l, const struct suite_ops *ops, void *self,
               struct suite *ret)
{
    static const struct endpoint_handler handlers[] = {
        {MSG_CONTROL_STEP, on_step},
        {MSG_CONTROL_REJECTED, on_rejected},
    };
    static const struct endpoint_ops line_ops = {handlers, ARRAY_LEN(handlers), NULL, on_gone};
    struct endpoint_config cfg = {&iface_control, FROM_CLIENT, ROLE_CELLCTL, ROLE_SUPERVISOR, &line_ops, ret};
    *ret = (struct suite){.loop = loop, .l = l, .ops = ops, .self = self};
    int r = endpoint_new(loop, TAKE_FD(l->control), &cfg, &ret->control);
    if (r < 0)
        return r;
    struct rlimit limit; /* for good: the daemons, which are running already, do not get it */
    frame_limit_raise(&limit);
    watch(ret);
    return 0;
}

static int send_request(struct suite *s, const struct suite_request *req, struct suite_run *run)
{
    uint8_t sha256[32], attachments_sha256[32];
    struct str doc = req->document;
    _cleanup_close_ int memfd = io_memfd_sealed("spec", doc.p, doc.len);
    if (memfd < 0)
        return memfd;
    SHA256((const uint8_t *)doc.p, doc.len, sha256);
    _cleanup_close_ int attachments =
        codec_to_memfd(&schema_attachments, req->attachments, LIMIT_ATTACHMENTS_DOC, attachments_sha256);
    if (attachments < 0)
        return attachments;
    const int fds[] = {memfd, attachments, req->stdio[0], req->stdio[1], req->stdio[2]};
    struct control_run_req msg = {str_of(req->run_id),
                                  str_of(req->name),
                                  {(const char *)sha256, 32},
                                  {(const char *)attachments_sha256, 32}};
    return endpoint_call(s->control, MSG_CONTROL_RUN_REQ, &msg, fds, ARRAY_LEN(fds), 0, on_outcome, run);
}

int suite_start_cell(struct suite *s, const struct suite_request *req, suite_outcome_fn *done, void *data)
{
    if (s->over || !s->control)
        return -EPIPE;
    struct suite_run *run = malloc(sizeof(*run));
    if (!run)
        return -ENOMEM;
    *run = (struct suite_run){s, s->runs, done, data};
    int r = send_request(s, req, run);
    if (r < 0) {
        free(run);
        return r;
    }
    s->runs = run;
    return 0;
}

void suite_signal(struct suite *s, const char *run_id, int signal, const char *reason)
{
    struct control_signal m = {str_of(run_id), (uint64_t)signal, str_of(reason)};
    if (s->control && endpoint_send(s->control, MSG_CONTROL_SIGNAL, &m, NULL, 0) < 0)
        suite_failed(s, "the supervisor does not take signals any more");
}

void suite_close(struct suite *s)
{
    if (!s || !s->l)
        return;
    s->over = true;
    for (size_t i = 0; i < _LAUNCHER_MAX; i++)
        ev_io_stop(s->loop, &s->daemons[i]);
    ev_timer_stop(s->loop, &s->patience);
    s->control = endpoint_free(s->control); /* end of file: the supervisor ends */
    while (s->runs) {
        struct suite_run *run = s->runs;
        s->runs = run->next;
        free(run);
    }
    s->l = NULL;
}
