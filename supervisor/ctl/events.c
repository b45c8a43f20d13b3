/* SPDX-License-Identifier: MIT */
/* cellctl events: the durable events of runs as a timeline, or their exact lines. Reads logs, which are
 * foreign text; checking them is verify's work. */
#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "proto/limits.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/events_filter.h"
#include "supervisor/ctl/events_follow.h"
#include "supervisor/ctl/events_format.h"
#include "supervisor/ctl/events_merge.h"
#include "supervisor/ctl/events_time.h"
#include "supervisor/ctl/logwalk.h"
#include "supervisor/ctl/report_rows.h"
#include "supervisor/ctl/run_find.h"
#include "supervisor/ctl/term.h"

#define EVENTS_HELP                                                                                          \
    "usage: cellctl events [DIR] [--run RUN | --all] [--cell ID] [--type TYPE]... [--since TIME] [--until "  \
    "TIME]\n"                                                                                                \
    "                      [--deny] [-f] [--json]\n\n"                                                       \
    "Shows what happened in a run: when, who says it, what, and the decision. DIR is a log or a directory\n" \
    "with logs below; without it the logs of this user's runs. Of several logs the newest is shown, "        \
    "unless\n"                                                                                               \
    "--run names another, or --all, --cell, --since or --until ask for all of them, merged by time.\n\n"     \
    "  --run RUN    one run: its id, the end of it, or a cell's id (its newest run)\n"                       \
    "  --all        every log\n"                                                                             \
    "  --cell ID    only this cell's events, of all its runs; * and ? stand for any text and character\n"    \
    "  --type TYPE  only this type: started, dns_*, lifecycle.v1.*, or a whole type; several: any of them\n" \
    "  --since TIME, --until TIME\n"                                                                         \
    "               10m, 1h30m, 2d (so long ago), today, yesterday, 14:30, 2026-11-29, "                     \
    "2026-11-29T10:00:00Z\n"                                                                                 \
    "  --deny       only what was refused\n"                                                                 \
    "  -f           go on with what comes; with --run until that run has ended, else until Ctrl-C, and "     \
    "new\n"                                                                                                  \
    "               runs are shown as they begin\n"                                                          \
    "  --json       the exact signed lines, one CloudEvent each\n\n"                                         \
    "Filters combine: an event must pass each of them. Times in the timeline count from the run's first\n"   \
    "event. Only what the last checkpoint covers is shown; `cellctl verify` checks it.\n"

struct events {
    const char *dir;
    bool json, all, follow;
    struct events_filter filter;
    struct events_format format;
    struct buf out;
    char run_id[UUID_TEXT_LEN + 1]; /* --run, once it is known which one */
    bool failed;
};

/* ---- arguments ---- */

static int parse_type(struct events *a, const char *words)
{
    const char *bad = "";
    int r = events_filter_types(&a->filter, words, &bad);
    if (r == -E2BIG)
        return ctl_fail(CTL_USAGE, "events", "too many types");
    if (r == 0)
        return CTL_OK;
    const char *near = events_filter_nearest(bad);
    return ctl_fail(CTL_USAGE, "events",
                    near ? "no event has the type \"%s\", did you mean \"%s\"?"
                         : "no event has the type \"%s\"",
                    bad, near ? near : "");
}

static int parse_time(const char *flag, const char *text, uint64_t *ret)
{
    uint64_t at, span;
    if (events_time_parse(text, clock_realtime_ms(), &at, &span) < 0)
        return ctl_fail(CTL_USAGE, "events",
                        "%s %s is no time: 10m, 2h, today, 14:30, 2026-11-29 or 2026-11-29T10:00:00Z", flag,
                        text);
    *ret = strcmp(flag, "--until") == 0 ? at + span : at;
    return CTL_OK;
}

static int parse_value(struct events *a, const char *flag, const char *v)
{
    if (strcmp(flag, "--type") == 0)
        return parse_type(a, v);
    if (strcmp(flag, "--since") == 0)
        return parse_time(flag, v, &a->filter.since_ms);
    if (strcmp(flag, "--until") == 0)
        return parse_time(flag, v, &a->filter.until_ms);
    *(strcmp(flag, "--run") == 0 ? &a->filter.run : &a->filter.cell) = v;
    return CTL_OK;
}

static bool takes_value(const char *flag)
{
    static const char *const flags[] = {"--run", "--cell", "--type", "--since", "--until"};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (strcmp(flag, flags[i]) == 0)
            return true;
    return false;
}

