/* SPDX-License-Identifier: MIT */
/* One pass over the durable events of a log. */
#pragma once

#include "common/evidence/envelope.h"
#include "common/evidence/log_reader.h"
#include "supervisor/ctl/loghead.h"

enum { LOGWALK_ON = 0, LOGWALK_STOP = 1 };

/* Calls see with each line that the checkpoint covers and the event in it, in order, until it answers
 * LOGWALK_STOP. h: the log at path. As logwalk below. */
int logwalk_lines(const char *verb, const char *path, const struct loghead *h,
                  int (*see)(void *self, const struct log_line *line, const struct envelope_line *l),
                  void *self) MUST_CHECK;

/* Calls see with each event, in order, until it answers LOGWALK_STOP or the checkpoint's last line is
 * through. An exit status; a failure has been told under this verb (NULL: nothing is told). */
int logwalk(const char *verb, const char *path, int (*see)(void *self, const struct envelope *e),
            void *self) MUST_CHECK;
