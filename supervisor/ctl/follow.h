/* SPDX-License-Identifier: MIT */
/* --events: the exact lines of a log as they become durable, never past its last checkpoint (decisions 32,
 * 38). */
#pragma once

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

struct follow {
    int log_dir; /* borrowed */
    int out;     /* owned; -EBADF when nothing is to be followed */
    int inotify; /* readable when the checkpoint may be a new one; owned */
    uint64_t next;
    struct buf rest; /* of the line before it: what out has not taken yet */
    bool failed;     /* the reader went away: the run goes on without */
};

/* path: a file, made or emptied now, before anything starts; "-" = standard output. NULL = do nothing. 0 or
 * -errno. */
int follow_open(const char *path, struct follow *ret) MUST_CHECK;

/* Watches this log. 0 or -errno. */
int follow_start(struct follow *f, int log_dir) MUST_CHECK;

/* Writes what is durable by now. Call when inotify is readable, when out is writable and something is in
 * rest, and at the end. Only with wait does a reader that does not read make it wait. */
void follow_step(struct follow *f, bool wait);
void follow_done(struct follow *f);
