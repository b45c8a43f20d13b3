/* SPDX-License-Identifier: MIT */
/* One event as people name it: its id (UUID), its sequence in the log, or RUN:N, the N-th event of a run. */
#pragma once

#include "supervisor/ctl/logdir.h"

#define EVENT_FIND_HELP                                                                                      \
    "EVENT is an event's id (a UUID), its sequence in the log (0, 1, ...), or RUN:N, the N-th event of a\n"  \
    "run, counted from 1; RUN is a run id or the end of one.\n"

/* Looks through these logs, newest first; a bare sequence means the newest log. *ret_path is borrowed from
 * logs. An exit status (ctl.h); a failure has been told. */
int event_find(const char *verb, const char *word, const struct logdir_list *logs, const char **ret_path,
               uint64_t *ret_index) MUST_CHECK;
