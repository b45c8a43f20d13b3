/* SPDX-License-Identifier: MIT */
#include "signerd/recover_internal.h"

#include <inttypes.h>

#include "common/base/log.h"
#include "common/evidence/log_pruned.h"

/* Everything but the leaves of the unfinished tile of level 0, out of the stored tiles. */
static int recover_tiles(struct recover *v)
{
    uint64_t size = v->checkpoint.size;
    struct tile_fault fault;

    return tile_load_tree(disk_dirfd(v->disk), size - size % TILE_WIDTH, &v->ret->tiles, &fault);
}

void recover_store_tile(void *arg, unsigned level, uint64_t index, const uint8_t *data)
{
    const struct recover *v = arg;
    struct disk_tile t = {.level = level, .index = index, .width = TILE_WIDTH};

    if (v->keep_tiles)
        return;
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
    uint8_t leaf[DIGEST_LEN], tile[TILE_BYTES];
    int r = recover_next_leaf(v, leaf);

    if (r < 0)
        return r;
    r = tile_load(disk_dirfd(v->disk), 0, v->checkpoint.size / TILE_WIDTH - 1, TILE_WIDTH, tile);
    return r == 0 && memcmp(tile + TILE_BYTES - DIGEST_LEN, leaf, DIGEST_LEN) == 0 ? 0 : -EBADMSG;
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

static int recover_wrong_lines(const struct recover *v)
{
    log_error("the log has %" PRIu64 " whole lines where its checkpoint signs %" PRIu64
              " (or they were changed): see cellctl verify; %s",
              v->ret->tiles.size, v->checkpoint.size, RECOVER_REMEDY);
    return -EBADMSG;
}

/* The lines that are left and the tiles of the others do not lead to the signed root. */
static int recover_wrong_tiles(const struct recover *v, uint64_t first)
{
    char why[LOG_PRUNED_WHY_MAX];
    struct log_pruned pruned;
    struct tile_fault fault;
    int r = log_pruned_load(disk_dirfd(v->disk), first, v->checkpoint.size, UINT64_MAX, &pruned, &fault);

    if (r == 0 && !pruned.doubt)
        return recover_wrong_lines(v);
    if (r < 0 && r != -ENOENT && r != -EBADMSG)
        return r;
    log_pruned_fault(r < 0 ? &fault : &pruned.lower, why);
    log_error("%s, or move the log's directory away to begin a new log", why);
    return -EBADMSG;
}

/* Line `first` is the first that retention has left. What was before is in the tiles and nowhere else, so
 * nothing is written over them unless all of it leads to the signed root. */
static int recover_pruned(struct recover *v, uint64_t first)
{
    struct tile_fault fault;
    char why[LOG_PRUNED_WHY_MAX];
    int r = 0;

    for (unsigned pass = 0; r == 0 && pass < 2; pass++) {
        v->keep_tiles = pass == 0;
        r = tile_load_tree(disk_dirfd(v->disk), first, &v->ret->tiles, &fault);
        if (r == -ENOENT || r == -EBADMSG) {
            log_pruned_fault(&fault, why);
            log_error("%s, or move the log's directory away to begin a new log", why);
            return -EBADMSG;
        }
        if (r == 0)
            r = recover_leaves(v);
        if (r == -EBADMSG)
            return recover_wrong_tiles(v, first);
    }
    v->keep_tiles = false;
    return r;
}

/* The first line there is. 0 or -errno. */
static int recover_first(const struct recover *v, uint64_t *ret)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(disk_dirfd(v->disk), &segments);

    *ret = n > 0 ? segments[0] : 0;
    return n < 0 ? n : 0;
}

int recover_tree(struct recover *v)
{
    uint64_t first = 0;
    int r = recover_tiles(v);

    if (r == 0)
        r = recover_leaves(v);
    if (r == 0)
        return 0;
    log_info("the tiles of the log's tree are missing or wrong: reading all lines");
    r = recover_first(v, &first);
    if (r == 0 && first > 0) {
        r = recover_pruned(v, first);
    } else if (r == 0) {
        tiles_init(&v->ret->tiles);
        r = recover_leaves(v);
        if (r == -EBADMSG)
            return recover_wrong_lines(v);
    }
    return r < 0 && r != -EBADMSG ? log_errno(r, "cannot read the log") : r;
}