static bool *switch_of(struct events *a, const char *flag)
{
    return strcmp(flag, "--json") == 0                                ? &a->json
           : strcmp(flag, "--all") == 0                               ? &a->all
           : strcmp(flag, "--deny") == 0                              ? &a->filter.deny
           : strcmp(flag, "-f") == 0 || strcmp(flag, "--follow") == 0 ? &a->follow
                                                                      : NULL;
}

static int parse(int argc, char **argv, struct events *a)
{
    for (int i = 1; i < argc; i++) {
        bool *on = switch_of(a, argv[i]);
        int r = CTL_OK;
        if (takes_value(argv[i])) {
            const char *flag = argv[i];
            if (++i == argc)
                return ctl_fail(CTL_USAGE, "events", "%s needs a value", flag);
            r = parse_value(a, flag, argv[i]);
        } else if (on) {
            *on = true;
        } else if (argv[i][0] == '-') {
            return ctl_fail(CTL_USAGE, "events", "unknown flag %s: see `cellctl events --help`", argv[i]);
        } else if (a->dir) {
            return ctl_fail(CTL_USAGE, "events", "one directory only, %s is a second one", argv[i]);
        } else {
            a->dir = argv[i];
        }
        if (r != CTL_OK)
            return r;
    }
    if (a->filter.run && a->all)
        return ctl_fail(CTL_USAGE, "events", "--run is one run, --all is every one");
    if (a->filter.until_ms && a->filter.until_ms < a->filter.since_ms)
        return ctl_fail(CTL_USAGE, "events", "--until is before --since");
    a->all = a->all || (!a->filter.run && (a->filter.cell || a->filter.since_ms || a->filter.until_ms));
    return CTL_OK;
}

/* ---- output ---- */

/* False when nobody takes it any more: main says so. */
static bool flush(void *self)
{
    struct events *a = self;
    if (a->out.len > 0)
        (void)fwrite(a->out.data, 1, a->out.len, stdout);
    buf_clear(&a->out);
    return fflush(stdout) == 0 && !ferror(stdout);
}

static void show(struct events *a, struct str line, const struct envelope *e, const json_t *data)
{
    if (a->json) {
        (void)fwrite(line.p, 1, line.len, stdout);
        (void)putchar('\n');
        return;
    }
    events_format_line(&a->format, e, data, &a->out);
    (void)fwrite(a->out.data, 1, a->out.len, stdout);
    buf_clear(&a->out);
}

static int see(void *self, struct str line, const struct envelope_line *l)
{
    struct events *a = self;
    const struct envelope *e = &l->e;
    json_t *data = json_loadb(e->data.p, e->data.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(data)) {
        json_decref(data);
        data = NULL;
    }
    a->failed = events_format_see(&a->format, e, data) < 0;
    if (!a->failed && events_filter_match(&a->filter, e, data))
        show(a, line, e, data);
    bool ended = events_format_end(&a->format, e, data, &a->out);
    if (!a->json && a->out.len > 0)
        (void)fwrite(a->out.data, 1, a->out.len, stdout);
    buf_clear(&a->out);
    json_decref(data);
    bool last = ended && a->run_id[0] && str_is(e->runid, a->run_id);
    return a->failed || last || ferror(stdout) ? LOGWALK_STOP : LOGWALK_ON;
}

/* ---- which logs ---- */

struct newest {
    const char *word;
    char run[UUID_TEXT_LEN + 1];
};

static int see_newest(void *self, const struct envelope *e)
{
    struct newest *n = self;
    if (events_filter_is_run(e, n->word))
        (void)snprintf(n->run, sizeof(n->run), "%.*s", (int)e->runid.len, e->runid.p);
    return LOGWALK_ON;
}

/* The newest log with the run that was asked for: newest first, since their names are time-ordered run ids.
 * Only that one stays in the list. */
static int pick_run(struct events *a, struct logdir_list *logs)
{
    for (size_t i = logs->n; i-- > 0;) {
        struct newest n = {.word = a->filter.run};
        int r = logwalk(logs->n == 1 ? "events" : NULL, logs->path[i], see_newest, &n);
        if (r != CTL_OK && logs->n == 1)
            return r;
        if (r != CTL_OK || !n.run[0])
            continue;
        memcpy(a->run_id, n.run, sizeof(a->run_id));
        a->filter.run = a->run_id;
        logdir_keep_one(logs, i);
        return CTL_OK;
    }
    return ctl_fail(CTL_FAILED, "events", "no run or cell %s in these logs", a->filter.run);
}

