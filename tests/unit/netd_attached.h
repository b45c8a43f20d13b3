/* SPDX-License-Identifier: MIT */
/* For netd's tests: a cell whose network netd's child has built, and its counters. */
#pragma once

#include "netd/worker.h"
#include "tests/unit/netd_cell.h"

static struct ev_loop *loop; /* not the default one: it would reap our children */
static uint64_t own_cookie;
static uint32_t seq;

struct attached {
    struct netd_cell cell;
    const struct ruleset *rs;
    struct worker_result r; /* the fds are ours */
    bool done;
};

static inline void on_done(void *self, struct worker_result *r)
{
    struct attached *a = self;
    a->r = *r;
    for (size_t i = 0; i < _SOCKETS_MAX; i++)
        r->sockets[i] = -EBADF;
    r->counter_sock = r->flow_sock = -EBADF;
    a->done = true;
    ev_break(loop, EVBREAK_ALL);
}

static inline void run_task(struct attached *a, const struct worker_task *t)
{
    struct worker *w = NULL;
    a->done = false;
    assert_int_equal(worker_start(loop, t, own_cookie, on_done, a, &w), 0);
    ev_run(loop, 0);
    assert_true(a->done);
    worker_free(w);
}

static inline void attach_rules(struct attached *a, enum net_mode mode, const struct ruleset *rs)
{
    a->rs = rs;
    run_task(a, &(struct worker_task){.job = WORKER_ATTACH,
                                      .rules = a->rs,
                                      .with_sockets = mode == NET_MODE_INTERCEPT,
                                      .userns = a->cell.userns,
                                      .netns = a->cell.netns,
                                      .counter_sock = -EBADF});
    if (a->r.err != 0)
        fail_msg("attach: %s: %s", a->r.step, strerror(-a->r.err));
    assert_int_equal(a->r.flow_sock >= 0, rs->logs);
}

static inline void attach_mode(struct attached *a, enum net_mode mode)
{
    attach_rules(a, mode, ruleset_of(mode));
}

static inline struct attached attach(enum net_mode mode)
{
    struct attached a = {.cell = netd_cell_new()};
    attach_mode(&a, mode);
    return a;
}

static inline void detach(struct attached *a)
{
    for (size_t i = 0; i < _SOCKETS_MAX; i++)
        cleanup_closep(&a->r.sockets[i]);
    cleanup_closep(&a->r.counter_sock);
    cleanup_closep(&a->r.flow_sock);
    netd_cell_done(&a->cell);
}

/* The counter of one row, read as netd reads it. */
static inline struct ruleset_count counted(const struct attached *a, const char *row)
{
    struct attached b = *a;
    run_task(&b, &(struct worker_task){.job = WORKER_COUNT,
                                       .rules = a->rs,
                                       .userns = a->cell.userns,
                                       .netns = -EBADF,
                                       .counter_sock = a->r.counter_sock,
                                       .seq = ++seq});
    if (b.r.err != 0)
        fail_msg("count: %s: %s", b.r.step, strerror(-b.r.err));
    for (size_t i = 0; i < a->rs->nrows; i++)
        if (strcmp(a->rs->rows[i].name, row) == 0)
            return b.r.counts[i];
    fail_msg("no row %s", row);
    return (struct ruleset_count){0};
}

static inline void assert_packets(const struct attached *a, const char *row, uint64_t packets)
{
    assert_int_equal(counted(a, row).packets, packets);
}

/* main() of such a test. */
static inline int attached_main(int (*group)(void))
{
    if (sockets_own_cookie(&own_cookie) < 0 || (loop = ev_loop_new(EVFLAG_AUTO)) == NULL)
        return 1;
    int r = netd_cell_main(group);
    ev_loop_destroy(loop);
    return r;
}
