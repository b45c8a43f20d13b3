/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/base/log.h"
#include "signerd/disk.h"
#include "signerd/prune.h"

static uint64_t prune_tiles(uint64_t lines)
{
    return (lines + TILE_WIDTH - 1) / TILE_WIDTH;
}

/* Stored tiles as far as they are proven: each by its hash in the one above it, the uppermost by `now`. */
struct prune_tree {
    int dirfd;
    const struct tiles *now;
    bool have[TILE_LEVELS];
    uint64_t index[TILE_LEVELS];
    uint8_t data[TILE_LEVELS][TILE_BYTES];
};

static int prune_bad_tile(unsigned level, uint64_t index, int error)
{
    char path[TILE_PATH_MAX];

    if (error != -ENOENT && error != -EBADMSG)
        return error;
    tile_path(level, index, 0, path);
    log_error("%s is %s: nothing is pruned until it is restored (see cellctl verify)", path,
              error == -ENOENT ? "missing" : "not the one the log's tree has");
    return -EBADMSG;
}

/* The hash of the full tile (level - 1, index): an entry of the level above it, which is unfinished and so in
 * memory, or stored and so proven in turn. Goes up at most TILE_LEVELS times. */
static int prune_entry(struct prune_tree *t, unsigned level, uint64_t index, uint8_t ret[static DIGEST_LEN])
{
    uint64_t have = t->now->size >> 8 * level, up = index / TILE_WIDTH;
    uint8_t hash[DIGEST_LEN], want[DIGEST_LEN];
    int r;

    if (index >= have)
        return -ERANGE;
    if (index >= have - t->now->n[level]) {
        memcpy(ret, t->now->hash[level][index - (have - t->now->n[level])], DIGEST_LEN);
        return 0;
    }
    if (!t->have[level] || t->index[level] != up) {
        t->have[level] = false;
        r = tile_load(t->dirfd, level, up, TILE_WIDTH, t->data[level]);
        if (r < 0)
            return prune_bad_tile(level, up, r);
        r = prune_entry(t, level + 1, up, want);
        if (r < 0)
            return r;
        merkle_perfect(t->data[level], TILE_WIDTH, hash);
        if (memcmp(hash, want, DIGEST_LEN) != 0)
            return prune_bad_tile(level, up, -EBADMSG);
        t->have[level] = true;
        t->index[level] = up;
    }
    memcpy(ret, t->data[level] + index % TILE_WIDTH * DIGEST_LEN, DIGEST_LEN);
    return 0;
}

/* ---- the leaves ---- */

/* Fills in the leaves of one tile from line `from` of it on, out of the lines. */
static int prune_leaves(struct log_reader *reader, uint64_t index, unsigned from, uint8_t *data)
{
    for (unsigned i = from; i < TILE_WIDTH; i++) {
        struct log_line l;
        int r = log_reader_next(reader, &l);

        if (r != LOG_READ_LINE || l.index != index * TILE_WIDTH + i)
            return r < 0 ? r : -EBADMSG;
        merkle_leaf(l.text.p, l.text.len, data + (size_t)i * DIGEST_LEN);
    }
    return 0;
}

/* data: what tile (0, index) has to be. It is written when it is missing or another. */
static int prune_store(int dirfd, uint64_t index, const uint8_t *data)
{
    struct disk_tile tile = {.index = index, .width = TILE_WIDTH};
    uint8_t stored[TILE_BYTES];
    int r = tile_load(dirfd, 0, index, TILE_WIDTH, stored);

    if (r == 0 && memcmp(stored, data, TILE_BYTES) == 0)
        return 0;
    if (r < 0 && r != -ENOENT && r != -EBADMSG)
        return r;
    log_warning("a tile of the log's tree was missing or wrong; it is made again from the lines");
    memcpy(tile.data, data, TILE_BYTES);
    return disk_write_tile_at(dirfd, &tile);
}

/* One tile of leaves: the lines of the segment (and of those behind it) hashed, the leaves of lines that went
 * before out of the stored tile; together they must be what the tree has. data: the tile. */
static int prune_tile(struct prune_tree *t, struct log_reader *reader, uint64_t index, uint64_t first,
                      uint8_t *data)
{
    unsigned from = first > index * TILE_WIDTH ? (unsigned)(first - index * TILE_WIDTH) : 0;
    uint8_t hash[DIGEST_LEN], want[DIGEST_LEN];
    int r = from ? tile_load(t->dirfd, 0, index, TILE_WIDTH, data) : 0;

    if (r < 0)
        return prune_bad_tile(0, index, r);
    r = prune_leaves(reader, index, from, data);
    if (r == -EBADMSG)
        log_error("the log cannot be read around line %" PRIu64 ": nothing is pruned (see cellctl verify)",
                  index * TILE_WIDTH + from + 1);
    if (r == 0)
        r = prune_entry(t, 1, index, want);
    if (r < 0)
        return r;
    merkle_perfect(data, TILE_WIDTH, hash);
    if (memcmp(hash, want, DIGEST_LEN) == 0)
        return prune_store(t->dirfd, index, data);
    log_error("lines %" PRIu64 " to %" PRIu64
              " are not those of the log's tree: nothing is pruned (see cellctl verify)",
              index * TILE_WIDTH + 1, (index + 1) * TILE_WIDTH);
    return -EBADMSG;
}

