/* SPDX-License-Identifier: MIT */
/* The tiles stored in a log's directory. They prove nothing by themselves: what they say counts only as far
 * as it leads to a root that somebody signed. */
#pragma once

#include "common/evidence/tile.h"

/* A stored tile that is not what it should be. */
struct tile_fault {
    unsigned level;
    uint64_t index;
    unsigned width; /* TILE_WIDTH, or less: the partial one */
    int error;      /* -ENOENT: missing; -EBADMSG: wrong */
};

/* A tile with `width` hashes. 0; -ENOENT; -EBADMSG: no regular file, or not of that length; -errno. */
int tile_load(int dirfd, unsigned level, uint64_t index, unsigned width,
              uint8_t data[static TILE_BYTES]) MUST_CHECK;

/* The unfinished tiles of a tree of `size` leaves, out of full stored ones (the one with leaf size - 1 must
 * be full too): at most 256 a level are read, whatever the size. 0; -ENOENT or -EBADMSG with *ret_fault;
 * -errno.
 */
int tile_load_tree(int dirfd, uint64_t size, struct tiles *ret, struct tile_fault *ret_fault) MUST_CHECK;
