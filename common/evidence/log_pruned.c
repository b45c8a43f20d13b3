/* SPDX-License-Identifier: MIT */
#include "common/evidence/log_pruned.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/encoding.h"
#include "common/base/num.h"
#include "common/evidence/json_check.h"

#define LOG_PRUNED_TYPE "dev.cellos.events.cell.log.v1.pruned"

/* ---- the tree of the pruned part ---- */

struct pruned_walk {
    int dirfd;
    uint64_t size;
    struct log_pruned *p;
    struct tile_fault fault; /* error 0: none */
    bool edge;               /* first lies within a tile of leaves: */
    uint8_t edge_hash[DIGEST_LEN];
};

static void pruned_doubt(struct log_pruned *p, unsigned level, uint64_t index, unsigned width, unsigned entry)
{
    if (p->doubt)
        return;
    p->doubt = true;
    p->upper = (struct tile_fault){level, index, width, -EBADMSG};
    p->lower = (struct tile_fault){level - 1, index * TILE_WIDTH + entry, TILE_WIDTH, -EBADMSG};
}

static void pruned_compare(struct log_pruned *p, unsigned level, uint64_t index, unsigned width,
                           const uint8_t *computed, unsigned n, const uint8_t *stored)
{
    for (unsigned i = 0; i < n; i++)
        if (memcmp(computed + (size_t)i * DIGEST_LEN, stored + (size_t)i * DIGEST_LEN, DIGEST_LEN) != 0) {
            pruned_doubt(p, level, index, width, i);
            return;
        }
}

/* Callback of tiles_append: the stored tile must be the one that those below it make. */
static void pruned_full(void *arg, unsigned level, uint64_t index, const uint8_t *data)
{
    struct pruned_walk *w = arg;
    uint8_t stored[TILE_BYTES];
    int r;

    if (level == 0 || w->fault.error < 0)
        return;
    r = tile_load(w->dirfd, level, index, TILE_WIDTH, stored);
    if (r < 0)
        w->fault = (struct tile_fault){level, index, TILE_WIDTH, r};
    else
        pruned_compare(w->p, level, index, TILE_WIDTH, data, TILE_WIDTH, stored);
}

/* One of the stored tiles (level, index) that may exist. */
static void pruned_compare_edge(struct pruned_walk *w, const struct tiles *t, unsigned level, unsigned width)
{
    uint64_t index = t->size >> 8 * level >> 8;
    uint8_t stored[TILE_BYTES];
    unsigned n = t->n[level];

    if (width == 0 || width < n || tile_load(w->dirfd, level, index, width, stored) < 0)
        return;
    pruned_compare(w->p, level, index, width, t->hash[level][0], n, stored);
    if (level == 1 && w->edge && n < width &&
        memcmp(stored + (size_t)n * DIGEST_LEN, w->edge_hash, DIGEST_LEN) != 0)
        pruned_doubt(w->p, level, index, width, n);
}

/* The right-most tiles above level 0: full when the log has gone on far enough, else stored as partial ones
 * when signerd prunes (level 1) or ends. */
static void pruned_compare_edges(struct pruned_walk *w, const struct tiles *t)
{
    uint64_t leaf_tiles = (t->size + TILE_WIDTH - 1) / TILE_WIDTH;

    if (leaf_tiles / TILE_WIDTH == t->size >> 16)
        pruned_compare_edge(w, t, 1, (unsigned)(leaf_tiles % TILE_WIDTH));
    for (unsigned level = 1; level < TILE_LEVELS; level++) {
        uint64_t index = t->size >> 8 * level >> 8, have = w->size >> 8 * level;

        pruned_compare_edge(w, t, level,
                            have / TILE_WIDTH > index ? TILE_WIDTH : (unsigned)(have % TILE_WIDTH));
    }
}

static void pruned_append(struct pruned_walk *w, struct tiles *t, const uint8_t *leaf)
{
    struct log_pruned *p = w->p;

    tiles_append(t, leaf, pruned_full, w);
    if (t->size == p->mark) {
        struct merkle tree;

        tiles_merkle(t, &tree);
        merkle_root(&tree, p->mark_root);
        p->marked = true;
    }
}

