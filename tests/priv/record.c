/* SPDX-License-Identifier: MIT */
#include "tests/priv/record.h"

static struct str record_text(const char *name)
{
    if (strcmp(name, "runId") == 0)
        return STR_LIT("0190a0b0-c0d0-7000-8000-000000000001");
    if (strcmp(name, "since") == 0 || strcmp(name, "until") == 0)
        return STR_LIT("2026-01-01T00:00:00Z");
    return STR_LIT("x");
}

static bool record_field(const struct field *f, void *at, struct arena *a)
{
    void *sub;

    switch (f->kind) {
    case FIELD_ENUM:
        *(uint32_t *)at = 1;
        return true;
    case FIELD_STR:
        *(struct str *)at = record_text(f->name);
        return true;
    case FIELD_BIN:
        /* the fields of 32 bytes are digests */
        *(struct str *)at = (struct str){arena_alloc(a, 32), f->max == 32 ? 32 : 0};
        return ((struct str *)at)->p;
    case FIELD_STRS:
    case FIELD_LIST:
        *(struct strs *)at = (struct strs){arena_alloc(a, sizeof(struct str)), 0};
        return ((struct strs *)at)->v;
    case FIELD_OBJ:
        sub = record_least(f->sub, a);
        *(void **)at = sub;
        return sub;
    default: /* numbers: zero */
        return true;
    }
}

void *record_least(const struct schema *s, struct arena *a)
{
    char *rec = arena_alloc(a, s->size);

    for (size_t i = 0; rec && i < s->n; i++)
        if (!s->fields[i].optional && !record_field(&s->fields[i], rec + s->fields[i].offset, a))
            return NULL;
    return rec;
}

void record_set(const struct schema *s, void *rec, const char *name, struct str text)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->fields[i].kind == FIELD_STR && strcmp(s->fields[i].name, name) == 0)
            *(struct str *)(void *)((char *)rec + s->fields[i].offset) = text;
}
