/* SPDX-License-Identifier: MIT */
/* Retention: which segment goes next, and what must be true before it may. Its lines' hashes stay, in the
 * tiles, so nothing is deleted whose tiles are not full, right and durable. */
#pragma once

#include <stdatomic.h>

#include "common/evidence/tile_store.h"
#include "proto/words.h"
#include "signerd/segments.h"

struct prune_rule {
    uint64_t retain_bytes, retain_age_s; /* 0: everything is kept */
};

/* The oldest segment, when it is to go. */
struct prune_choice {
    uint64_t first, end;      /* its lines: first to end - 1 */
    uint32_t reason;          /* enum prune_reason */
    uint8_t root[DIGEST_LEN]; /* of the tree of `end` lines, by prune_check() */
};

/* open: the segment that grows; size: durable lines that are done with. 1: *ret is filled but for root; 0:
 * nothing has to go (yet); -errno. */
int prune_choose(int dirfd, const struct prune_rule *rule, uint64_t open, uint64_t size,
                 struct prune_choice *ret) MUST_CHECK;

/* Holds every line of the segment against the tree (now: the unfinished tiles of a tree that is believed, of
 * at least all lines in full tiles up to c->end), writes tiles that are missing or wrong where the lines are
 * still there, and makes all that stand for the segment durable. 0: it may go; -EBADMSG: it may not (logged,
 * naming the file); -ECANCELED: stop was set; -errno. */
int prune_check(int dirfd, const struct tiles *now, struct prune_choice *c,
                const atomic_bool *stop) MUST_CHECK;
