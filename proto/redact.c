/* SPDX-License-Identifier: MIT */
#include "proto/redact.h"

#include <stdio.h>

#include "common/base/nearest.h"

#define REDACT_WORDS_MAX 1024u /* names that "did you mean" looks at */

/* Names that are needed to read or to verify what is sealed. */
static const struct {
    const char *name, *why;
} redact_never[] = {
    {"cellId", "it repeats the signed subject, and verification compares the two"},
    {"specId", "it repeats the signed subject, and verification compares the two"},
    {"runId", "it repeats a signed attribute, and verification compares the two"},
    {"policyDigest", "it says under which policy the event came about"},
    {"correlationId", "it is how other systems find the run"},
    {"keysetId", "it says under which keys the event came about"},
    {"issuerKid", "it says under which keys the event came about"},
    {"redacted", "it says what was redacted"},
    {"sequence", "an evidence bundle names its events by it"},
    {"type", "an evidence bundle names its events by it"},
    {"action", "it is what was decided"},
    {"outcome", "it is how the run ended"},
    {"lost", "what was left out is always counted"},
};

static const char *const redact_defaults[] = {"argv", "path", "reason"};

/* Only signerd says it. */
static bool redact_is_own(const struct event_row *row)
{
    return row->roles == 1u << ROLE_SIGNERD;
}

/* Calls fn for every field of a schema, at every depth. A schema is never part of itself. */
static void redact_walk(const struct schema *s, void (*fn)(void *arg, const struct field *f), void *arg)
{
    for (size_t i = 0; i < s->n; i++) {
        fn(arg, &s->fields[i]);
        if (s->fields[i].sub)
            redact_walk(s->fields[i].sub, fn, arg);
    }
}

static void redact_walk_events(bool own, void (*fn)(void *arg, const struct field *f), void *arg)
{
    for (uint64_t type = 1; type < _EVENT_TYPE_MAX; type++)
        if (redact_is_own(event_row(type)) == own)
            redact_walk(event_row(type)->data, fn, arg);
}

/* ---- the table of fields ---- */

static size_t redact_slot(const struct redact *r, const struct field *f)
{
    size_t i = ((uintptr_t)f / sizeof(void *) * 0x9e3779b1u >> 7) % REDACT_SLOTS;

    while (r->slot[i] && r->slot[i] != f)
        i = (i + 1) % REDACT_SLOTS;
    return i;
}

bool redact_has(const struct redact *r, const struct field *f)
{
    return r && r->n > 0 && r->slot[redact_slot(r, f)] == f;
}

struct redact_search {
    struct redact *r; /* NULL: only look */
    struct str name;
    const char *found;
};

static void redact_on_field(void *arg, const struct field *f)
{
    struct redact_search *s = arg;
    size_t i;

    if (!str_is(s->name, f->name))
        return;
    s->found = f->name;
    if (!s->r)
        return;
    i = redact_slot(s->r, f);
    if (!s->r->slot[i] && s->r->nslots < REDACT_SLOTS / 2) {
        s->r->slot[i] = f;
        s->r->nslots++;
    }
}

/* ---- names ---- */

struct redact_words {
    const char *word[REDACT_WORDS_MAX];
    size_t n;
};

static void redact_on_word(void *arg, const struct field *f)
{
    struct redact_words *w = arg;

    if (w->n < REDACT_WORDS_MAX)
        w->word[w->n++] = f->name;
}

static int redact_unknown(struct str name, char why[static REDACT_WHY_MAX])
{
    struct redact_words words = {.n = 0};
    char text[64], shown[80];
    const char *near;

    redact_walk_events(false, redact_on_word, &words);
    (void)snprintf(text, sizeof(text), "%.*s", (int)(name.len < 63 ? name.len : 63), name.p ? name.p : "");
    near = nearest_word(text, words.word, words.n);
    (void)str_escape(shown, sizeof(shown), text, strlen(text));
    (void)snprintf(why, REDACT_WHY_MAX,
                   near ? "no event has a field \"%s\": did you mean \"%s\"?"
                        : "no event has a field \"%s\"%s",
                   shown, near ? near : "");
    return REDACT_REFUSED;
}

static int redact_one(struct redact *r, struct str name, char why[static REDACT_WHY_MAX])
{
    struct redact_search search = {.name = name};

    for (size_t i = 0; i < ARRAY_LEN(redact_never); i++)
        if (str_is(name, redact_never[i].name)) {
            (void)snprintf(why, REDACT_WHY_MAX, "\"%s\" cannot be redacted: %s", redact_never[i].name,
                           redact_never[i].why);
            return REDACT_REFUSED;
        }
    for (size_t i = 0; i < r->n; i++)
        if (str_eq(r->name[i], name))
            return REDACT_OK;
    redact_walk_events(false, redact_on_field, &search);
    if (!search.found) {
        redact_walk_events(true, redact_on_field, &search);
        if (!search.found)
            return redact_unknown(name, why);
        (void)snprintf(why, REDACT_WHY_MAX,
                       "\"%s\" cannot be redacted: only events of the log itself have it, and verification "
                       "reads them",
                       search.found);
        return REDACT_REFUSED;
    }
    if (r->n == LIMIT_REDACT_NAMES) {
        (void)snprintf(why, REDACT_WHY_MAX, "more than %u names", LIMIT_REDACT_NAMES);
        return REDACT_REFUSED;
    }
    r->name[r->n++] = str_of(search.found);
    search.r = r;
    redact_walk_events(false, redact_on_field, &search);
    return REDACT_OK;
}

int redact_add(struct redact *r, struct str name, char why[static REDACT_WHY_MAX])
{
    if (!str_is(name, REDACT_DEFAULTS))
        return redact_one(r, name, why);
    for (size_t i = 0; i < ARRAY_LEN(redact_defaults); i++)
        if (redact_one(r, str_of(redact_defaults[i]), why) != REDACT_OK)
            return REDACT_REFUSED;
    return REDACT_OK;
}

int redact_parse(struct redact *r, struct str text, char why[static REDACT_WHY_MAX])
{
    for (bool more = true; more;) {
        const char *comma = text.len ? memchr(text.p, ',', text.len) : NULL;
        struct str one = {text.p, comma ? (size_t)(comma - text.p) : text.len};
        int r1 = redact_add(r, one, why);

        if (r1 != REDACT_OK)
            return r1;
        more = comma != NULL;
        text = (struct str){text.p + one.len + more, text.len - one.len - more};
    }
    return REDACT_OK;
}

const char *redact_format(const struct redact *r, char dst[static REDACT_TEXT_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++)
        n += (size_t)snprintf(dst + n, REDACT_TEXT_MAX - n, "%s%.*s", i ? "," : "", (int)r->name[i].len,
                              r->name[i].p);
    dst[n] = '\0';
    return dst;
}
