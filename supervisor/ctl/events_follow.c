/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/events_follow.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>

#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/events_merge.h"
#include "supervisor/ctl/logwalk.h"

int events_follow_open(struct events_follow *f, const char *parent)
{
    sigset_t set;
    *f = (struct events_follow){.inotify = -EBADF, .signals = -EBADF, .parent_wd = -1};
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    f->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    f->inotify = f->signals < 0 ? -EBADF : inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (f->inotify < 0)
        return -errno;
    if (!parent)
        return 0;
    f->parent = strdup(parent);
    f->parent_wd = inotify_add_watch(f->inotify, parent, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
    return f->parent_wd < 0 ? -errno : f->parent ? 0 : -ENOMEM;
}

void events_follow_done(struct events_follow *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->log[i].path);
    free(f->parent);
    cleanup_closep(&f->inotify);
    cleanup_closep(&f->signals);
    *f = (struct events_follow){.inotify = -EBADF, .signals = -EBADF, .parent_wd = -1};
}

static void forget(struct events_follow *f, size_t i)
{
    (void)inotify_rm_watch(f->inotify, f->log[i].wd);
    free(f->log[i].path);
    memmove(&f->log[i], &f->log[i + 1], (--f->n - i) * sizeof(f->log[0]));
}

int events_follow_add(struct events_follow *f, const char *path, uint64_t next)
{
    if (f->n == EVENTS_WATCH_MAX)
        forget(f, 0);
    int wd = inotify_add_watch(f->inotify, path, IN_MOVED_TO | IN_ONLYDIR);
    if (wd < 0)
        return -errno;
    f->log[f->n].path = strdup(path);
    f->log[f->n].next = next;
    f->log[f->n].told = false;
    f->log[f->n].wd = wd;
    if (!f->log[f->n].path)
        return -ENOMEM;
    f->n++;
    return 0;
}

void events_follow_set(struct events_follow *f, const char *path, uint64_t next)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->log[i].path, path) == 0)
            f->log[i].next = next;
}

/* ---- one log ---- */

struct seen {
    int (*see)(void *self, struct str line, const struct envelope_line *l);
    void *self;
    bool stopped;
};

static int see_one(void *arg, struct str line, const struct envelope_line *l)
{
    struct seen *s = arg;
    int r = s->see(s->self, line, l);
    s->stopped = r == LOGWALK_STOP;
    return r;
}

/* A log that is just being made has no checkpoint yet, or half of what it needs: nothing is told, the next
 * change comes. One that contradicts itself, or what was shown, also at a second look, is told once. */
static void step(struct events_follow *f, size_t i, struct seen *s)
{
    struct logdir_list one = {.path = &f->log[i].path, .n = 1};
    int r = events_merge(NULL, &one, &f->log[i].next, see_one, s);
    if (r == CTL_TAMPERED && !s->stopped)
        r = events_merge(NULL, &one, &f->log[i].next, see_one, s);
    if (r != CTL_TAMPERED || f->log[i].told)
        return;
    f->log[i].told = true;
    f->status = ctl_fail(CTL_TAMPERED, "events", "%s is not what it was, or not whole: see `cellctl verify`",
                         f->log[i].path);
}

/* A new directory below the parent: it may become a log. */
static void appeared(struct events_follow *f, const char *name, struct seen *s)
{
    char path[PATH_MAX];
    if (name[0] == '.' || snprintf(path, sizeof(path), "%s/%s", f->parent, name) >= (int)sizeof(path))
        return;
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->log[i].path, path) == 0)
            return;
    if (events_follow_add(f, path, 0) == 0)
        step(f, f->n - 1, s); /* what came before the watch */
}

/* ---- the loop ---- */

static void on_event(struct events_follow *f, const struct inotify_event *e, struct seen *s)
{
    if (e->mask & IN_Q_OVERFLOW) {
        for (size_t i = 0; i < f->n && !s->stopped; i++)
            step(f, i, s);
        return;
    }
    if (f->parent && e->wd == f->parent_wd && e->len > 0) {
        appeared(f, e->name, s);
        return;
    }
    for (size_t i = 0; i < f->n; i++) {
        if (f->log[i].wd != e->wd)
            continue;
        if (e->mask & IN_IGNORED) { /* the directory is gone */
            forget(f, i);
            return;
        }
        if (e->len == 0 || strcmp(e->name, "checkpoint") == 0)
            step(f, i, s);
        return;
    }
}

static void on_events(struct events_follow *f, struct seen *s)
{
    char room[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    for (;;) {
        ssize_t n = read(f->inotify, room, sizeof(room));
        if (n <= 0)
            return;
        for (char *p = room; p < room + n && !s->stopped;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)p;
            on_event(f, e, s);
            p += sizeof(*e) + e->len;
        }
        if (s->stopped)
            return;
    }
}

int events_follow_run(struct events_follow *f,
                      int (*see)(void *self, struct str line, const struct envelope_line *l),
                      bool (*flush)(void *self), void *self)
{
    struct seen s = {see, self, false};
    for (size_t i = 0; i < f->n && !s.stopped; i++) /* what came since the logs were read */
        step(f, i, &s);
    while (!s.stopped) {
        struct pollfd p[] = {{.fd = f->inotify, .events = POLLIN},
                             {.fd = f->signals, .events = POLLIN},
                             {.fd = STDOUT_FILENO}}; /* of a pipe that nobody reads any more: POLLERR */
        if (!flush(self))
            return f->status;
        if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
            return ctl_fail(CTL_FAILED, "events", "cannot wait: %s", strerrordesc_np(errno));
        if (p[1].revents || p[2].revents & (POLLERR | POLLNVAL))
            break;
        on_events(f, &s);
    }
    (void)flush(self);
    return f->status;
}
