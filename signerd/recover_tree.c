/* SPDX-License-Identifier: MIT */
#include "signerd/recover_internal.h"

#include <inttypes.h>

#include "common/base/log.h"
#include "common/evidence/log_verify.h"

/* The hash of one full tile. 0 or a negative errno. */
static int recover_tile_hash(const struct recover *v, unsigned level, uint64_t index, uint8_t *ret)
{
    _cleanup_(buf_done) struct buf tile = {.data = NULL};
    char path[TILE_PATH_MAX];
    int r;

    tile_path(level, index, 0, path);
    buf_init(&tile, TILE_BYTES);
    r = log_verify_read_file(disk_dirfd(v->disk), path, &tile);
    if (r < 0)
        return r;
    if (tile.len != TILE_BYTES)
        return -EBADMSG;
    merkle_perfect(tile.data, TILE_WIDTH, ret);
    return 0;
}

/* Everything but the leaves of the unfinished tile of level 0, out of the stored tiles. */
static int recover_tiles(struct recover *v)
{
    struct tiles *t = &v->ret->tiles;
    uint64_t size = v->checkpoint.size;

    tiles_init(t);
    for (unsigned level = 1; level < TILE_LEVELS; level++) {
        uint64_t have = size >> 8 * level;

        t->n[level] = have % TILE_WIDTH;
        for (unsigned i = 0; i < t->n[level]; i++) {
            int r = recover_tile_hash(v, level - 1, have - t->n[level] + i, t->hash[level][i]);

            if (r < 0)
                return r;
        }
    }
    t->size = size - size % TILE_WIDTH;
    return 0;
}

void recover_store_tile(void *arg, unsigned level, uint64_t index, const uint8_t *data)
{
    const struct recover *v = arg;
    struct disk_tile t = {.level = level, .index = index, .width = TILE_WIDTH};

    memcpy(t.data, data, TILE_BYTES);
    int r = disk_write_tile(v->disk, &t);
    if (r < 0)
        log_failed(LOG_WARNING, r, "cannot write a tile of the tree (it can be made again)");
}

static int recover_next_leaf(struct recover *v, uint8_t *ret)
{
    struct log_line l;
    int r = log_reader_next(v->reader, &l);

    if (r != LOG_READ_LINE)
        return r < 0 ? r : -EBADMSG;
    merkle_leaf(l.text.p, l.text.len, ret);
    v->segment = l.segment;
    v->end = l.offset + l.text.len + 1;
    return 0;
}

/* The tiles already hold every leaf: the last line must be there all the same, and be the one they end with.
 */
static int recover_last_line(struct recover *v)
{
    _cleanup_(buf_done) struct buf tile = {.data = NULL};
    char path[TILE_PATH_MAX];
    uint8_t leaf[DIGEST_LEN];
    int r = recover_next_leaf(v, leaf);

    buf_init(&tile, TILE_BYTES);
    if (r < 0)
        return r;
    tile_path(0, v->checkpoint.size / TILE_WIDTH - 1, 0, path);
    r = log_verify_read_file(disk_dirfd(v->disk), path, &tile);
    if (r < 0)
        return -EBADMSG;
    return tile.len == TILE_BYTES && memcmp(tile.data + TILE_BYTES - DIGEST_LEN, leaf, DIGEST_LEN) == 0
               ? 0
               : -EBADMSG;
}

/* Reads on to the checkpoint's size. 0; -EBADMSG: fewer lines, or another root; -errno. */
static int recover_leaves(struct recover *v)
{
    struct tiles *t = &v->ret->tiles;
    bool complete = t->size > 0 && t->size == v->checkpoint.size;
    uint8_t leaf[DIGEST_LEN], root[DIGEST_LEN];
    int r;

    v->reader = log_reader_free(v->reader);
    r = log_reader_open(disk_dirfd(v->disk), t->size - complete, &v->reader);
    if (r < 0)
        return r == -ENOENT && v->checkpoint.size == 0 ? 0 : r == -ENOENT ? -EBADMSG : r;
    r = complete ? recover_last_line(v) : 0;
    while (r == 0 && t->size < v->checkpoint.size) {
        r = recover_next_leaf(v, leaf);
        if (r == 0)
            tiles_append(t, leaf, recover_store_tile, v);
    }
    if (r < 0)
        return r;
    tiles_merkle(t, &v->ret->tree);
    merkle_root(&v->ret->tree, root);
    return memcmp(root, v->checkpoint.root, DIGEST_LEN) == 0 ? 0 : -EBADMSG;
}

int recover_tree(struct recover *v)
{
    int r = recover_tiles(v);

    if (r == 0)
        r = recover_leaves(v);
    if (r == 0)
        return 0;
    log_info("the tiles of the log's tree are missing or wrong: reading all lines");
    tiles_init(&v->ret->tiles);
    r = recover_leaves(v);
    if (r == -EBADMSG) {
        log_error("the log has %" PRIu64 " whole lines where its checkpoint signs %" PRIu64
                  " (or they were changed): "
                  "see cellctl verify; %s",
                  v->ret->tiles.size, v->checkpoint.size, RECOVER_REMEDY);
        return r;
    }
    return r < 0 ? log_errno(r, "cannot read the log") : 0;
}
