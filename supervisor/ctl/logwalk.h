/* SPDX-License-Identifier: MIT */
/* One pass over the durable events of a log. */
#pragma once

#include "common/evidence/envelope.h"
#include "common/evidence/log_reader.h"
#include "supervisor/ctl/logdir.h"

enum { LOGWALK_ON = 0, LOGWALK_STOP = 1 };

/* The log's own key and its checkpoint, which must be signed by it; note: where the checkpoint's text goes,
 * NULL = nowhere. An exit status (ctl.h). verb NULL: nothing is told. */
int logwalk_head(const char *verb, const char *path, struct buf *note, struct vkey *ret_key,
                 struct checkpoint *ret) MUST_CHECK;

/* The number of lines the checkpoint covers, under the key the log declares: whether that key is to be
 * trusted is verify's question, but nothing unsigned is taken for the size. An exit status (ctl.h). verb
 * NULL: nothing is told. */
int logwalk_size(const char *verb, const char *path, int fd, uint64_t *ret) MUST_CHECK;

/* Calls see with each of the first size lines and the event in it, in order, until it answers LOGWALK_STOP.
 * As logwalk below. */
int logwalk_lines(const char *verb, const char *path, uint64_t size,
                  int (*see)(void *self, const struct log_line *line, const struct envelope_line *l),
                  void *self) MUST_CHECK;

/* Calls see with each event, in order, until it answers LOGWALK_STOP or the checkpoint's last line is
 * through. An exit status; a failure has been told under this verb (NULL: nothing is told). */
int logwalk(const char *verb, const char *path, int (*see)(void *self, const struct envelope *e),
            void *self) MUST_CHECK;
