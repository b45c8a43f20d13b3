/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/events_filter.h"

#include <fnmatch.h>
#include <stdio.h>

#include "common/base/nearest.h"
#include "common/base/uuid.h"
#include "proto/events.h"
#include "supervisor/ctl/report_rows.h"
#include "supervisor/ctl/run_find.h"

/* "lifecycle.v1.started" -> "started" */
static const char *short_name(const char *suffix)
{
    const char *dot = strrchr(suffix, '.');
    return dot ? dot + 1 : suffix;
}

/* The whole type, the part behind our prefix, or its last word. */
static bool type_matches(const char *pattern, const char *suffix)
{
    char whole[sizeof(EVENT_TYPE_PREFIX) + EVENTS_TYPE_MAX];
    (void)snprintf(whole, sizeof(whole), EVENT_TYPE_PREFIX "%s", suffix);
    return fnmatch(pattern, suffix, 0) == 0 || fnmatch(pattern, short_name(suffix), 0) == 0 ||
           fnmatch(pattern, whole, 0) == 0;
}

static bool is_known(const char *pattern)
{
    for (uint32_t i = 1; i < _EVENT_TYPE_MAX; i++)
        if (type_matches(pattern, event_row(i)->suffix))
            return true;
    return strncmp(pattern, EVENT_TYPE_PREFIX, sizeof(EVENT_TYPE_PREFIX) - 1) == 0;
}

const char *events_filter_nearest(const char *word)
{
    const char *words[_EVENT_TYPE_MAX];
    size_t n = 0;
    for (uint32_t i = 1; i < _EVENT_TYPE_MAX; i++)
        words[n++] = short_name(event_row(i)->suffix);
    return nearest_word(word, words, n);
}

int events_filter_types(struct events_filter *f, const char *words, const char **ret_bad)
{
    static char bad[EVENTS_TYPE_MAX];
    while (*words) {
        size_t n = strcspn(words, ",");
        if (f->ntypes == EVENTS_TYPES_MAX || n >= EVENTS_TYPE_MAX)
            return -E2BIG;
        (void)snprintf(f->types[f->ntypes], EVENTS_TYPE_MAX, "%.*s", (int)n, words);
        if (n > 0 && !is_known(f->types[f->ntypes])) {
            (void)snprintf(bad, sizeof(bad), "%s", f->types[f->ntypes]);
            *ret_bad = bad;
            return -EINVAL;
        }
        f->ntypes += n > 0;
        words += n + (words[n] == ',');
    }
    return 0;
}

static bool is_type(const struct events_filter *f, const struct envelope *e)
{
    struct str s = report_suffix(e);
    char suffix[EVENTS_TYPE_MAX];
    (void)snprintf(suffix, sizeof(suffix), "%.*s", (int)(s.len < sizeof(suffix) ? s.len : sizeof(suffix) - 1),
                   s.p);
    for (size_t i = 0; i < f->ntypes; i++)
        if (type_matches(f->types[i], suffix))
            return true;
    return f->ntypes == 0;
}

static void cell_of(const struct envelope *e, char *dst, size_t cap)
{
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;
    size_t n = e->subject.len > urn ? e->subject.len - urn : 0;
    (void)snprintf(dst, cap, "%.*s", (int)n, n ? e->subject.p + urn : "");
}

bool events_filter_is_run(const struct envelope *e, const char *word)
{
    char run[UUID_TEXT_LEN + 1], cell[ENVELOPE_ATTR_MAX + 1];
    if (!e->runid.p)
        return false;
    (void)snprintf(run, sizeof(run), "%.*s", (int)e->runid.len, e->runid.p);
    cell_of(e, cell, sizeof(cell));
    return run_find_matches(run, word) || strcmp(cell, word) == 0;
}

bool events_filter_match(const struct events_filter *f, const struct envelope *e, const json_t *data)
{
    uint64_t ms = uuid_v7_ms(e->id);
    char cell[ENVELOPE_ATTR_MAX + 1];
    if (ms < f->since_ms || (f->until_ms && ms > f->until_ms))
        return false;
    if (f->run && !events_filter_is_run(e, f->run))
        return false;
    cell_of(e, cell, sizeof(cell));
    if (f->cell && (!e->subject.p || fnmatch(f->cell, cell, 0) != 0))
        return false;
    return is_type(f, e) && (!f->deny || report_is_denial(report_suffix(e), data));
}
