/* SPDX-License-Identifier: MIT */
/* The tiles of a log's tree (c2sp.org/tlog-tiles): up to 256 consecutive hashes of every eighth level. Kept
 * here are the unfinished right-most ones; a full one is handed out to be stored. */
#pragma once

#include "common/evidence/merkle.h"

#define TILE_LEVELS   8 /* 256^8 leaves are more than a uint64_t counts */
#define TILE_WIDTH    256
#define TILE_BYTES    (TILE_WIDTH * DIGEST_LEN)
#define TILE_PATH_MAX 64 /* "tile/7/x000/.../000.p/255" with NUL */

struct tiles {
    uint64_t size;           /* leaves so far */
    uint16_t n[TILE_LEVELS]; /* hashes in the unfinished tile of that level */
    uint8_t hash[TILE_LEVELS][TILE_WIDTH][DIGEST_LEN];
};

void tiles_init(struct tiles *t); /* the empty tree */

/* Adds a leaf. full is called for every tile this completes, lowest level first (data: TILE_BYTES). */
void tiles_append(struct tiles *t, const uint8_t leaf[static DIGEST_LEN],
                  void (*full)(void *arg, unsigned level, uint64_t index, const uint8_t *data), void *arg);

/* The tree's frontier from its tiles. */
void tiles_merkle(const struct tiles *t, struct merkle *ret);

/* "tile/<L>/<N>" of a full tile (width 0 or TILE_WIDTH), or with ".p/<W>" of a partial one. N in groups of
 * three digits, all but the last with an "x". */
void tile_path(unsigned level, uint64_t index, unsigned width, char dst[static TILE_PATH_MAX]);
