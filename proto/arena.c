/* SPDX-License-Identifier: MIT */
#include <stdalign.h>

#include "proto/codec.h"

struct arena_chunk {
    struct arena_chunk *next;
    alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

void arena_done(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->next;
        free(c);
    }
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t left = a->max - a->used;
    if (left < sizeof(struct arena_chunk) || n > left - sizeof(struct arena_chunk))
        return NULL;
    size_t want = sizeof(struct arena_chunk) + n;
    struct arena_chunk *c = calloc(1, want);
    if (!c)
        return NULL;
    c->next = a->chunks;
    a->chunks = c;
    a->used += want;
    return c->data;
}

struct str arena_copy(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.len + 1);
    if (!p)
        return STR_NONE;
    if (s.len > 0)
        memcpy(p, s.p, s.len);
    return (struct str){p, s.len};
}
