/* SPDX-License-Identifier: MIT */
/* A log whose first lines retention has taken away: their hashes are still there, in the tiles, and
 * log.v1.pruned events in what remains say which lines they were. Here is the tree of the missing part, out
 * of the tiles alone; it counts once the lines behind it lead to a signed root. */
#pragma once

#include "common/evidence/envelope.h"
#include "common/evidence/tile_store.h"

#define LOG_PRUNED_WHY_MAX 256

struct log_pruned {
    uint64_t first;     /* of the lines that remain; 0: nothing was pruned */
    struct merkle tree; /* of those before */
    uint64_t mark;      /* a size whose root is wanted, UINT64_MAX: none */
    bool marked;        /* it lies in the pruned part, and is mark_root */
    uint8_t mark_root[DIGEST_LEN];
    /* What a tile and the hash of the tile below it contradict each other about, seen first. */
    bool doubt;
    struct tile_fault upper, lower;
    /* log.v1.pruned events so far */
    bool any;
    uint64_t begin, end; /* of the newest */
    uint64_t reached;    /* the greatest end that is not above first */
};

/* Reads the tiles of lines 0 to first - 1; size: of the whole log (its checkpoint). 0; -ENOENT or -EBADMSG
 * with *ret_fault; -errno. */
int log_pruned_load(int dirfd, uint64_t first, uint64_t size, uint64_t mark, struct log_pruned *ret,
                    struct tile_fault *ret_fault) MUST_CHECK;

bool log_pruned_is_event(const struct envelope *e);

/* Takes in such an event. They follow one another without a gap (the same one may be said twice: a crash came
 * between the event and what it announces), speak of lines before their own, and seal the root the tiles lead
 * to. 0, or -EBADMSG with a sentence. */
int log_pruned_event(struct log_pruned *p, const struct envelope *e,
                     char why[static LOG_PRUNED_WHY_MAX]) MUST_CHECK;

/* All lines were read: whether the events account for exactly the lines before first. 0, or -EBADMSG with a
 * sentence that names those that are missing. */
int log_pruned_end(const struct log_pruned *p, char why[static LOG_PRUNED_WHY_MAX]) MUST_CHECK;

/* One sentence: which file it is, what it is, what helps. */
void log_pruned_fault(const struct tile_fault *f, char why[static LOG_PRUNED_WHY_MAX]);
