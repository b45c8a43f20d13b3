/* SPDX-License-Identifier: MIT */
#include "common/evidence/tile.h"

#include <stdio.h>

void tiles_init(struct tiles *t)
{
    t->size = 0;
    memset(t->n, 0, sizeof(t->n));
}

void tiles_append(struct tiles *t, const uint8_t leaf[static DIGEST_LEN],
                  void (*full)(void *arg, unsigned level, uint64_t index, const uint8_t *data), void *arg)
{
    uint8_t carry[DIGEST_LEN];
    uint64_t index = t->size;

    memcpy(carry, leaf, DIGEST_LEN);
    t->size++;
    for (unsigned level = 0; level < TILE_LEVELS; level++) {
        memcpy(t->hash[level][t->n[level]++], carry, DIGEST_LEN);
        if (t->n[level] < TILE_WIDTH)
            return;
        index /= TILE_WIDTH;
        if (full)
            full(arg, level, index, t->hash[level][0]);
        merkle_perfect(t->hash[level][0], TILE_WIDTH, carry);
        t->n[level] = 0;
    }
}

void tiles_merkle(const struct tiles *t, struct merkle *ret)
{
    merkle_init(ret);
    ret->size = t->size;
    /* The tree's size in base 256 is n[]; each digit's bits are perfect subtrees, the greatest leftmost. */
    for (unsigned level = 0; level < TILE_LEVELS; level++) {
        unsigned at = 0;

        for (unsigned bit = 8; bit-- > 0;) {
            if (!(t->n[level] >> bit & 1))
                continue;
            merkle_perfect(t->hash[level][at], (size_t)1 << bit, ret->node[8 * level + bit]);
            at += 1u << bit;
        }
    }
}

void tile_path(unsigned level, uint64_t index, unsigned width, char dst[static TILE_PATH_MAX])
{
    unsigned group[7], n = 0;
    int at;

    do
        group[n++] = (unsigned)(index % 1000);
    while ((index /= 1000) > 0 && n < 7);
    at = snprintf(dst, TILE_PATH_MAX, "tile/%u", level % TILE_LEVELS);
    while (n-- > 1)
        at += snprintf(dst + at, TILE_PATH_MAX - (size_t)at, "/x%03u", group[n]);
    at += snprintf(dst + at, TILE_PATH_MAX - (size_t)at, "/%03u", group[0]);
    if (width > 0 && width < TILE_WIDTH)
        (void)snprintf(dst + at, TILE_PATH_MAX - (size_t)at, ".p/%u", width);
}