static int read_all(struct events *a, const struct logdir_list *logs, struct events_follow *f)
{
    _cleanup_free_ uint64_t *next = calloc(logs->n ? logs->n : 1, sizeof(*next));
    if (!next)
        return ctl_fail(CTL_FAILED, "events", "out of memory");
    int r = events_merge("events", logs, next, see, a);
    for (size_t i = 0; f && i < logs->n; i++)
        events_follow_set(f, logs->path[i], next[i]);
    return r;
}

/* What is there already of logs that are followed but not shown. */
static void skip_present(struct events_follow *f, const struct logdir_list *logs, size_t keep)
{
    for (size_t i = logs->n > EVENTS_WATCH_MAX ? logs->n - EVENTS_WATCH_MAX : 0; i < logs->n; i++) {
        _cleanup_(loghead_freep) struct loghead *h = NULL;
        if (i != keep && loghead_open(/* verb= */ NULL, logs->path[i], &h) == CTL_OK)
            events_follow_set(f, logs->path[i], h->checkpoint.size);
    }
}

static int follow(struct events *a, struct logdir_list *logs, const char *parent)
{
    struct events_follow *f = calloc(1, sizeof(*f));
    if (!f)
        return ctl_fail(CTL_FAILED, "events", "out of memory");
    int r = events_follow_open(f, a->filter.run ? NULL : parent);
    for (size_t i = 0; r == 0 && i < logs->n; i++)
        r = events_follow_add(f, logs->path[i], 0);
    if (r < 0) {
        r = ctl_fail(CTL_FAILED, "events", "cannot watch the logs: %s", strerrordesc_np(-r));
    } else {
        if (!a->all && logs->n > 1)
            skip_present(f, logs, logs->n - 1);
        if (!a->all && logs->n > 1)
            logdir_keep_one(logs, logs->n - 1);
        r = read_all(a, logs, f);
        bool over = a->failed || ferror(stdout) || (a->run_id[0] && a->format.n == 0);
        if (r == CTL_OK && !over)
            r = events_follow_run(f, see, flush, a);
    }
    events_follow_done(f);
    free(f);
    return r;
}

static int show_logs(struct events *a, struct logdir_list *logs, const char *parent)
{
    a->format.tags = !a->json && (a->all || (a->follow && !a->filter.run)) && parent;
    if (a->follow) {
        /* Whoever reads along sees whole lines: each goes out in one write. */
        (void)setvbuf(stdout, NULL, _IOLBF, 2 * LIMIT_LINE);
        return follow(a, logs, parent);
    }
    if (!a->all && logs->n > 1) {
        if (!a->json)
            (void)fprintf(stderr, "cellctl events: the newest of %zu logs; the others: --run RUN, --all\n",
                          logs->n);
        logdir_keep_one(logs, logs->n - 1);
    }
    return read_all(a, logs, NULL);
}

static int events_run(int argc, char **argv)
{
    _cleanup_(logdir_list_done) struct logdir_list logs = {.n = 0};
    struct events *a = calloc(1, sizeof(*a));
    char parent[PATH_MAX] = "";
    if (!a)
        return ctl_fail(CTL_FAILED, "events", "out of memory");
    a->format.color = term_colors(STDOUT_FILENO);
    a->format.width = isatty(STDOUT_FILENO) ? term_width(STDOUT_FILENO) : 0;
    buf_init(&a->out, 4u * EVENTS_LINE_MAX);
    int r = parse(argc, argv, a);
    if (r == CTL_OK)
        r = logdir_find_below("events", a->dir, a->follow && !a->filter.run, &logs, parent);
    if (r == CTL_OK && a->filter.run)
        r = pick_run(a, &logs);
    if (r == CTL_OK)
        r = show_logs(a, &logs, parent[0] ? parent : NULL);
    (void)flush(a);
    if (a->failed)
        r = ctl_fail(CTL_FAILED, "events", "out of memory");
    events_format_done(&a->format);
    buf_done(&a->out);
    free(a);
    return r;
}

const struct ctl_verb ctl_verb_events = {
    "events",
    "show what happened in runs as a timeline, or follow it",
    EVENTS_HELP,
    events_run,
};
