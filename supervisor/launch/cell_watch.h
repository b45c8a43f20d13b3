/* SPDX-License-Identifier: MIT */
/* Cell init from the making of the workload's process to the end: one poll(2) loop over the line, the
 * children, the clock, the workload's report, the core filter's listener and the who line. */
#pragma once

#include "proto/line.h"
#include "supervisor/launch/denials.h"
#include "supervisor/launch/who.h"
#include "supervisor/launch/workload.h"

enum cell_watch_state {
    WATCH_BARRIER, /* the workload's process waits before its exec, for GO */
    WATCH_RUNNING,
    WATCH_GRACE,  /* every process was asked to end */
    WATCH_KILLED, /* every process was killed; waiting to reap the argv process */
};

struct cell_watch {
    struct line *line;
    struct line_msg *msg;
    const struct launch *launch;
    pid_t pid; /* of the argv process */
    int pair;  /* workload_fork()'s; owned */

    enum cell_watch_state state;
    bool timed_out;
    bool confined; /* the workload sent its filter's listener: what ends its report from now on is its exec */
    int signals;   /* signalfd */
    int timer;     /* timerfd on CLOCK_BOOTTIME */
    struct denials denials;
    struct who who;
};

/* Waits for GO, unless it has come already, and lets the workload execute; watches until the argv process
 * ends or has to, reports, and exits: with PID 1 the whole cell ends. */
void cell_watch_run(struct cell_watch *w, bool go) __attribute__((noreturn));
