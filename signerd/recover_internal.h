/* SPDX-License-Identifier: MIT */
#pragma once

#include "common/evidence/log_reader.h"
#include "signerd/recover.h"

#define RECOVER_REMEDY "restore it from a copy, or move the log's directory away to begin a new log"

#define RECOVER_CHUNK 65536 /* bytes that are copied at a time */

struct recover {
    struct disk *disk;
    struct keys *keys;
    const char *origin;
    struct recovered *ret;
    struct checkpoint checkpoint;
    struct log_reader *reader;
    uint64_t segment, end; /* where the last good line ends */
    bool keep_tiles;       /* recover_store_tile() stores nothing: what it is given is not proven yet */
    uint64_t kept_segment, kept_from; /* where the last line below the checkpoint ended */
};

/* recover_keyset.c: the log's keyset against ours, which must be it or continue it; the outcome is in
 * ret->keyset_changed. 0; -EBADMSG (logged); -errno. */
int recover_keyset(struct recover *v) MUST_CHECK;
/* Ours in its place, remembered until the event that says so is durable. 0 or -errno (logged). */
int recover_write_keyset(struct recover *v) MUST_CHECK;

/* recover_tree.c: the tree up to the checkpoint. Tiles are a cache: what they say counts only if it leads to
 * the signed root, else the whole log is read; of a log whose beginning was pruned all that is
 * left, behind the tiles that stand for the rest. 0; -EBADMSG: fewer lines than signed, or others; -errno.
 * Logged. */
int recover_tree(struct recover *v) MUST_CHECK;
/* Callback of tiles_append(): a full tile is stored; a failure is only logged. */
void recover_store_tile(void *arg, unsigned level, uint64_t index, const uint8_t *data);

/* recover_tail.c: takes in the good lines behind the checkpoint. 0 or -errno. */
int recover_tail(struct recover *v) MUST_CHECK;
/* Cuts behind the last good line; segments behind it (there are none unless somebody put them there) go as a
 * whole. 0 or -errno. */
int recover_cut(struct recover *v) MUST_CHECK;
