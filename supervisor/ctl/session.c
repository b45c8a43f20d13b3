/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/session.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "supervisor/ctl/term.h"

#define KILL_WINDOW_US         2000000u     /* a second SIGINT within this kills (decisions 33) */
#define SESSION_VIOLATIONS_MAX (512u << 10) /* LIMIT_VIOLATIONS of them at their longest, escaped */

static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

struct session {
    struct ev_loop *loop;
    struct suite suite;
    const char *run_id;
    const struct session_request *req;
    struct follow *follow;
    struct session_end *end;
    ev_signal signals[ARRAY_LEN(forwarded)];
    ev_io log, events; /* something new in it; its reader takes more */
    int steps;         /* stderr, where -v shows them; does not wait either */
    uint64_t last_int_us;
    bool done;
};

/* Nothing is written here: while a write waits for its reader no signal is seen. */
static void finish(struct session *s)
{
    s->done = true;
    ev_break(s->loop, EVBREAK_ALL);
}

static void on_failed(void *self, const char *text)
{
    struct session *s = self;
    if (s->done)
        return;
    struct suite_outcome *o = &s->end->outcome;
    snprintf(o->text, sizeof(o->text), "%s", text);
    o->result = RUN_SUITE_FAILED;
    finish(s);
}

/* ---- what the supervisor says ---- */

static void on_step(void *self, const struct control_step *step)
{
    struct session *s = self;
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&out, 1, 0) == 0)
        return; /* who does not read must not keep signals from the cell */
    char text[LIMIT_ERROR_TEXT + 16];
    str_escape(text, sizeof(text), step->text.p, step->text.len);
    if (s->req->verbose)
        dprintf(s->steps, "cellctl: %7.1f ms  %s\n", (double)step->micros / 1000.0, text);
    else if (str_is(step->text, "running") || str_is(step->text, "the workload runs"))
        term_status_clear(); /* from here on the terminal is the workload's */
    else
        term_status("cell %s: %s", s->req->name, text);
}

/* Foreign bytes in it are escaped already; what still is not printable is escaped here. A backslash is left
 * alone, so that nothing is escaped twice. */
static void put_escaped(struct buf *b, struct str s)
{
    char text[4 * LIMIT_ERROR_TEXT];
    while (s.len > 0) {
        const char *slash = memchr(s.p, '\\', s.len);
        size_t n = slash ? (size_t)(slash - s.p) : s.len;
        buf_puts(b, str_escape(text, sizeof(text), s.p, n));
        if (slash)
            buf_putc(b, '\\');
        n += slash != NULL;
        s = (struct str){s.p + n, s.len - n};
    }
}

static void on_rejected(void *self, const struct control_rejected *r)
{
    struct session *s = self;
    struct buf *b = &s->end->violations;
    for (size_t i = 0; i < r->violations.n; i++) {
        put_escaped(b, r->violations.v[i].path);
        buf_puts(b, ": ");
        put_escaped(b, r->violations.v[i].message);
        buf_putc(b, '\n');
    }
}

static void on_outcome(void *data, const struct suite_outcome *o)
{
    struct session *s = data;
    s->end->outcome = *o;
    finish(s);
}

/* ---- signals, log ---- */

static void on_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)loop;
    (void)revents;
    struct session *s = w->data;
    s->end->signal = w->signum;
    uint64_t now = clock_boottime_us();
    bool again = w->signum == SIGINT && s->last_int_us > 0 && now - s->last_int_us < KILL_WINDOW_US;
    if (w->signum == SIGINT)
        s->last_int_us = now;
    suite_signal(&s->suite, s->run_id, again ? SIGKILL : w->signum, NULL);
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

static int start(struct session *s, struct launcher *l)
{
    static const struct suite_ops ops = {on_step, on_rejected, on_failed};
    const struct suite_request req = {.run_id = s->run_id,
                                      .document = s->req->document,
                                      .name = s->req->name,
                                      .attachments = &s->req->attachments,
                                      .stdio = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}};
    int r = s->loop ? suite_open(s->loop, l, &ops, s, &s->suite) : -ENOMEM;
    return r < 0 ? r : suite_start_cell(&s->suite, &req, on_outcome, s);
}

static void watch(struct session *s)
{
    s->steps = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    (void)!io_never_wait(s->steps); /* the workload may fill it behind a look */
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
        struct sigaction given;
        ev_signal_init(&s->signals[i], on_signal, forwarded[i]);
        s->signals[i].data = s;
        /* Who started us has it ignored (nohup(1), a shell's background): then the cell has nothing of it. */
        if (sigaction(forwarded[i], NULL, &given) == 0 && given.sa_handler != SIG_IGN)
            ev_signal_start(s->loop, &s->signals[i]);
    }
    if (s->follow->inotify >= 0) {
        ev_io_init(&s->log, on_log, s->follow->inotify, EV_READ);
        s->log.data = s;
        ev_io_start(s->loop, &s->log);
        ev_io_init(&s->events, on_log, s->follow->out, EV_WRITE);
        s->events.data = s;
    }
}

/* A signal that came while the outcome was on its way is still in the loop: it is asked once more, while no
 * other one can come. Those behind it have their default action. */
static void unwatch(struct session *s)
{
    sigset_t ours, before;
    sigemptyset(&ours);
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
        sigaddset(&ours, forwarded[i]);
    sigprocmask(SIG_BLOCK, &ours, &before);
    ev_run(s->loop, EVRUN_NOWAIT);
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
        ev_signal_stop(s->loop, &s->signals[i]);
    ev_io_stop(s->loop, &s->log);
    ev_io_stop(s->loop, &s->events);
    cleanup_closep(&s->steps);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

void session_end_done(struct session_end *e)
{
    buf_done(&e->violations);
}

void session_run(struct launcher *l, const struct session_request *req, struct follow *f,
                 struct session_end *ret)
{
    *ret = (struct session_end){.signal = 0};
    buf_init(&ret->violations, SESSION_VIOLATIONS_MAX);
    struct session s = {.loop = ev_default_loop(EVFLAG_NOENV),
                        .run_id = l->run_id,
                        .req = req,
                        .follow = f,
                        .end = ret,
                        .steps = -EBADF};
    int r = start(&s, l);
    if (r < 0) {
        struct suite_outcome *o = &ret->outcome;
        snprintf(o->text, sizeof(o->text), "the run could not be requested: %s", strerror(-r));
        o->result = RUN_SUITE_FAILED;
        suite_close(&s.suite);
        return;
    }
    watch(&s);
    while (!s.done)
        ev_run(s.loop, 0);
    unwatch(&s);
    suite_close(&s.suite);
}
