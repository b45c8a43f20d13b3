/* SPDX-License-Identifier: MIT */
/* Random records of any schema, their comparison, and the list of all schemas: from the tables, so that a new
 * message or event is tested the day it is added. */
#pragma once

#include "proto/iface.h"
#include "tests/unit/proto_random.h"

#define RECORDS_MAX 256

struct records {
    const struct schema *v[RECORDS_MAX];
    size_t n;
};

static inline void records_add(struct records *r, const struct schema *s)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i] == s)
            return;
    if (r->n == RECORDS_MAX)
        abort();
    r->v[r->n++] = s;
    for (size_t i = 0; i < s->n; i++)
        if (s->fields[i].sub)
            records_add(r, s->fields[i].sub);
}

/* Of every message of every interface, every document and every event, with what they contain. */
static inline struct records records_all(void)
{
    struct records r = {.n = 0};
    records_add(&r, &schema_hello);
    records_add(&r, &schema_error);
    for (size_t k = 0; iface_all[k]; k++)
        for (size_t i = 0; i < iface_all[k]->n; i++)
            records_add(&r, iface_all[k]->rows[i].rec);
    records_add(&r, &schema_policy);
    records_add(&r, &schema_launch);
    for (uint64_t t = 1; event_row(t); t++)
        records_add(&r, event_row(t)->data);
    return r;
}

static inline void *records_alloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    if (!p)
        abort();
    return p;
}

/* ---- make ---- */

/* How big a random record may get: at most this many bytes a text and entries a list, whatever its bound. */
struct record_size {
    uint64_t bytes, entries;
};
static const struct record_size record_small = {40, 3};

static inline uint64_t record_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline struct str record_str(struct rng *g, struct arena *a, uint64_t max, bool text)
{
    size_t n = (size_t)rng_below(g, max + 1);
    char *p = records_alloc(a, n + 1);
    return text ? rng_text(g, p, n) : rng_bytes(g, p, n);
}

static inline void *record_random(struct rng *g, struct arena *a, const struct schema *s,
                                  struct record_size size);

static inline uint64_t record_number(struct rng *g, uint64_t max)
{
    uint64_t v = rng_below(g, 4) == 0 ? max : rng_wide(g);
    return max == UINT64_MAX ? v : v % (max + 1);
}

static inline void record_random_scalar(struct rng *g, const struct field *f, char *m)
{
    uint64_t v = f->kind == FIELD_ENUM ? 1 + rng_below(g, f->names->n)
                                       : record_number(g, f->kind == FIELD_BOOL ? 1 : f->max);
    if (f->kind == FIELD_ENUM)
        *(uint32_t *)(void *)m = (uint32_t)v;
    else if (f->kind == FIELD_UINT && f->optional)
        *(struct opt_uint *)(void *)m = OPT_UINT(v);
    else if (f->kind == FIELD_UINT)
        *(uint64_t *)(void *)m = v;
    else if (f->kind == FIELD_INT && f->optional)
        *(struct opt_int *)(void *)m = OPT_INT(rng_below(g, 2) ? (int64_t)v : -(int64_t)v);
    else if (f->kind == FIELD_INT)
        *(int64_t *)(void *)m = rng_below(g, 2) ? (int64_t)v : -(int64_t)v;
    else if (f->optional)
        *(struct opt_bool *)(void *)m = OPT_BOOL(v != 0);
    else
        *(bool *)m = v != 0;
}

static inline void record_random_list(struct rng *g, struct arena *a, const struct field *f, char *m,
                                      size_t n, struct record_size size)
{
    if (f->kind == FIELD_STRS) {
        struct str *v = records_alloc(a, n * sizeof(*v));
        for (size_t i = 0; i < n; i++)
            v[i] = record_str(g, a, record_min(f->entry_max, size.bytes), true);
        *(struct strs *)(void *)m = (struct strs){v, n};
        return;
    }
    char *v = records_alloc(a, n * f->sub->size);
    for (size_t i = 0; i < n; i++)
        memcpy(v + i * f->sub->size, record_random(g, a, f->sub, size), f->sub->size);
    *(struct schema_list *)(void *)m = (struct schema_list){v, n};
}

