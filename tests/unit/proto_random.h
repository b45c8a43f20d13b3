/* SPDX-License-Identifier: MIT */
/* Repeatable random values: the same seed, the same test. */
#pragma once

#include "common/base/str.h"

struct rng {
    uint64_t s;
};

/* splitmix64 */
static inline uint64_t rng_next(struct rng *g)
{
    uint64_t z = g->s += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* 0 ... n - 1 */
static inline uint64_t rng_below(struct rng *g, uint64_t n)
{
    return rng_next(g) % n;
}

/* Every width is as likely as any other. */
static inline uint64_t rng_wide(struct rng *g)
{
    return rng_next(g) >> rng_below(g, 64);
}

static inline struct str rng_bytes(struct rng *g, char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)rng_below(g, 256);
    return (struct str){p, n};
}

/* n bytes of UTF-8 without NUL: one, two and three byte characters. */
static inline struct str rng_text(struct rng *g, char *p, size_t n)
{
    size_t at = 0;
    while (at < n) {
        uint64_t kind = rng_below(g, 8);
        if (kind == 0 && n - at >= 2) {
            p[at++] = (char)0xc3;
            p[at++] = (char)(0x80 + rng_below(g, 64));
        } else if (kind == 1 && n - at >= 3) {
            p[at++] = (char)0xe2;
            p[at++] = (char)(0x80 + rng_below(g, 64));
            p[at++] = (char)(0x80 + rng_below(g, 64));
        } else {
            p[at++] = (char)(1 + rng_below(g, 0x7f));
        }
    }
    return (struct str){p, n};
}
