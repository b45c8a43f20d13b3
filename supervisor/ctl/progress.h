/* SPDX-License-Identifier: MIT */
/* How far long work is: a bar with rate and remaining time, on a terminal only (term.h), a few times a
 * second. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

struct progress {
    const char *what; /* borrowed; escaped when shown */
    const char *unit; /* "events" */
    uint64_t start_us, shown_us;
};

void progress_start(struct progress *p, const char *what, const char *unit);

/* total 0: nobody knows. Shows nothing in the first half second. */
void progress_show(struct progress *p, uint64_t done, uint64_t total);

/* Ctrl-C ends this command at once, without a half line left on the terminal, with status 130: for verbs that
 * write nothing. */
void progress_interruptible(void);
