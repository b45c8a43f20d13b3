/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/tile_tree.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/evidence/cosign.h"
#include "common/evidence/log_reader.h"
#include "common/evidence/tile_reader.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/outfile.h"
#include "supervisor/ctl/term.h"

#define TREE_BUNDLE_MAX (TILE_WIDTH * (2u + LOG_READER_LINE_MAX))

_Static_assert(LOG_READER_LINE_MAX <= UINT16_MAX, "an entry of a bundle counts its length in 16 bits");

static int tree_wrong(const struct tile_tree *t, const char *path, int r)
{
    return ctl_fail(CTL_FAILED, t->verb, "cannot %s %s: %s", path == t->log_path ? "read" : "write", path,
                    strerror(-r));
}

/* Many files: they are synced together before the checkpoint names them. */
static int tree_put(struct tile_tree *t, const char *path, struct str bytes)
{
    struct outfile_at o = {.dirfd = t->dir, .mode = 0644, .dir_mode = 0755};
    int r = outfile_replace_at(&o, path, bytes);

    return r < 0 ? tree_wrong(t, t->path, r) : CTL_OK;
}

/* tile/entries/<N>[.p/<W>] */
static void tree_entries_path(uint64_t index, unsigned width, char dst[static TILE_PATH_MAX + 8])
{
    const size_t level = sizeof("tile/0/") - 1;
    char path[TILE_PATH_MAX];

    tile_path(0, index, width, path);
    (void)snprintf(dst, TILE_PATH_MAX + 8, "tile/entries/%s", path + level);
}

/* ---- level 0 and the entries, in one pass over the lines ---- */

struct tree_pass {
    struct log_reader *reader;
    struct tile_reader *tiles; /* of the log: leaves of lines that were pruned */
    uint64_t first;            /* line that the reader begins with */
    struct buf bundle;
    uint8_t leaf[TILE_BYTES];
};

static void tree_pass_done(struct tree_pass *p)
{
    log_reader_free(p->reader);
    tile_reader_free(p->tiles);
    buf_done(&p->bundle);
}

static int tree_pass_open(struct tile_tree *t, struct tree_pass *p)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int r = log_reader_segments(t->head->fd, &segments);

    buf_init(&p->bundle, TREE_BUNDLE_MAX);
    if (r > 0) {
        p->first = t->from / TILE_WIDTH * TILE_WIDTH;
        if (segments[0] > p->first) /* pruned: whole tiles only, a bundle has all its entries */
            p->first = (segments[0] + TILE_WIDTH - 1) / TILE_WIDTH * TILE_WIDTH;
        r = log_reader_open(t->head->fd, p->first, &p->reader);
        if (r == -ENOENT) /* all lines of the head are gone, or none was there */
            r = 0;
    }
    if (r >= 0)
        r = tile_reader_open(t->head->fd, t->head->checkpoint.size, TILE_READER_TILES, &p->tiles);
    return r < 0 ? tree_wrong(t, t->log_path, r) : CTL_OK;
}

/* The lines of one bundle and their leaves. */
static int tree_pass_lines(struct tile_tree *t, struct tree_pass *p, unsigned width)
{
    buf_clear(&p->bundle);
    for (unsigned i = 0; i < width; i++) {
        struct log_line l;
        int r = p->reader ? log_reader_next(p->reader, &l) : -ENOENT;

        if (r < 0)
            return tree_wrong(t, t->log_path, r);
        if (r != LOG_READ_LINE)
            return ctl_fail(CTL_TAMPERED, t->verb,
                            "%s has fewer lines than its checkpoint signs: see `cellctl verify`",
                            t->log_path);
        buf_put_be16(&p->bundle, (uint16_t)l.text.len);
        buf_put_str(&p->bundle, l.text);
        merkle_leaf(l.text.p, l.text.len, p->leaf + (size_t)i * DIGEST_LEN);
    }
    return p->bundle.err ? tree_wrong(t, t->log_path, p->bundle.err) : CTL_OK;
}

static int tree_level0(struct tile_tree *t, struct tree_pass *p, uint64_t index, unsigned width)
{
    char path[TILE_PATH_MAX], entries[TILE_PATH_MAX + 8];
    unsigned have = width;
    int r;

    if (index * TILE_WIDTH < p->first) {
        r = tile_reader_tile(p->tiles, 0, index, p->leaf, &have);
        r = r < 0 ? tree_wrong(t, t->log_path, r) : CTL_OK;
    } else {
        r = tree_pass_lines(t, p, width);
        tree_entries_path(index, width, entries);
        if (r == CTL_OK)
            r = tree_put(t, entries, buf_str(&p->bundle));
        t->entries += width;
    }
    tile_path(0, index, width, path);
    if (r == CTL_OK)
        r = tree_put(t, path, (struct str){(const char *)p->leaf, (size_t)width * DIGEST_LEN});
    t->tiles++;
    return r;
}

