/* SPDX-License-Identifier: MIT */
#include "common/evidence/log_locate.h"

#include "common/evidence/tile_reader.h"

/* 1: this line has another hash than its tile says; 0: the same; -errno. */
static int log_locate_line(const struct proof_source *tiles, const struct log_line *l)
{
    uint8_t leaf[DIGEST_LEN], want[DIGEST_LEN];
    int r = tiles->hash(tiles->arg, 0, l->index, want);

    if (r < 0)
        return r;
    merkle_leaf(l->text.p, l->text.len, leaf);
    return memcmp(leaf, want, DIGEST_LEN) != 0;
}

int log_locate(int dirfd, const struct checkpoint *c, uint64_t from, struct log_line *ret)
{
    _cleanup_(tile_reader_freep) struct tile_reader *tiles = NULL;
    _cleanup_(log_reader_freep) struct log_reader *lines = NULL;
    struct proof_source source;
    uint8_t root[DIGEST_LEN];
    struct log_line l;
    int r = tile_reader_open(dirfd, c->size, TILE_READER_TILES, &tiles);

    if (r < 0)
        return r;
    source = tile_reader_source(tiles);
    if (proof_root(&source, c->size, root) < 0 || memcmp(root, c->root, DIGEST_LEN) != 0)
        return 0;
    if (log_reader_open(dirfd, from, &lines) < 0)
        return 0;
    while ((r = log_reader_next(lines, &l)) == LOG_READ_LINE && l.index < c->size) {
        r = log_locate_line(&source, &l);
        if (r < 0)
            return r;
        if (r > 0) {
            l.text = STR_NONE;
            *ret = l;
            return 1;
        }
    }
    return r < 0 ? r : 0;
}
