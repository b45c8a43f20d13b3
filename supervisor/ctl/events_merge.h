/* SPDX-License-Identifier: MIT */
/* The durable events of several logs in the order of their time. */
#pragma once

#include "common/evidence/envelope.h"
#include "supervisor/ctl/logdir.h"

#define EVENTS_OPEN_MAX                                                                                      \
    64u /* logs that are read at the same time; of more the order is that of their names */

/* Reads each log from line next[i] (NULL: from its beginning) to the end of its checkpoint and calls see with
 * every line, until it answers LOGWALK_STOP (logwalk.h); then next[i] is behind the last line that was seen.
 * Within a log the order is the log's own. A log that cannot be read is told about under this verb (NULL:
 * nothing is told) and left out. The worst exit status. */
int events_merge(const char *verb, const struct logdir_list *logs, uint64_t *next,
                 int (*see)(void *self, struct str line, const struct envelope_line *l),
                 void *self) MUST_CHECK;
