/* SPDX-License-Identifier: MIT */
/* PID 1 of a cell: builds the cell, waits at the barrier, starts the workload, reaps, enforces the deadline
 * and the grace period, and ends; its end is the end of every process in the cell. It shares a pid namespace
 * with the workload and so trusts nothing from there: it is not dumpable, obeys no signal from inside, and
 * answers only the supervisor's line. */
#pragma once

#include "supervisor/launch/binds.h"
#include "supervisor/launch/cell_filter.h"
#include "supervisor/launch/userns.h"

#define CELL_INIT_KILL_MS 2000u /* after SIGKILL to all: how long the argv process may take to be reaped */

struct cell_init {
    int line;   /* the cell's end of the init line; all fds are taken */
    int who;    /* the cell's end of the who line */
    int launch; /* the launch document */
    int stdio[3];
    struct str launch_sha256;
    const struct userns_plan *plan;
    uint32_t index; /* of the workload's uid in the plan's range */
    const struct file_id *forbidden;
    size_t nforbidden;
    const struct cell_filter *core;
    const struct cell_filter *baseline;
    const struct cell_filter *own; /* of cell init itself */
};

/* Never returns: the process's exit status is for the log only. Call in the child, PID 1 of new pid, mount,
 * network, IPC and UTS namespaces. */
void cell_init_run(const struct cell_init *c) __attribute__((noreturn));
