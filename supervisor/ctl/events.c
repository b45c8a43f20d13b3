/* SPDX-License-Identifier: MIT */
/* cellctl events: the durable events of a run as a timeline, or their exact lines. Reads logs, which are
 * foreign text; checking them is verify's work. */
#include <inttypes.h>
#include <stdio.h>

#include "common/evidence/log_reader.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/events_format.h"
#include "supervisor/ctl/logwalk.h"
#include "supervisor/ctl/term.h"

#define EVENTS_HELP                                                                                          \
    "usage: cellctl events [DIR] [--run ID] [--json]\n\n"                                                    \
    "Shows what happened in a run: when, who says it, what, and the decision. DIR is a log or a directory\n" \
    "with logs below; without it the logs of this user's runs. Of several logs the newest is shown.\n\n"     \
    "  --run ID  the run with this id, or the newest of the cell with this id\n"                             \
    "  --json    the exact signed lines, one CloudEvent each\n\n"                                            \
    "Only what the last checkpoint covers is shown. `cellctl verify` checks it.\n"

struct events_args {
    const char *dir;
    const char *run;
    bool json;
};

static int events_parse(int argc, char **argv, struct events_args *ret)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--run") == 0) {
            if (++i == argc)
                return ctl_fail(CTL_USAGE, "events", "--run needs a run id or a cell id");
            ret->run = argv[i];
        } else if (strcmp(argv[i], "--json") == 0) {
            ret->json = true;
        } else if (argv[i][0] == '-') {
            return ctl_fail(CTL_USAGE, "events", "unknown flag %s: see `cellctl events --help`", argv[i]);
        } else if (ret->dir) {
            return ctl_fail(CTL_USAGE, "events", "one directory only, %s is a second one", argv[i]);
        } else {
            ret->dir = argv[i];
        }
    }
    return CTL_OK;
}

/* Whether the event belongs to what was asked for. */
static bool events_wanted(const struct envelope *e, const char *run)
{
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;

    if (!run)
        return true;
    if (!e->runid.p)
        return false;
    return str_is(e->runid, run) ||
           (e->subject.len > urn && str_is((struct str){e->subject.p + urn, e->subject.len - urn}, run));
}

/* The run id of the newest event that was asked for; empty when there is none. An exit status. */
static int events_newest_run(const char *path, int fd, uint64_t size, const char *run,
                             char ret[UUID_TEXT_LEN + 1])
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    struct envelope_line l;
    struct log_line line;
    uint64_t first;

    ret[0] = '\0';
    if (size == 0 || log_reader_open_oldest(fd, &reader, &first) < 0)
        return CTL_OK;
    while (log_reader_next(reader, &line) == LOG_READ_LINE && line.index < size) {
        if (envelope_parse(line.text, &l) != ENVELOPE_OK)
            return ctl_fail(CTL_TAMPERED, "events",
                            "line %" PRIu64 " of %s is no event: see `cellctl verify`", line.index + 1, path);
        if (l.e.runid.p && events_wanted(&l.e, run))
            (void)snprintf(ret, UUID_TEXT_LEN + 1, "%.*s", (int)l.e.runid.len, l.e.runid.p);
    }
    return CTL_OK;
}

static int events_show(const char *path, int fd, const struct events_args *a, const char *run)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    struct events_format f = {.color = term_colors(STDOUT_FILENO)};
    struct envelope_line l;
    struct log_line line = {.index = 0};
    uint64_t size = 0, first = 0;
    int r = logwalk_size("events", path, fd, &size);

    if (r != CTL_OK || size == 0)
        return r;
    r = log_reader_open_oldest(fd, &reader, &first);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "events", "cannot read %s: %s", path, strerror(-r));
    for (uint64_t i = first; i < size; i++) {
        if (log_reader_next(reader, &line) != LOG_READ_LINE)
            return ctl_fail(CTL_TAMPERED, "events",
                            "%s ends after %" PRIu64 " of %" PRIu64 " lines: see `cellctl verify`", path, i,
                            size);
        if (envelope_parse(line.text, &l) != ENVELOPE_OK)
            return ctl_fail(CTL_TAMPERED, "events",
                            "line %" PRIu64 " of %s is no event: see `cellctl verify`", i + 1, path);
        if (!events_wanted(&l.e, run))
            continue;
        if (a->json)
            (void)printf("%.*s\n", (int)line.text.len, line.text.p);
        else
            events_format(&f, &l.e);
    }
    return CTL_OK;
}

/* The newest log with the run that was asked for: newest first, since their names are time-ordered run ids.
 */
static int events_pick(const struct logdir_list *logs, const struct events_args *a)
{
    char run[UUID_TEXT_LEN + 1];

    for (size_t i = logs->n; i-- > 0;) {
        _cleanup_close_ int fd = logdir_open(logs->path[i]);
        uint64_t size = 0;
        int r;

        if (fd < 0)
            return ctl_fail(CTL_FAILED, "events", "cannot open %s: %s", logs->path[i], strerror(-fd));
        if (!a->run) {
            if (i > 0 && !a->json)
                (void)fprintf(stderr, "cellctl events: the newest of %zu logs; the others: --run ID\n",
                              logs->n);
            return events_show(logs->path[i], fd, a, NULL);
        }
        r = logwalk_size("events", logs->path[i], fd, &size);
        if (r == CTL_OK)
            r = events_newest_run(logs->path[i], fd, size, a->run, run);
        if (r != CTL_OK && logs->n == 1)
            return r;
        if (r == CTL_OK && run[0])
            return events_show(logs->path[i], fd, a, run);
    }
    return ctl_fail(CTL_FAILED, "events", "no run or cell %s in these logs", a->run);
}

static int events_run(int argc, char **argv)
{
    _cleanup_(logdir_list_done) struct logdir_list logs = {.n = 0};
    struct events_args a = {.dir = NULL};
    int r = events_parse(argc, argv, &a);

    if (r == CTL_OK)
        r = logdir_find("events", a.dir, &logs);
    return r == CTL_OK ? events_pick(&logs, &a) : r;
}

const struct ctl_verb ctl_verb_events = {
    "events",
    "show the events of a run as a timeline",
    EVENTS_HELP,
    events_run,
};
