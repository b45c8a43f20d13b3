/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/session.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include <openssl/sha.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "common/ipc/frame.h"
#include "proto/endpoint.h"
#include "supervisor/ctl/term.h"

#define KILL_WINDOW_US 2000000u /* a second SIGINT within this kills (decisions 33) */

static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

struct session {
    struct ev_loop *loop;
    struct endpoint *control;
    struct launcher *l;
    const struct session_request *req;
    struct follow *follow;
    struct session_outcome *out;
    ev_signal signals[ARRAY_LEN(forwarded)];
    ev_io daemons[_LAUNCHER_MAX];
    ev_io log, events; /* something new in it; its reader takes more */
    ev_timer patience; /* after a daemon's death: how long the supervisor may take to end the cell in order */
    uint64_t last_int_us;
    bool done;
};

static void finish(struct session *s)
{
    s->done = true;
    term_status_clear();
    ev_break(s->loop, EVBREAK_ALL);
}

static void suite_failed(struct session *s, const char *text)
{
    if (s->done)
        return;
    if (!s->out->text[0])
        snprintf(s->out->text, sizeof(s->out->text), "%s", text);
    s->out->result = RUN_SUITE_FAILED;
    finish(s);
}

/* ---- what the supervisor says ---- */

static int on_step(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)e;
    struct session *s = self;
    const struct control_step *step = m->rec;
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&out, 1, 0) == 0)
        return 0; /* who does not read must not keep signals from the cell */
    char text[LIMIT_ERROR_TEXT + 16];
    str_escape(text, sizeof(text), step->text.p, step->text.len);
    if (s->req->verbose)
        fprintf(stderr, "cellctl: %7.1f ms  %s\n", (double)step->micros / 1000.0, text);
    else if (str_is(step->text, "running") || str_is(step->text, "the workload runs"))
        term_status_clear(); /* from here on the terminal is the workload's */
    else
        term_status("cell %s: %s", s->req->name, text);
    return 0;
}

/* Foreign bytes in it are escaped already; what still is not printable is escaped here. A backslash is left
 * alone, so that nothing is escaped twice. */
static void print_escaped(struct str s)
{
    char text[4 * LIMIT_ERROR_TEXT];
    while (s.len > 0) {
        const char *slash = memchr(s.p, '\\', s.len);
        size_t n = slash ? (size_t)(slash - s.p) : s.len;
        fputs(str_escape(text, sizeof(text), s.p, n), stderr);
        if (slash)
            fputc('\\', stderr);
        n += slash != NULL;
        s = (struct str){s.p + n, s.len - n};
    }
}

static int on_rejected(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)self;
    (void)e;
    const struct control_rejected *r = m->rec;
    term_status_clear();
    for (size_t i = 0; i < r->violations.n; i++) {
        print_escaped(r->violations.v[i].path);
        fputs(": ", stderr);
        print_escaped(r->violations.v[i].message);
        fputc('\n', stderr);
    }
    return 0;
}

static void on_outcome(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)fds;
    (void)nfds;
    struct session *s = data;
    if (error) {
        char text[LIMIT_ERROR_TEXT + 1];
        snprintf(text, sizeof(text), "%.*s", (int)error->text.len, error->text.p);
        suite_failed(s, error->fail == FAIL_UNAVAILABLE ? "the supervisor died" : text);
        return;
    }
    const struct control_run_rep *r = rec;
    s->out->result = r->result;
    s->out->exit_code = (unsigned)r->exit_code.v;
    s->out->signal = (unsigned)r->signal.v;
    s->out->l7_denied = r->l7_denied;
    s->out->dns_denied = r->dns_denied;
    if (r->text.len > 0 || r->result != RUN_SUITE_FAILED)
        snprintf(s->out->text, sizeof(s->out->text), "%.*s", (int)r->text.len, r->text.p);
    snprintf(s->out->checkpoint, sizeof(s->out->checkpoint), "%.*s", (int)r->checkpoint.len,
             r->checkpoint.p ? r->checkpoint.p : "");
    finish(s);
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    (void)e;
    (void)err;
    suite_failed(self, "the supervisor died");
}

/* ---- signals, daemons, log ---- */

static void send_signal(struct session *s, int signal)
{
    struct control_signal m = {str_of(s->l->run_id), (uint64_t)signal};
    if (s->control && endpoint_send(s->control, MSG_CONTROL_SIGNAL, &m, NULL, 0) < 0)
        suite_failed(s, "the supervisor does not take signals any more");
}

static void on_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)loop;
    (void)revents;
    struct session *s = w->data;
    uint64_t now = clock_boottime_us();
    bool again = w->signum == SIGINT && s->last_int_us > 0 && now - s->last_int_us < KILL_WINDOW_US;
    if (w->signum == SIGINT)
        s->last_int_us = now;
    send_signal(s, again ? SIGKILL : w->signum);
}

static void on_patience(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    suite_failed(w->data, "a daemon died and the cell could not be ended in order");
}

/* The daemon whose end explains the others': they are in the order in which one's death takes the next along.
 */
