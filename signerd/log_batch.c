/* SPDX-License-Identifier: MIT */
#include "common/evidence/link.h"
#include "signerd/authority.h"
#include "signerd/log_internal.h"

/* Whether this end event still fits into what its cell has left; or the event that makes room. */
static bool elog_fits_reserve(const struct elog *l, const struct claim *c, size_t len)
{
    bool last = c->row->type == EVENT_COMPLETED || c->row->type == EVENT_DESTROYED;

    if (c->row->type == EVENT_PRUNED)
        return len <= l->prune_left;
    return c->cell && authority_is_end(c->row->type) &&
           c->cell->reserve >= len + (last ? 0 : ELOG_LAST_RESERVE);
}

static void elog_full_tile(void *arg, unsigned level, uint64_t index, const uint8_t *data)
{
    struct elog *l = arg;

    if (l->nbatch_tiles == l->cap_batch_tiles) {
        size_t cap = l->cap_batch_tiles ? 2 * l->cap_batch_tiles : 4;
        struct disk_tile *more = reallocarray(l->batch_tiles, cap, sizeof(*more));

        if (!more)
            return; /* a tile can be made again */
        l->batch_tiles = more;
        l->cap_batch_tiles = cap;
    }
    struct disk_tile *t = &l->batch_tiles[l->nbatch_tiles++];
    t->level = level;
    t->index = index;
    t->width = TILE_WIDTH;
    memcpy(t->data, data, TILE_BYTES);
}

/* What the line means for its cell: its number in the run, the reserve taken for it or eaten by it. */
static void elog_account(struct elog *l, struct cell *cell, const struct claim *c)
{
    cell->cellsequence++;
    if (l->emergency) {
        cell->reserve -= c->line_len;
        l->reserve -= c->line_len;
    } else if (c->row->type == EVENT_STARTED) {
        cell->reserve += LIMIT_END_RESERVE;
        l->reserve += LIMIT_END_RESERVE;
    }
}

int elog_seal(struct elog *l, struct claim *c)
{
    size_t start = l->lines.len;
    int r;

    link_id(&l->tree, c->stamp.id);
    r = seal_line(&l->seal, c->role, c->row, &c->stamp, c->cell, c->cell ? c->cell->cellsequence + 1 : 0,
                  (struct str){c->json, c->len}, l->tree.size, &l->lines, c->leaf);

    if (r < 0)
        return r;
    c->line_len = l->lines.len - start;
    if (l->emergency && !elog_fits_reserve(l, c, c->line_len)) {
        l->lines.len = start;
        return -ENOSPC;
    }
    c->sequence = l->tree.size;
    merkle_append(&l->tree, c->leaf);
    tiles_append(&l->tiles, c->leaf, elog_full_tile, l);
    if (c->cell)
        elog_account(l, c->cell, c);
    else if (l->emergency)
        l->prune_left -= c->line_len;
    return 0;
}

void elog_unseal(struct elog *l, struct claim *c)
{
    struct cell *cell = c->cell;

    if (!cell) {
        l->prune_left += l->emergency ? c->line_len : 0;
        return;
    }
    cell->cellsequence--;
    if (l->emergency) {
        cell->reserve += c->line_len;
        l->reserve += c->line_len;
    } else if (c->row->type == EVENT_STARTED) {
        cell->reserve -= LIMIT_END_RESERVE;
        l->reserve -= LIMIT_END_RESERVE;
    }
}
