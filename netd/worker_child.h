/* SPDX-License-Identifier: MIT */
/* What worker.c (the parent) and worker_child.c (the child) share, and nobody else. */
#pragma once

#include "netd/worker.h"

/* The child's one message. With it travel, when err is 0: ATTACH: the counter socket, then the cell's
 * sockets. */
struct worker_report {
    int32_t err; /* 0 or a negative errno */
    char step[WORKER_STEP_MAX];
    struct ruleset_count counts[RULESET_ROWS_MAX];
};

#define WORKER_FDS_MAX (1 + _SOCKETS_MAX)

/* How many fds a good report on this task carries. */
static inline size_t worker_report_fds(const struct worker_task *t)
{
    return t->job != WORKER_ATTACH ? 0 : t->with_sockets ? WORKER_FDS_MAX : 1;
}

/* The child's life: never returns. parent: pid that must still be there. */
_Noreturn void worker_child_run(const struct worker_task *task, int sock, pid_t parent);