static int pruned_walk_leaves(struct pruned_walk *w, struct tiles *t)
{
    uint8_t data[TILE_BYTES];

    while (t->size < w->p->first && w->fault.error == 0) {
        uint64_t index = t->size / TILE_WIDTH, left = w->p->first - t->size;
        int r = tile_load(w->dirfd, 0, index, TILE_WIDTH, data);

        if (r < 0)
            w->fault = (struct tile_fault){0, index, TILE_WIDTH, r};
        for (unsigned i = 0; r == 0 && i < TILE_WIDTH && i < left; i++)
            pruned_append(w, t, data + (size_t)i * DIGEST_LEN);
        w->edge = r == 0 && left < TILE_WIDTH;
        if (w->edge)
            merkle_perfect(data, TILE_WIDTH, w->edge_hash);
    }
    return w->fault.error;
}

int log_pruned_load(int dirfd, uint64_t first, uint64_t size, uint64_t mark, struct log_pruned *ret,
                    struct tile_fault *ret_fault)
{
    struct pruned_walk w = {.dirfd = dirfd, .size = size, .p = ret};
    struct tiles *t = malloc(sizeof(*t));
    int r;

    if (!t)
        return -ENOMEM;
    *ret = (struct log_pruned){.first = first, .mark = mark};
    tiles_init(t);
    r = pruned_walk_leaves(&w, t);
    if (r == 0)
        pruned_compare_edges(&w, t);
    else
        *ret_fault = w.fault;
    tiles_merkle(t, &ret->tree);
    free(t);
    return r;
}

void log_pruned_fault(const struct tile_fault *f, char why[static LOG_PRUNED_WHY_MAX])
{
    char path[TILE_PATH_MAX];

    tile_path(f->level, f->index, f->width, path);
    (void)snprintf(
        why, LOG_PRUNED_WHY_MAX,
        "%s, which stands for lines that were pruned, is %s: restore that file from a copy of the log", path,
        f->error == -ENOENT ? "missing" : "not the one that was signed");
}

/* ---- the events ---- */

bool log_pruned_is_event(const struct envelope *e)
{
    return str_is(e->type, LOG_PRUNED_TYPE);
}

static int __attribute__((format(printf, 2, 3))) pruned_wrong(char *why, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(why, LOG_PRUNED_WHY_MAX, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

static int pruned_uint(const struct envelope *e, const char *name, uint64_t *ret)
{
    struct str text;

    return json_check_member(e->data, name, &text) < 0 || num_parse_u64(text, 0, UINT64_MAX, ret) < 0
               ? -EBADMSG
               : 0;
}

static int pruned_root(const struct envelope *e, uint8_t ret[static DIGEST_LEN])
{
    static const char prefix[] = "\"sha256:";
    const size_t n = sizeof(prefix) - 1;
    struct str text;

    if (json_check_member(e->data, "root", &text) < 0 || text.len != n + 2 * DIGEST_LEN + 1 ||
        memcmp(text.p, prefix, n) != 0)
        return -EBADMSG;
    return encoding_hex_get((struct str){text.p + n, 2 * DIGEST_LEN}, ret, DIGEST_LEN);
}

int log_pruned_event(struct log_pruned *p, const struct envelope *e, char why[static LOG_PRUNED_WHY_MAX])
{
    uint8_t root[DIGEST_LEN], have[DIGEST_LEN];
    uint64_t begin, lines;

    if (pruned_uint(e, "firstIndex", &begin) < 0 || pruned_uint(e, "lines", &lines) < 0 ||
        pruned_root(e, root) < 0)
        return pruned_wrong(why, "log.v1.pruned without the lines and the root it is about");
    if (lines == 0 || begin >= e->sequence || lines > e->sequence - begin)
        return pruned_wrong(why, "log.v1.pruned speaks of lines that do not come before it");
    if (p->any ? begin != p->end && (begin != p->begin || begin + lines != p->end)
               : p->first == 0 && begin != 0)
        return pruned_wrong(why, "log.v1.pruned begins with line %" PRIu64 " where line %" PRIu64 " is due",
                            begin + 1, p->end + 1);
    p->any = true;
    p->begin = begin;
    p->end = begin + lines;
    if (p->end > p->first)
        return 0;
    p->reached = p->end;
    if (p->end < p->first)
        return 0;
    merkle_root(&p->tree, have);
    return memcmp(root, have, DIGEST_LEN) == 0
               ? 0
               : pruned_wrong(why,
                              "log.v1.pruned seals another root than the tiles of the pruned lines have");
}

int log_pruned_end(const struct log_pruned *p, char why[static LOG_PRUNED_WHY_MAX])
{
    if (p->reached == p->first)
        return 0;
    return pruned_wrong(
        why, "lines %" PRIu64 " to %" PRIu64 " are missing, and no log.v1.pruned event accounts for them",
        p->reached + 1, p->first);
}