static inline void record_random_field(struct rng *g, struct arena *a, const struct field *f, char *m,
                                       struct record_size size)
{
    if (f->kind == FIELD_STR || f->kind == FIELD_BIN)
        *(struct str *)(void *)m = record_str(g, a, record_min(f->max, size.bytes), f->kind == FIELD_STR);
    else if (f->kind == FIELD_OBJ)
        *(const void **)(void *)m = record_random(g, a, f->sub, size);
    else if (f->kind == FIELD_STRS || f->kind == FIELD_LIST)
        record_random_list(g, a, f, m, (size_t)rng_below(g, record_min(f->max, size.entries) + 1), size);
    else
        record_random_scalar(g, f, m);
}

/* A record within all its bounds; optional fields are absent half the time. */
static inline void *record_random(struct rng *g, struct arena *a, const struct schema *s,
                                  struct record_size size)
{
    char *rec = records_alloc(a, s->size);
    for (size_t i = 0; i < s->n; i++)
        if (!s->fields[i].optional || rng_below(g, 2))
            record_random_field(g, a, &s->fields[i], rec + s->fields[i].offset, size);
    return rec;
}

/* ---- compare ---- */

static inline bool record_same(const struct schema *s, const char *x, const char *y);

static inline bool record_same_list(const struct field *f, const struct schema_list *x,
                                    const struct schema_list *y)
{
    if (x->n != y->n || !x->v != !y->v)
        return false;
    for (size_t i = 0; i < x->n; i++) {
        if (f->kind == FIELD_STRS) {
            if (!str_eq(((const struct str *)x->v)[i], ((const struct str *)y->v)[i]))
                return false;
        } else if (!record_same(f->sub, (const char *)x->v + i * f->sub->size,
                                (const char *)y->v + i * f->sub->size)) {
            return false;
        }
    }
    return true;
}

static inline bool record_same_scalar(const struct field *f, const void *x, const void *y)
{
    switch (f->kind) {
    case FIELD_UINT:
    case FIELD_INT: /* the same width and layout */
        if (!f->optional)
            return *(const uint64_t *)x == *(const uint64_t *)y;
        return ((const struct opt_uint *)x)->set == ((const struct opt_uint *)y)->set &&
               ((const struct opt_uint *)x)->v == ((const struct opt_uint *)y)->v;
    case FIELD_BOOL:
        if (!f->optional)
            return *(const bool *)x == *(const bool *)y;
        return ((const struct opt_bool *)x)->set == ((const struct opt_bool *)y)->set &&
               ((const struct opt_bool *)x)->v == ((const struct opt_bool *)y)->v;
    default:
        return *(const uint32_t *)x == *(const uint32_t *)y;
    }
}

static inline bool record_same_field(const struct field *f, const char *x, const char *y)
{
    if (f->kind == FIELD_STR || f->kind == FIELD_BIN) {
        const struct str *a = (const void *)x, *b = (const void *)y;
        return str_eq(*a, *b) && !a->p == !b->p;
    }
    if (f->kind == FIELD_STRS || f->kind == FIELD_LIST)
        return record_same_list(f, (const void *)x, (const void *)y);
    if (f->kind == FIELD_OBJ) {
        const void *a = *(const void *const *)(const void *)x, *b = *(const void *const *)(const void *)y;
        return !a == !b && (!a || record_same(f->sub, a, b));
    }
    return record_same_scalar(f, x, y);
}

static inline bool record_same(const struct schema *s, const char *x, const char *y)
{
    for (size_t i = 0; i < s->n; i++)
        if (!record_same_field(&s->fields[i], x + s->fields[i].offset, y + s->fields[i].offset))
            return false;
    return true;
}

/* ---- encode piece by piece, so that a test can put anything into one place ---- */

static inline int record_encode_field(const struct field *f, const void *rec, struct buf *b)
{
    const struct schema one = {"one", 0, f, 1};
    return codec_encode_fields(&one, rec, b);
}
