/* SPDX-License-Identifier: MIT */
/* cellctl work: cells for the jobs of a queue that many hosts share. The start may wait for the server; from
 * then on everything happens in one loop that never waits, because leases run. */
#include "supervisor/ctl/work.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "common/base/clock.h"
#include "supervisor/ctl/backoff.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/paths.h"
#include "supervisor/ctl/term.h"

#define SIGNALS_MAX 3 /* the third one does not even wait for the queue */

static const int stop_signals[] = {SIGTERM, SIGINT};

/* ---- what the operator sees ---- */

static void say(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
static void say(const char *fmt, va_list ap)
{
    char text[2 * LIMIT_ERROR_TEXT], safe[4 * LIMIT_ERROR_TEXT];
    vsnprintf(text, sizeof(text), fmt, ap);
    term_status_clear();
    fprintf(stderr, "cellctl work: %s\n", str_escape(safe, sizeof(safe), text, strlen(text)));
}

void work_say(const struct worker *w, const char *fmt, ...)
{
    (void)w;
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
}

void work_detail(const struct worker *w, const char *fmt, ...)
{
    va_list ap;
    if (!w->f->verbose)
        return;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
}

void work_hurry(struct worker *w)
{
    if (ev_is_active(&w->tick))
        ev_feed_event(w->loop, &w->tick, EV_TIMER);
}

static unsigned count_jobs(const struct worker *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->link.nslots; i++)
        n += w->jobs[i] != NULL;
    return n;
}

static void show_status(const struct worker *w)
{
    term_status("%s: %u of %u running, %llu done, %llu refused, %llu given back, %llu dead%s%s",
                w->f->names.stream, w->running, w->link.nslots, (unsigned long long)w->done,
                (unsigned long long)w->refused, (unsigned long long)w->again, (unsigned long long)w->dead,
                link_is_up(&w->link) ? "" : "; no connection", w->stop > 0 ? "; stopping" : "");
}

/* ---- the queue ---- */

static void on_job(void *self, unsigned slot, uint64_t asked_us, natsMsg *msg)
{
    job_new(self, slot, asked_us, msg);
}

static void on_none(void *self, unsigned slot, const char *text)
{
    struct worker *w = self;
    w->pause_until_us[slot] = 0;
    if (!text)
        return;
    w->pause_until_us[slot] = clock_boottime_us() + WORK_PAUSE_US;
    work_detail(w, "no job: %s", text);
}

static void on_reply(void *self, uint64_t id, enum link_reply r, struct str body)
{
    struct worker *w = self;
    for (unsigned i = 0; i < w->link.nslots; i++)
        if (w->jobs[i] && (w->jobs[i]->renewal_id == id || w->jobs[i]->request_id == id)) {
            job_replied(w->jobs[i], id, r, body);
            return;
        }
}

static void ask_for_jobs(struct worker *w, uint64_t now_us)
{
    unsigned wait_ms = (unsigned)(w->lease_us / 3000);
    if (wait_ms > WORK_ASK_MAX_MS)
        wait_ms = WORK_ASK_MAX_MS;
    if (w->stop > 0 || !work_suite_ready(w) || !link_is_up(&w->link))
        return;
    for (unsigned i = 0; i < w->link.nslots; i++)
        if (!w->jobs[i] && w->link.slots[i].asked_us == 0 && now_us >= w->pause_until_us[i] &&
            link_ask(&w->link, i, wait_ms) < 0)
            w->pause_until_us[i] = now_us + WORK_PAUSE_US;
}

/* ---- the loop ---- */

static void stop_step(struct worker *w, uint64_t now_us)
{
    bool grace_over = now_us - w->stop_us >= w->f->grace_s * UINT64_C(1000000);
    if (count_jobs(w) == 0) {
        ev_break(w->loop, EVBREAK_ALL);
        return;
    }
    if (w->kill_us == 0 && (w->stop > 1 || grace_over)) {
        w->kill_us = now_us;
        for (unsigned i = 0; i < w->link.nslots; i++)
            if (w->jobs[i])
                job_kill(w->jobs[i], "stopped", "the host stops: its job goes to another one");
    }
    if (w->stop >= SIGNALS_MAX || (w->kill_us > 0 && now_us - w->kill_us >= 2 * (uint64_t)WORK_KILL_US))
        ev_break(w->loop, EVBREAK_ALL);
}

static void step(struct worker *w)
{
    uint64_t now_us = clock_boottime_us();
    work_suite_tick(w, now_us);
    link_tick(&w->link, now_us);
    for (unsigned i = 0; i < w->link.nslots; i++)
        if (w->jobs[i])
            job_tick(w->jobs[i], now_us);
    if (w->stop > 0)
        stop_step(w, now_us);
    ask_for_jobs(w, now_us);
    bool up = link_is_up(&w->link);
    if (up != w->was_up)
        work_say(w, up ? "connected again" : "the connection to the queue is lost: trying again");
    w->was_up = up;
    show_status(w);
}

static void on_tick(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)loop;
    (void)revents;
    step(t->data);
}

static void on_signal(struct ev_loop *loop, ev_signal *s, int revents)
{
    (void)loop;
    (void)revents;
    struct worker *w = s->data;
    if (w->stop++ == 0) {
        w->stop_us = clock_boottime_us();
        link_stop_asking(&w->link);
        work_say(w, "stopping: %u running cell%s may take %llu s more", w->running,
                 w->running == 1 ? "" : "s", (unsigned long long)w->f->grace_s);
    }
    step(w);
}

