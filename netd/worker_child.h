/* SPDX-License-Identifier: MIT */
/* What worker.c (the parent) and worker_child.c (the child) share, and nobody else. */
#pragma once

#include "netd/worker.h"

/* The child's one message. With it travel, when err is 0: ATTACH: the counter socket, the flow socket unless
 * flow_err says why there is none, then the cell's sockets. */
struct worker_report {
    int32_t err;      /* 0 or a negative errno */
    int32_t flow_err; /* the same */
    char step[WORKER_STEP_MAX];
    struct ruleset_count counts[RULESET_ROWS_MAX];
    uint64_t flows_open;
    uint32_t nflows;
    struct nflog_record flows[WORKER_FLOWS_MAX];
};

#define WORKER_FDS_MAX (2 + _SOCKETS_MAX)

/* How many sockets of the cell an attach makes. */
static inline size_t worker_sockets(const struct worker_task *t)
{
    return !t->with_sockets ? 0u : t->link != NULL ? SOCKETS_TCP : _SOCKETS_MAX;
}

/* How many fds a good report on this task carries. */
static inline size_t worker_report_fds(const struct worker_task *t, int flow_err)
{
    if (t->job != WORKER_ATTACH)
        return 0;
    return 1u + (t->rules->logs && flow_err == 0 ? 1u : 0u) + worker_sockets(t);
}

/* The child's life: never returns. parent: pid that must still be there. */
_Noreturn void worker_child_run(const struct worker_task *task, int sock, pid_t parent);