/* The root of the tree of c->end lines; leaves: the tile with the last of these. */
static int prune_root(struct prune_tree *t, struct prune_choice *c, const uint8_t *leaves)
{
    _cleanup_free_ struct tiles *at = malloc(sizeof(*at));
    struct merkle tree;

    if (!at)
        return -ENOMEM;
    tiles_init(at);
    at->size = c->end;
    at->n[0] = c->end % TILE_WIDTH;
    memcpy(at->hash[0], leaves, (size_t)at->n[0] * DIGEST_LEN);
    for (unsigned level = 1; level < TILE_LEVELS; level++) {
        uint64_t have = c->end >> 8 * level;

        at->n[level] = have % TILE_WIDTH;
        for (unsigned i = 0; i < at->n[level]; i++) {
            int r = prune_entry(t, level, have - at->n[level] + i, at->hash[level][i]);

            if (r < 0)
                return r;
        }
    }
    tiles_merkle(at, &tree);
    merkle_root(&tree, c->root);
    return 0;
}

/* ---- durable ---- */

static int prune_sync(int dirfd, const char *path, int flags)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | flags);

    if (fd < 0)
        return -errno;
    return fsync(fd) < 0 ? -errno : 0;
}

/* A tile and the folders above it; last: the folder of the tile before, which need not be done again. */
static int prune_sync_tile(int dirfd, unsigned level, uint64_t index, unsigned width,
                           char last[static TILE_PATH_MAX])
{
    char path[TILE_PATH_MAX], next[TILE_PATH_MAX] = "";
    unsigned whole = 0;
    int r;

    tile_path(level, index, width, path);
    r = prune_sync(dirfd, path, O_NONBLOCK);
    for (char *slash = strrchr(path, '/'); r == 0 && slash; slash = strrchr(path, '/')) {
        *slash = '\0';
        if (strcmp(path, last) == 0)
            return 0;
        if (!whole++)
            (void)snprintf(next, sizeof(next), "%s", path);
        r = prune_sync(dirfd, path, O_DIRECTORY);
    }
    memcpy(last, next, sizeof(next));
    return r;
}

/* What a reader locates a wrong tile of leaves by, while the tile above is not full (a full one is stored,
 * and proven): a help, which a full disk does without. */
static int prune_store_upper(const struct prune_tree *t, uint64_t tiles, char last[static TILE_PATH_MAX])
{
    struct disk_tile tile = {
        .level = 1, .index = (tiles - 1) / TILE_WIDTH, .width = (tiles - 1) % TILE_WIDTH + 1};
    int r;

    if (t->now->size >> 16 > tile.index)
        return 0;
    memcpy(tile.data, t->now->hash[1], (size_t)tile.width * DIGEST_LEN);
    r = disk_write_tile_at(t->dirfd, &tile);
    if (r == 0)
        r = prune_sync_tile(t->dirfd, tile.level, tile.index, tile.width, last);
    return r == -ENOSPC || r == -EDQUOT ? 0 : r;
}

static int prune_make_durable(const struct prune_tree *t, const struct prune_choice *c)
{
    char last[TILE_PATH_MAX] = "";
    int r = prune_store_upper(t, prune_tiles(c->end), last);

    for (unsigned level = 0; r == 0 && level < TILE_LEVELS; level++) {
        uint64_t full = t->now->size >> 8 * level >> 8, end = ((c->end - 1) >> 8 * level >> 8) + 1;

        for (uint64_t i = c->first >> 8 * level >> 8; r == 0 && i < full && i < end; i++)
            r = prune_sync_tile(t->dirfd, level, i, TILE_WIDTH, last);
    }
    return r == 0 && fsync(t->dirfd) < 0 ? -errno : r;
}

static int prune_walk(struct prune_tree *t, struct prune_choice *c, const atomic_bool *stop)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    uint8_t leaves[TILE_BYTES];
    int r = log_reader_open(t->dirfd, c->first, &reader);

    for (uint64_t i = c->first / TILE_WIDTH; r == 0 && i < prune_tiles(c->end); i++)
        r = atomic_load(stop) ? -ECANCELED : prune_tile(t, reader, i, c->first, leaves);
    return r < 0 ? r : prune_root(t, c, leaves);
}

int prune_check(int dirfd, const struct tiles *now, struct prune_choice *c, const atomic_bool *stop)
{
    struct prune_tree *t = calloc(1, sizeof(*t));
    int r;

    if (!t)
        return -ENOMEM;
    t->dirfd = dirfd;
    t->now = now;
    r = prune_walk(t, c, stop);
    if (r == 0)
        r = prune_make_durable(t, c);
    free(t);
    return r;
}