static void on_connection(struct ev_loop *loop, ev_io *io, int revents)
{
    (void)loop;
    (void)revents;
    uint64_t count;
    if (read(io->fd, &count, sizeof(count)) < 0)
        return;
    step(io->data);
}

static void watch(struct worker *w)
{
    ev_timer_init(&w->tick, on_tick, 0, WORK_TICK_S);
    w->tick.data = w;
    ev_timer_start(w->loop, &w->tick);
    for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++) {
        ev_signal_init(&w->signals[i], on_signal, stop_signals[i]);
        w->signals[i].data = w;
        ev_signal_start(w->loop, &w->signals[i]);
    }
    ev_io_init(&w->connection, on_connection, jetstream_wake_fd(), EV_READ);
    w->connection.data = w;
    ev_io_start(w->loop, &w->connection);
}

static void unwatch(struct worker *w)
{
    ev_timer_stop(w->loop, &w->tick);
    for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++)
        ev_signal_stop(w->loop, &w->signals[i]);
    ev_io_stop(w->loop, &w->connection);
}

/* ---- start and end ---- */

/* Until a server is there: one that refuses us is an error, one that is away is waited for. */
static int connect_queue(struct worker *w)
{
    char why[JETSTREAM_WHY_MAX];
    for (unsigned failures = 0;; failures++) {
        int r = jetstream_connect(&w->f->nats, &w->js, why);
        if (r == 0)
            return CTL_OK;
        if (r != -EHOSTUNREACH)
            return ctl_fail(CTL_FAILED, "work", "%s", why);
        unsigned wait_ms = backoff_ms(failures);
        work_say(w, "%s; the next try in %u.%u s", why, wait_ms / 1000, wait_ms % 1000 / 100);
        struct timespec pause = {wait_ms / 1000, (long)(wait_ms % 1000) * 1000000};
        (void)nanosleep(&pause, NULL);
    }
}

static int prepare_queue(struct worker *w)
{
    static const struct link_ops ops = {on_job, on_none, on_reply};
    char why[JETSTREAM_WHY_MAX];
    const struct work_names *n = &w->f->names;
    if (w->f->create && work_streams_create(w->js, n, why) < 0)
        return ctl_fail(CTL_FAILED, "work", "%s", why);
    if (work_streams_consumer(w->js, n, w->f->lease_s, w->f->max_pending, &w->lease_us, why) < 0)
        return ctl_fail(CTL_FAILED, "work", "%s", why);
    if (link_open(w->loop, w->js, n->stream, n->consumer, (unsigned)w->f->parallel, &ops, w, &w->link, why) <
        0)
        return ctl_fail(CTL_FAILED, "work", "%s", why);
    return CTL_OK;
}

static int prepare_dirs(struct worker *w)
{
    char state[PATH_MAX];
    int r = paths_state(state);
    if (r == 0)
        r = paths_make(state, OUTPUT_DIR, w->work_dir);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "work",
                        "no place for the output of cells (set HOME or XDG_STATE_HOME): %s", strerror(-r));
    if (gethostname(w->host, sizeof(w->host) - 1) < 0)
        snprintf(w->host, sizeof(w->host), "?");
    return CTL_OK;
}

static int serve(struct worker *w)
{
    char error[RUN_FLAGS_ERROR_MAX + 64];
    if (work_suite_start(w, error, sizeof(error)) < 0)
        return ctl_fail(CTL_FAILED, "work", "%s", error);
    work_say(w, "%s: %u cells at a time, lease %llu s", w->f->names.stream, w->link.nslots,
             (unsigned long long)(w->lease_us / 1000000));
    w->was_up = true;
    watch(w);
    ev_run(w->loop, 0);
    unwatch(w);
    term_status_clear();
    work_suite_end(w);
    for (unsigned i = 0; i < w->link.nslots; i++)
        if (w->jobs[i])
            job_free(w->jobs[i]);
    work_say(w, "%llu done, %llu refused, %llu given back, %llu dead, %llu lost", (unsigned long long)w->done,
             (unsigned long long)w->refused, (unsigned long long)w->again, (unsigned long long)w->dead,
             (unsigned long long)w->lost);
    return CTL_OK;
}

static int work_with(const struct work_flags *f, const struct run_operator *op)
{
    static struct worker w; /* libnats's threads know its link until the end */
    w.f = f;
    w.op = op;
    w.loop = ev_default_loop(EVFLAG_NOENV);
    int r = w.loop ? prepare_dirs(&w) : CTL_FAILED;
    if (r == CTL_OK)
        r = connect_queue(&w);
    if (r == CTL_OK)
        r = prepare_queue(&w);
    if (r == CTL_OK) {
        r = serve(&w);
        link_close(&w.link);
    }
    w.js = jetstream_free(w.js);
    w.f = NULL;
    w.op = NULL;
    return r;
}

static int work_run(int argc, char **argv)
{
    _cleanup_(work_flags_done) struct work_flags f = {0};
    _cleanup_(run_operator_done) struct run_operator op = {0};
    int r = work_flags_parse(argc, argv, &f);
    if (r != CTL_OK)
        return r;
    if (run_operator_load(&f.operator, & op) < 0)
        return CTL_FAILED;
    return work_with(&f, &op);
}

const struct ctl_verb ctl_verb_work = {"work", "run the cells of a queue", work_flags_help, work_run};
