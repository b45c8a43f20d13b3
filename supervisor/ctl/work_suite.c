/* SPDX-License-Identifier: MIT */
/* The suite of a worker: one for all its cells, with one log; a new one, with a new log, after a death. */
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>

#include "common/base/clock.h"
#include "supervisor/ctl/backoff.h"
#include "supervisor/ctl/work.h"

static void on_rejected(void *self, const struct control_rejected *r)
{
    struct worker *w = self;
    for (size_t i = 0; i < r->violations.n; i++) {
        const struct ev_violation *v = &r->violations.v[i];
        char path[VIOLATION_PATH_MAX];
        str_escape(path, sizeof(path), v->path.p, v->path.len);
        w->rejected_busy = w->rejected.n == 0 && str_is(v->rule, "busy");
        violations_add(&w->rejected, path, "refused", "%.*s", (int)v->message.len, v->message.p);
    }
}

static void on_failed(void *self, const char *text)
{
    work_suite_broken(self, text);
}

void work_suite_broken(struct worker *w, const char *text)
{
    if (w->suite_failed)
        return;
    w->suite_failed = true;
    snprintf(w->suite_text, sizeof(w->suite_text), "%s", text);
}

bool work_suite_ready(const struct worker *w)
{
    return w->suite_up && !w->suite_failed && !suite_is_failing(&w->suite);
}

int work_suite_start(struct worker *w, char *error, size_t cap)
{
    static const struct suite_ops ops = {NULL, on_rejected, on_failed};
    const struct operator_config *c = w->op->config;
    char run_id[UUID_TEXT_LEN + 1], why[128];
    uuid_v7(run_id);
    struct launcher_options lo = {.run_id = run_id,
                                  .evidence = enum_text(&enum_evidence, c->network.evidence),
                                  .verbose = w->f->verbose,
                                  .config_json = w->op->json,
                                  .ca_file = c->ca_file.p,
                                  .log = &c->log};
    if (c->network.mode == NET_MODE_ROUTED)
        lo.routed_pool = c->routed_pool.p;
    int r = launcher_start(&lo, &w->launcher, error, cap);
    if (r < 0)
        return r;
    r = suite_open(w->loop, &w->launcher, &ops, w, &w->suite);
    if (r < 0) {
        snprintf(error, cap, "the line to the supervisor: %s", strerror(-r));
        (void)launcher_end(&w->launcher, why, sizeof(why));
        return r;
    }
    w->suite_up = true;
    w->suite_failed = false;
    w->suite_since_us = clock_boottime_us();
    work_detail(w, "the suite is up, its log is %s", w->launcher.log_path);
    return 0;
}

/* A broken suite is not waited for: the leases of other jobs go on. Its cells end with it. */
static void kill_daemons(const struct launcher *l)
{
    for (size_t i = 0; i < _LAUNCHER_MAX; i++)
        if (l->pidfds[i] >= 0)
            (void)pidfd_send_signal(l->pidfds[i], SIGKILL, NULL, 0);
}

void work_suite_end(struct worker *w)
{
    char why[128] = "";
    if (!w->suite_up)
        return;
    suite_close(&w->suite);
    if (w->suite_failed)
        kill_daemons(&w->launcher);
    bool well = launcher_end(&w->launcher, why, sizeof(why));
    if (!well && !w->suite_failed)
        work_say(w, "%s: run with -v to see why; the log is in %s", why, w->launcher.log_path);
    w->suite_up = false;
}

static void bury(struct worker *w, uint64_t now_us)
{
    if (now_us - w->suite_since_us >= WORK_STABLE_US)
        w->suite_failures = 0;
    unsigned wait_ms = backoff_ms(w->suite_failures++);
    work_suite_end(w);
    w->suite_failed = false;
    w->suite_next_us = now_us + wait_ms * UINT64_C(1000);
    work_say(w, "the suite failed: %s; a new one in %u.%u s", w->suite_text, wait_ms / 1000,
             wait_ms % 1000 / 100);
    for (unsigned i = 0; i < w->link.nslots; i++)
        if (w->jobs[i])
            job_suite_died(w->jobs[i], w->suite_text);
}

void work_suite_tick(struct worker *w, uint64_t now_us)
{
    char error[RUN_FLAGS_ERROR_MAX + 64] = "";
    if (w->suite_up && w->suite_failed)
        bury(w, now_us);
    if (w->suite_up || w->stop > 0 || now_us < w->suite_next_us)
        return;
    if (work_suite_start(w, error, sizeof(error)) == 0)
        return;
    unsigned wait_ms = backoff_ms(w->suite_failures++);
    w->suite_next_us = now_us + wait_ms * UINT64_C(1000);
    work_say(w, "no suite: %s; the next try in %u.%u s", error, wait_ms / 1000, wait_ms % 1000 / 100);
}
