/* SPDX-License-Identifier: MIT */
/* A bounded pool of pipes for splice(2). A flow borrows one only while bytes are under way in it, so that a
 * few pipes serve many connections; when none is left the caller copies through memory instead (decisions
 * 16). */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define PIPE_BYTES 65536 /* the kernel's default capacity (pipe(7)) */

struct pipe_pair {
    int r, w; /* non-blocking, CLOEXEC; -EBADF when none is held */
};

#define PIPE_NONE ((struct pipe_pair){-EBADF, -EBADF})

struct pipes {
    struct pipe_pair *idle; /* room for max */
    size_t nidle, open, max;
};

/* 0 or -ENOMEM. Opens nothing yet. */
int pipes_init(struct pipes *p, size_t max) MUST_CHECK;
void pipes_done(struct pipes *p); /* closes the idle ones; borrowed ones must be back */

/* An empty pipe, or false when the pool or the process has none to give. */
bool pipes_get(struct pipes *p, struct pipe_pair *ret);

/* Takes *pair back (and sets it to PIPE_NONE). One that still holds bytes is closed, never used again. */
void pipes_put(struct pipes *p, struct pipe_pair *pair, bool empty);
