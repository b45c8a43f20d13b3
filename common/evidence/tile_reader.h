/* SPDX-License-Identifier: MIT */
/* The hashes of a log's tree out of its directory: from the tiles where they are, full or partial, and from
 * the lines where no tile is there (yet). Memory is bounded whatever the log's size. Nothing it answers is
 * trusted: what is made from it is checked against a signed root. */
#pragma once

#include "common/evidence/proof.h"
#include "common/evidence/tile.h"

struct tile_reader;

enum tile_reader_from {
    TILE_READER_TILES, /* tiles, and lines where none is there */
    TILE_READER_LINES, /* lines alone: for a log whose tiles turned out wrong */
};

/* The tree of the first size lines of the log in dirfd (borrowed). 0 or -ENOMEM. */
int tile_reader_open(int dirfd, uint64_t size, enum tile_reader_from from,
                     struct tile_reader **ret) MUST_CHECK;
struct tile_reader *tile_reader_free(struct tile_reader *t); /* NULL-safe; returns NULL */
void tile_reader_freep(struct tile_reader **t);

/* For proof.h; valid as long as t. Its errors: -ERANGE outside the tree; -ENOENT when neither a tile nor the
 * lines are there (they were pruned); -EBADMSG when the lines end early; -errno. */
struct proof_source tile_reader_source(struct tile_reader *t);

/* The tile with this place as it is in the tree of size lines: dst takes the hashes of *ret_width (1 ...
 * TILE_WIDTH) of them. Errors as above. */
int tile_reader_tile(struct tile_reader *t, unsigned level, uint64_t index, uint8_t dst[static TILE_BYTES],
                     unsigned *ret_width) MUST_CHECK;