static int tree_lines(struct tile_tree *t)
{
    _cleanup_(tree_pass_done) struct tree_pass p = {.reader = NULL};
    uint64_t size = t->head->checkpoint.size;
    int r = tree_pass_open(t, &p);

    for (uint64_t i = t->from / TILE_WIDTH; r == CTL_OK && i * TILE_WIDTH < size; i++) {
        uint64_t left = size - i * TILE_WIDTH;

        if (i % 64 == 0)
            term_status("%s: %" PRIu64 " of %" PRIu64 " events", t->path, i * TILE_WIDTH, size);
        r = tree_level0(t, &p, i, left < TILE_WIDTH ? (unsigned)left : TILE_WIDTH);
    }
    term_status_clear();
    return r;
}

/* ---- the levels above, from what now is in the directory ---- */

static int tree_level(struct tile_tree *t, struct tile_reader *made, unsigned level)
{
    uint64_t hashes = t->head->checkpoint.size >> 8 * level;
    uint64_t before = t->from >> 8 * level;
    uint8_t data[TILE_BYTES];
    char path[TILE_PATH_MAX];

    for (uint64_t i = before / TILE_WIDTH; i * TILE_WIDTH < hashes; i++) {
        unsigned width;
        int r = tile_reader_tile(made, level, i, data, &width);

        if (r < 0)
            return ctl_fail(CTL_FAILED, t->verb, "cannot make the tiles of level %u in %s: %s", level,
                            t->path, strerror(-r));
        tile_path(level, i, width, path);
        r = tree_put(t, path, (struct str){(const char *)data, (size_t)width * DIGEST_LEN});
        if (r != CTL_OK)
            return r;
        t->tiles++;
    }
    return CTL_OK;
}

static int tree_above(struct tile_tree *t)
{
    _cleanup_(tile_reader_freep) struct tile_reader *made = NULL;
    int r = tile_reader_open(t->dir, t->head->checkpoint.size, TILE_READER_TILES, &made);

    if (r < 0)
        return tree_wrong(t, t->path, r);
    for (unsigned level = 1; r == CTL_OK && level < TILE_LEVELS; level++)
        r = tree_level(t, made, level);
    return r;
}

/* ---- the checkpoint, last ---- */

static int tree_check(struct tile_tree *t)
{
    _cleanup_(tile_reader_freep) struct tile_reader *made = NULL;
    const struct checkpoint *c = &t->head->checkpoint;
    struct proof_source s;
    uint8_t root[DIGEST_LEN];
    int r = tile_reader_open(t->dir, c->size, TILE_READER_TILES, &made);

    if (r < 0)
        return tree_wrong(t, t->path, r);
    s = tile_reader_source(made);
    r = proof_root(&s, c->size, root);
    if (r < 0)
        return tree_wrong(t, t->path, r);
    if (memcmp(root, c->root, DIGEST_LEN) != 0)
        return ctl_fail(
            CTL_TAMPERED, t->verb,
            "the tree of %s is not the one that its checkpoint signs: nothing is published (`cellctl "
            "verify` says what is wrong; when the log is good, %s holds foreign tiles)",
            t->log_path, t->path);
    return CTL_OK;
}

static int tree_merge(void *arg, const char *name, struct str note, const struct checkpoint *c)
{
    _cleanup_(buf_done) struct buf merged = {.data = NULL};
    struct buf *all = arg;

    (void)name;
    (void)c;
    buf_init(&merged, CHECKPOINT_NOTE_MAX);
    if (cosign_merge(buf_str(all), note, &merged) < 0) /* of another size */
        return 0;
    buf_clear(all);
    buf_put_str(all, buf_str(&merged));
    return all->err;
}

static int tree_publish(struct tile_tree *t)
{
    struct outfile_at o = {.dirfd = t->dir, .mode = 0644, .dir_mode = 0755, .sync = true};
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    int r;

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    buf_put_str(&note, buf_str(&t->head->note));
    r = note.err;
    if (r == 0)
        r = loghead_each_witnessed(t->head, tree_merge, &note);
    if (r < 0)
        return tree_wrong(t, t->log_path, r);
    if (syncfs(t->dir) < 0)
        return tree_wrong(t, t->path, -errno);
    r = outfile_replace_at(&o, "checkpoint", buf_str(&note));
    return r < 0 ? tree_wrong(t, t->path, r) : CTL_OK;
}

int tile_tree_write(struct tile_tree *t)
{
    bool grown = t->from < t->head->checkpoint.size || t->from == 0;
    int r = grown ? tree_lines(t) : CTL_OK;

    if (r == CTL_OK && grown)
        r = tree_above(t);
    if (r == CTL_OK)
        r = tree_check(t);
    return r == CTL_OK ? tree_publish(t) : r;
}
