/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/events_merge.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/uuid.h"
#include "common/evidence/log_reader.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/events_filter.h"
#include "supervisor/ctl/logwalk.h"

struct cursor {
    size_t log;
    int fd;
    struct log_reader *reader;
    uint64_t at, size; /* of the line below; of the checkpoint */
    uint64_t ms;       /* its time */
    struct str line;
    struct envelope_line l;
};

struct merge {
    const char *verb;
    const struct logdir_list *logs;
    uint64_t *next;
    struct cursor open[EVENTS_OPEN_MAX];
    size_t n, next_log;
    int status;
};

static void told(struct merge *m, int status)
{
    m->status = status > m->status ? status : m->status;
}

static void cursor_close(struct merge *m, size_t i)
{
    struct cursor *c = &m->open[i];
    log_reader_free(c->reader);
    close(c->fd);
    *c = m->open[--m->n];
}

/* The next line of an open log. False when it has none (any more): then it is to be closed. */
static bool cursor_read(struct merge *m, struct cursor *c)
{
    const char *path = m->logs->path[c->log];
    struct log_line line;
    if (c->at >= c->size)
        return false;
    if (log_reader_next(c->reader, &line) != LOG_READ_LINE) {
        told(m, m->verb ? ctl_fail(CTL_TAMPERED, m->verb,
                                   "%s ends after %" PRIu64 " of %" PRIu64 " lines: see `cellctl verify`",
                                   path, c->at, c->size)
                        : CTL_TAMPERED);
        return false;
    }
    if (envelope_parse(line.text, &c->l) != ENVELOPE_OK) {
        told(m, m->verb ? ctl_fail(CTL_TAMPERED, m->verb,
                                   "line %" PRIu64 " of %s is no event: see `cellctl verify`", line.index + 1,
                                   path)
                        : CTL_TAMPERED);
        return false;
    }
    c->line = line.text;
    c->at = line.index;
    c->ms = uuid_v7_ms(c->l.e.id);
    return true;
}

/* Where reading begins: a log may have lost its beginning to retention. */
static uint64_t first_line(int fd, uint64_t want)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(fd, &segments);
    return n > 0 && segments[0] > want ? segments[0] : want;
}

static void cursor_open(struct merge *m, size_t log)
{
    const char *path = m->logs->path[log];
    struct cursor *c = &m->open[m->n];
    _cleanup_(loghead_freep) struct loghead *h = NULL;
    *c = (struct cursor){.log = log, .fd = -EBADF};
    int r = loghead_open(m->verb, path, &h);
    if (r == CTL_OK && m->next && h->checkpoint.size < m->next[log])
        r = m->verb ? ctl_fail(CTL_TAMPERED, m->verb, "%s was rolled back: see `cellctl verify`", path)
                    : CTL_TAMPERED;
    told(m, r);
    if (r == CTL_OK) {
        c->fd = TAKE_FD(h->fd);
        c->size = h->checkpoint.size;
        c->at = first_line(c->fd, m->next ? m->next[log] : 0);
    }
    if (c->at < c->size) {
        r = log_reader_open(c->fd, c->at, &c->reader);
        if (r < 0)
            told(m, m->verb ? ctl_fail(CTL_FAILED, m->verb, "cannot read %s: %s", path, strerrordesc_np(-r))
                            : CTL_FAILED);
    }
    if (c->reader && cursor_read(m, c)) {
        m->n++;
        return;
    }
    log_reader_free(c->reader);
    cleanup_closep(&c->fd);
}

static size_t earliest(const struct merge *m)
{
    size_t best = 0;
    for (size_t i = 1; i < m->n; i++)
        if (m->open[i].ms < m->open[best].ms ||
            (m->open[i].ms == m->open[best].ms && m->open[i].log < m->open[best].log))
            best = i;
    return best;
}

/* A run's log is named by a run id, which tells when it began: before that it need not be open. */
static uint64_t starts_at(const char *path)
{
    const char *name = strrchr(path, '/');
    struct str s = str_of(name ? name + 1 : path);
    return uuid_v7_valid(s) ? uuid_v7_ms(s) : 0;
}

static void open_due(struct merge *m)
{
    while (m->next_log < m->logs->n && m->n < EVENTS_OPEN_MAX &&
           (m->n == 0 || starts_at(m->logs->path[m->next_log]) <= m->open[earliest(m)].ms))
        cursor_open(m, m->next_log++);
}

int events_merge(const char *verb, const struct logdir_list *logs, uint64_t *next,
                 int (*see)(void *self, struct str line, const struct envelope_line *l), void *self)
{
    struct merge m = {.verb = verb, .logs = logs, .next = next, .status = CTL_OK};
    bool stop = false;
    for (open_due(&m); m.n > 0 && !stop; open_due(&m)) {
        size_t i = earliest(&m);
        struct cursor *c = &m.open[i];
        stop = see(self, c->line, &c->l) == LOGWALK_STOP;
        c->at++;
        if (next)
            next[c->log] = c->at;
        if (stop || !cursor_read(&m, c))
            cursor_close(&m, i);
    }
    while (m.n > 0)
        cursor_close(&m, 0);
    return m.status;
}
