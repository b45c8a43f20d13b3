/* SPDX-License-Identifier: MIT */
/* The thread that looks after closed segments, at the lowest priority, so that no commit waits for it: it
 * compresses them, finds what retention lets go, and deletes it. It touches only closed segments and full
 * tiles, which the commit thread is done with. It does not decide about the log: what is to be pruned it
 * reports, and deletes only when told that the event about it is durable. */
#pragma once

#include <ev.h>

#include "signerd/prune.h"

struct keeper;

/* What keeper_look() came to. */
struct keeper_result {
    int error;  /* something could not be done (logged); it is left for the next look */
    bool prune; /* choice is to be sealed, then keeper_unlink()ed */
    struct prune_choice choice;
};

/* dirfd: borrowed. done is called from the loop. 0 or -errno. */
int keeper_new(struct ev_loop *loop, int dirfd, const struct prune_rule *rule,
               void (*done)(void *self, const struct keeper_result *r), void *self,
               struct keeper **ret) MUST_CHECK;

/* One job at a time, and done() after each. open: the segment that grows; needed: the first line somebody has
 * yet to do with; now: tiles of the durable tree (copied). */
void keeper_look(struct keeper *k, uint64_t open, uint64_t needed, const struct tiles *now);
void keeper_unlink(struct keeper *k, uint64_t first);

/* Breaks a job off (done() is then not called) and ends the thread. NULL-safe; returns NULL. */
struct keeper *keeper_free(struct keeper *k);
