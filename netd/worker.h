/* SPDX-License-Identifier: MIT */
/* netd's forked child: joins a cell's namespaces, does one job there, hands the results back over a socket
 * and exits. The parent never enters a cell. The child never executes anything, keeps only the fds of its
 * job, and is killed when it takes longer than LIMIT_ATTACH_MS. */
#pragma once

#include <ev.h>

#include "netd/nflog.h"
#include "netd/routed/routed_link.h"
#include "netd/sockets.h"

#define WORKER_STEP_MAX  64
#define WORKER_FLOWS_MAX 96 /* flows one reading reports; further ones are only counted */

enum worker_job {
    WORKER_ATTACH, /* rules, routes, sockets */
    WORKER_COUNT,  /* read the counters */
};

/* The fds are borrowed until worker_start() returns. */
struct worker_task {
    enum worker_job job;
    const struct ruleset *rules;
    const struct ruleset *plain_rules; /* ATTACH: instead, when the kernel cannot log; NULL: then it fails */
    bool with_sockets;                 /* ATTACH: also the cell's sockets (mode intercept) */
    const struct routed_link
        *link;       /* ATTACH: mode routed: the link that is there, and only the DNS sockets */
    bool with_flows; /* COUNT: also the flows that are still open */
    int userns;
    int netns;        /* ATTACH */
    int counter_sock; /* COUNT: the one that ATTACH returned */
    uint32_t seq;     /* COUNT: netlink sequence number, new each time */
};

/* Fds that the receiver does not take are closed after the callback. */
struct worker_result {
    int err;                    /* 0, or why the job failed */
    char step[WORKER_STEP_MAX]; /* where it failed */
    int counter_sock;           /* ATTACH */
    int flow_sock;              /* ATTACH: see netd/nflog.h; negative when plain_rules are in force */
    int flow_err;               /* ATTACH: why they are, or 0 */
    int sockets[_SOCKETS_MAX];  /* ATTACH with_sockets; checked, all in the cell's namespace */
    struct ruleset_count counts[RULESET_ROWS_MAX]; /* COUNT */
    size_t nflows;                                 /* COUNT: records below */
    uint64_t flows_open;                           /* COUNT: of how many */
    struct nflog_record flows[WORKER_FLOWS_MAX];
};

struct worker;

/* Called once, from the loop, when the child is gone and reaped. It may free the worker. */
typedef void (*worker_done_fn)(void *self, struct worker_result *r);

/* Forks. loop must not be libev's default loop (that one reaps every child). own_cookie: of netd's own
 * network namespace; sockets from there are refused. 0 or -errno. */
int worker_start(struct ev_loop *loop, const struct worker_task *task, uint64_t own_cookie,
                 worker_done_fn done, void *self, struct worker **ret) MUST_CHECK;

/* Kills and reaps the child when it still runs; done() then never comes. NULL-safe. */
struct worker *worker_free(struct worker *w);
