/* SPDX-License-Identifier: MIT */
/* The listener of the core filter (seccomp_unotify(2)) as served in cell init: every denied call is answered
 * at once, counted, and told to the supervisor in batches. The workload waits for its answer and controls the
 * rate, so the work of one notification is constant and the reports are few. */
#pragma once

#include "proto/line.h"

#define DENIALS_KINDS     32u   /* different calls told apart; the rest shares one line, "other" */
#define DENIALS_REPORT_MS 1000u /* at most one batch in this time */
#define DENIALS_BATCH     8u    /* reports of one batch */

struct denial {
    int call;
    int family;     /* -1: not a socket call */
    uint64_t count; /* since the last report */
};

struct denials {
    int listener; /* owned; -EBADF: none yet, or all its users are gone */
    void *req, *resp;
    size_t req_size, resp_size;
    struct denial kinds[DENIALS_KINDS];
    size_t nkinds;
    uint64_t other;
    uint64_t reported_ms; /* CLOCK_BOOTTIME of the last batch; 0 = never */
};

/* Takes the listener. */
int denials_init(struct denials *d, int listener) MUST_CHECK;
void denials_done(struct denials *d);

/* poll(2) said something about the listener. */
void denials_serve(struct denials *d, short revents);

/* Sends the counts that are due at now_ms (all of them when last), as long as the line takes them without
 * waiting. */
void denials_report(struct denials *d, struct line *l, uint64_t now_ms, bool last);

/* Milliseconds until the next report is due; -1 when there is nothing to report. */
int denials_due(const struct denials *d, uint64_t now_ms);

/* Counts one denied call; for denials_serve() and tests. */
void denials_count(struct denials *d, int call, int family);
