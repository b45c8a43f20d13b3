/* SPDX-License-Identifier: MIT */
/* The signed head of a log as the log itself has it: its checkpoint under the keys it declares. Whether these
 * are to be trusted is verify's question; nothing unsigned is taken for a head. */
#pragma once

#include "common/evidence/trust.h"

#define LOGHEAD_WITNESSED_MAX 64 /* cosigned notes of a log that are looked at */

struct loghead {
    int fd;                  /* the log's directory */
    struct trust trust;      /* the log's own word */
    struct buf vkey, keyset; /* the files; vkey without LF; empty: there is none */
    struct buf note;
    struct checkpoint checkpoint;
};

/* Opens the log at path for reading: every verb that reads a log by the log's own word does it here. An exit
 * status (ctl.h); a failure has been told under this verb (NULL: nothing is told). */
int loghead_open(const char *verb, const char *path, struct loghead **ret) MUST_CHECK;
struct loghead *loghead_free(struct loghead *h); /* NULL-safe; returns NULL */
void loghead_freep(struct loghead **h);

/* Whether the note is a checkpoint of this log, signed by a key of it; then it is in *ret. */
bool loghead_is_ours(const struct loghead *h, struct str note, struct checkpoint *ret);

/* Calls see with each note in the log's witness/ that is a checkpoint of this log under its key. name is the
 * file's; all of it is valid until see returns. 0, or what see answered when that was not 0, or -errno. */
int loghead_each_witnessed(const struct loghead *h,
                           int (*see)(void *arg, const char *name, struct str note,
                                      const struct checkpoint *c),
                           void *arg) MUST_CHECK;

/* The best head for a proof of line index: the one with most signatures among the cosigned ones, notes of
 * the same head merged, else the log's own. Appends the note to b and fills *ret. 0 or -errno. */
int loghead_best(const struct loghead *h, uint64_t index, struct buf *b, struct checkpoint *ret) MUST_CHECK;
