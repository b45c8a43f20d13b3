/* SPDX-License-Identifier: MIT */
/* The tiles a log has beside its lines, held against the lines as they go by: a tile is a cache, but one that
 * readers of the log trust to find their way. */
#pragma once

#include "common/evidence/tile.h"

struct log_tiles;

/* From the line behind the first `from` lines on, which tiles alone stand for. dirfd is borrowed. 0;
 * -ENOMEM. */
int log_tiles_open(int dirfd, uint64_t from, struct log_tiles **ret) MUST_CHECK;
struct log_tiles *log_tiles_free(struct log_tiles *t); /* NULL-safe; returns NULL */
void log_tiles_freep(struct log_tiles **t);

/* The next leaf: compares what tiles it completes. */
void log_tiles_next(struct log_tiles *t, const uint8_t leaf[static DIGEST_LEN]);

/* All leaves are through: compares the unfinished ones. 1 when a tile was wrong: path is then the first such;
 * 0; -errno when one could not be looked at. *ret_missing: full tiles that are not there (they can be made
 * again). */
int log_tiles_wrong(struct log_tiles *t, char path[static TILE_PATH_MAX], uint64_t *ret_missing) MUST_CHECK;