static enum launcher_daemon first_dead(const struct session *s)
{
    for (unsigned i = 0; i < _LAUNCHER_MAX; i++) {
        struct pollfd p = {.fd = s->l->pidfds[i], .events = POLLIN};
        if (poll(&p, 1, 0) > 0)
            return (enum launcher_daemon)i;
    }
    return _LAUNCHER_MAX;
}

/* A daemon ended before the run did. The supervisor notices too and ends the cell; its answer is awaited, so
 * that the log gets its last events. */
static void on_daemon_end(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)revents;
    struct session *s = w->data;
    enum launcher_daemon d = first_dead(s);
    ev_io_stop(loop, w);
    if (d < _LAUNCHER_MAX)
        snprintf(s->out->text, sizeof(s->out->text), "%s died: run with -v to see why", launcher_name(d));
    if (w == &s->daemons[LAUNCHER_SUPERVISOR])
        suite_failed(s, "");
    else if (!ev_is_active(&s->patience))
        ev_timer_start(loop, &s->patience);
}

static void on_log(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)revents;
    struct session *s = w->data;
    follow_step(s->follow, false);
    if (s->follow->rest.len > 0 && !s->follow->failed)
        ev_io_start(loop, &s->events);
    else
        ev_io_stop(loop, &s->events);
}

/* ---- start ---- */

static int send_request(struct session *s)
{
    uint8_t sha256[32];
    struct str doc = s->req->document;
    _cleanup_close_ int memfd = io_memfd_sealed("spec", doc.p, doc.len);
    if (memfd < 0)
        return memfd;
    SHA256((const uint8_t *)doc.p, doc.len, sha256);
    uint8_t attachments_sha256[32];
    _cleanup_close_ int attachments =
        codec_to_memfd(&schema_attachments, &s->req->attachments, LIMIT_ATTACHMENTS_DOC, attachments_sha256);
    if (attachments < 0)
        return attachments;
    const int fds[] = {memfd, attachments, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    struct control_run_req req = {str_of(s->l->run_id),
                                  str_of(s->req->name),
                                  {(const char *)sha256, 32},
                                  {(const char *)attachments_sha256, 32}};
    struct rlimit limit; /* for good: the daemons, which are running already, do not get it */
    frame_limit_raise(&limit);
    return endpoint_call(s->control, MSG_CONTROL_RUN_REQ, &req, fds, ARRAY_LEN(fds), 0, on_outcome, s);
}

static void watch(struct session *s)
{
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
        ev_signal_init(&s->signals[i], on_signal, forwarded[i]);
        s->signals[i].data = s;
        ev_signal_start(s->loop, &s->signals[i]);
    }
    for (size_t i = 0; i < _LAUNCHER_MAX; i++) {
        ev_io_init(&s->daemons[i], on_daemon_end, s->l->pidfds[i], EV_READ);
        s->daemons[i].data = s;
        ev_io_start(s->loop, &s->daemons[i]);
    }
    if (s->follow->inotify >= 0) {
        ev_io_init(&s->log, on_log, s->follow->inotify, EV_READ);
        s->log.data = s;
        ev_io_start(s->loop, &s->log);
        ev_io_init(&s->events, on_log, s->follow->out, EV_WRITE);
        s->events.data = s;
    }
    ev_timer_init(&s->patience, on_patience, LAUNCHER_END_MS / 1000.0, 0);
    s->patience.data = s;
}

static void unwatch(struct session *s)
{
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
        ev_signal_stop(s->loop, &s->signals[i]);
    for (size_t i = 0; i < _LAUNCHER_MAX; i++)
        ev_io_stop(s->loop, &s->daemons[i]);
    ev_io_stop(s->loop, &s->log);
    ev_io_stop(s->loop, &s->events);
    ev_timer_stop(s->loop, &s->patience);
}

void session_run(struct launcher *l, const struct session_request *req, struct follow *f,
                 struct session_outcome *ret)
{
    static const struct endpoint_handler handlers[] = {
        {MSG_CONTROL_STEP, on_step},
        {MSG_CONTROL_REJECTED, on_rejected},
    };
    static const struct endpoint_ops ops = {handlers, ARRAY_LEN(handlers), NULL, on_gone};
    memset(ret, 0, sizeof(*ret));
    struct session s = {.loop = ev_default_loop(EVFLAG_NOENV), .l = l, .req = req, .follow = f, .out = ret};
    struct endpoint_config cfg = {&iface_control, FROM_CLIENT, ROLE_CELLCTL, ROLE_SUPERVISOR, &ops, &s};
    int r = s.loop ? endpoint_new(s.loop, TAKE_FD(l->control), &cfg, &s.control) : -ENOMEM;
    if (r >= 0)
        r = send_request(&s);
    if (r < 0) {
        snprintf(ret->text, sizeof(ret->text), "the run could not be requested: %s", strerror(-r));
        ret->result = RUN_SUITE_FAILED;
        endpoint_free(s.control);
        return;
    }
    watch(&s);
    while (!s.done)
        ev_run(s.loop, 0);
    unwatch(&s);
    endpoint_free(s.control); /* end of file: the supervisor ends */
}
