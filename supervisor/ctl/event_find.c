/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/event_find.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/num.h"
#include "common/base/uuid.h"
#include "common/evidence/log_reader.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/run_find.h"

#define ID_WITHIN 96 /* bytes from a line's start in which its id stands */

enum event_name { EVENT_BY_ID, EVENT_BY_SEQUENCE, EVENT_BY_RUN };

struct event_wanted {
    enum event_name by;
    struct str id;
    uint64_t n; /* sequence, or cellsequence */
    char run[2 * UUID_TEXT_LEN];
};

/* "12" or the 20 digits of an event's own sequence. */
static bool event_number(struct str s, uint64_t *ret)
{
    if (s.len == ENVELOPE_SEQUENCE_LEN)
        while (s.len > 1 && *s.p == '0')
            s = (struct str){s.p + 1, s.len - 1};
    return num_parse_u64(s, 0, UINT64_MAX, ret) == 0;
}

static int event_word(const char *verb, const char *word, struct event_wanted *ret)
{
    const char *colon = strrchr(word, ':');
    struct event_wanted w = {.by = EVENT_BY_ID, .id = str_of(word)};

    if (event_number(w.id, &w.n)) {
        w.by = EVENT_BY_SEQUENCE;
    } else if (colon && event_number(str_of(colon + 1), &w.n) && w.n > 0 &&
               (size_t)(colon - word) < sizeof(w.run)) {
        w.by = EVENT_BY_RUN;
        memcpy(w.run, word, (size_t)(colon - word));
    } else if (!uuid_v7_valid(w.id)) {
        return ctl_fail(CTL_USAGE, verb,
                        "%s is no event: its id (a UUID), its sequence number, or RUN:N with N from 1", word);
    }
    *ret = w;
    return CTL_OK;
}

static bool event_is_run(const struct envelope *e, const struct event_wanted *w)
{
    char run[UUID_TEXT_LEN + 1];

    if (e->cellsequence != w->n || !e->runid.p)
        return false;
    (void)snprintf(run, sizeof(run), "%.*s", (int)e->runid.len, e->runid.p);
    return run_find_matches(run, w->run);
}

static bool event_matches(struct str line, const struct event_wanted *w)
{
    struct envelope_line l = {.dssematerial = STR_NONE};

    /* Most lines are of another id: that is seen without taking them apart. */
    if (w->by == EVENT_BY_ID && w->id.p &&
        !memmem(line.p, line.len < ID_WITHIN ? line.len : ID_WITHIN, w->id.p, w->id.len))
        return false;
    if (envelope_parse(line, &l) != ENVELOPE_OK)
        return false;
    return w->by == EVENT_BY_ID ? str_eq(l.e.id, w->id) : event_is_run(&l.e, w);
}

/* 1 with *ret, 0, or -errno. */
static int event_search(const char *path, const struct event_wanted *w, uint64_t *ret)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    _cleanup_close_ int fd = logdir_open(path);
    _cleanup_free_ uint64_t *segments = NULL;
    struct log_line line = {.index = 0};
    int r = fd < 0 ? fd : log_reader_segments(fd, &segments);

    if (r <= 0)
        return r;
    r = log_reader_open(fd, segments[0], &reader); /* what was before may be pruned */
    if (r < 0)
        return r;
    while ((r = log_reader_next(reader, &line)) == LOG_READ_LINE)
        if (event_matches(line.text, w)) {
            *ret = line.index;
            return 1;
        }
    return r < 0 ? r : 0;
}

int event_find(const char *verb, const char *word, const struct logdir_list *logs, const char **ret_path,
               uint64_t *ret_index)
{
    struct event_wanted w = {.by = EVENT_BY_ID, .id = str_of(word)};
    int r = event_word(verb, word, &w);

    if (r != CTL_OK)
        return r;
    if (w.by == EVENT_BY_SEQUENCE) {
        if (logs->n > 1)
            (void)fprintf(stderr, "cellctl %s: event %" PRIu64 " of the newest of %zu logs\n", verb, w.n,
                          logs->n);
        *ret_path = logs->path[logs->n - 1];
        *ret_index = w.n;
        return CTL_OK;
    }
    for (size_t i = logs->n; i-- > 0;) {
        r = event_search(logs->path[i], &w, ret_index);
        if (r < 0)
            return ctl_fail(CTL_FAILED, verb, "cannot read %s: %s", logs->path[i], strerror(-r));
        if (r > 0) {
            *ret_path = logs->path[i];
            return CTL_OK;
        }
    }
    return ctl_fail(CTL_FAILED, verb, "there is no event %s in %s", word,
                    logs->n == 1 ? "this log" : "these logs");
}
