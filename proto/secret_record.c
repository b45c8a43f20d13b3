/* SPDX-License-Identifier: MIT */
#include "proto/secret_record.h"

#include <stdio.h>

/* Where the walk is. Looking ends at the first text that holds a value; masking goes through all of them. */
struct walk {
    const struct secret_marks *marks;
    const struct redact *redact;
    bool mask, found;
    const char *name;
    char *path; /* SECRET_PATH_MAX; NULL: nobody asks */
    size_t len;
};

static void walk_record(struct walk *w, const struct schema *s, void *rec);

/* The length before, for leave(). A path that does not fit is cut. */
static size_t enter(struct walk *w, const char *what)
{
    size_t before = w->len, n = strlen(what);

    if (!w->path)
        return before;
    if (n > SECRET_PATH_MAX - 1 - before)
        n = SECRET_PATH_MAX - 1 - before;
    memcpy(w->path + before, what, n);
    w->len += n;
    w->path[w->len] = '\0';
    return before;
}

static size_t enter_index(struct walk *w, size_t i)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "[%zu]", i);
    return enter(w, text);
}

static size_t enter_field(struct walk *w, const struct field *f)
{
    size_t before = enter(w, ".");

    (void)enter(w, f->name);
    return before;
}

static void leave(struct walk *w, size_t before)
{
    if (w->found && !w->mask)
        return; /* the path stays */
    w->len = before;
    if (w->path)
        w->path[before] = '\0';
}

static void walk_text(struct walk *w, struct str *s, size_t max)
{
    const char *name = s->p ? secret_marks_find(w->marks, *s) : NULL;

    if (!name)
        return;
    w->found = true;
    w->name = name;
    if (w->mask)
        *s = max >= sizeof(REDACT_SHOWN) - 1 ? STR_LIT(REDACT_SHOWN) : STR_LIT("");
}

static bool ended(const struct walk *w)
{
    return w->found && !w->mask;
}

static void walk_strs(struct walk *w, const struct field *f, struct strs *l)
{
    for (size_t i = 0; i < l->n && !ended(w); i++) {
        size_t before = enter_index(w, i);

        walk_text(w, (struct str *)&l->v[i], f->entry_max);
        leave(w, before);
    }
}

static void walk_list(struct walk *w, const struct field *f, struct schema_list *l)
{
    for (size_t i = 0; i < l->n && !ended(w); i++) {
        size_t before = enter_index(w, i);

        walk_record(w, f->sub, (char *)l->v + i * f->sub->size);
        leave(w, before);
    }
}

static void walk_field(struct walk *w, const struct field *f, void *at)
{
    switch (f->kind) {
    case FIELD_STR:
    case FIELD_BIN:
        walk_text(w, at, f->max);
        break;
    case FIELD_STRS:
        walk_strs(w, f, at);
        break;
    case FIELD_LIST:
        walk_list(w, f, at);
        break;
    case FIELD_OBJ:
        if (*(void **)at)
            walk_record(w, f->sub, *(void **)at);
        break;
    case FIELD_UINT: /* numbers and words of the suite's own */
    case FIELD_INT:
    case FIELD_BOOL:
    case FIELD_ENUM:
        break;
    }
}

static void walk_record(struct walk *w, const struct schema *s, void *rec)
{
    for (size_t i = 0; i < s->n && !ended(w); i++) {
        const struct field *f = &s->fields[i];
        size_t before;

        if (redact_has(w->redact, f))
            continue;
        before = enter_field(w, f);
        walk_field(w, f, (char *)rec + f->offset);
        leave(w, before);
    }
}

const char *secret_record_find(const struct secret_marks *m, const struct redact *redact,
                               const struct schema *s, const void *rec, char path[static SECRET_PATH_MAX])
{
    struct walk w = {.marks = m, .redact = redact, .path = path};

    if (!m || secret_marks_count(m) == 0)
        return NULL;
    (void)enter(&w, "data");
    walk_record(&w, s, (void *)rec); /* read only, unless it masks */
    return w.name;
}

bool secret_record_mask(const struct secret_marks *m, const struct schema *s, void *rec)
{
    struct walk w = {.marks = m, .mask = true};

    if (m && secret_marks_count(m) > 0)
        walk_record(&w, s, rec);
    return w.found;
}
