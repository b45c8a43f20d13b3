/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/ship_logs.h"

#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <sys/inotify.h>

#include "common/base/clock.h"
#include "common/base/dir.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"

#define WATCH_LOG    (IN_MOVED_TO | IN_ONLYDIR) /* a checkpoint is renamed into its place */
#define WATCH_PARENT (IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)

static int add(struct ship_logs *l, const char *path)
{
    struct ship_log **more = l->log;

    if ((l->n & (l->n - 1)) == 0) { /* grows at every power of two */
        more = reallocarray(l->log, l->n ? 2 * l->n : 1, sizeof(struct ship_log *));
        if (!more)
            return -ENOMEM;
        l->log = more;
    }
    more[l->n] = ship_log_new(path);
    if (!more[l->n])
        return -ENOMEM;
    more[l->n]->skip_pruned = l->skip_pruned;
    l->n++;
    return 0;
}

int ship_logs_open(const char *dir, bool skip_pruned, struct ship_logs *ret)
{
    _cleanup_close_ int fd = logdir_open(dir);
    struct ship_logs l = {
        .dir = dir, .skip_pruned = skip_pruned, .inotify = -EBADF, .parent = -1, .rescan = true};
    int r = 0;

    if (fd < 0)
        return fd;
    l.single = logdir_is_log(fd);
    l.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (l.inotify < 0)
        return -errno;
    if (l.single)
        r = add(&l, dir);
    else
        l.parent = inotify_add_watch(l.inotify, dir, WATCH_PARENT);
    if (r < 0) {
        ship_logs_done(&l);
        return r;
    }
    *ret = l;
    return 0;
}

static void keep_name(void *name)
{
    (void)name; /* part of its log's path */
}

void ship_logs_done(struct ship_logs *l)
{
    tdestroy(l->names, keep_name);
    for (size_t i = 0; i < l->n; i++)
        ship_log_free(l->log[i]);
    free(l->log);
    cleanup_closep(&l->inotify);
    *l = (struct ship_logs){.inotify = -EBADF};
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int name_order(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int find_new(struct ship_logs *l)
{
    _cleanup_(dir_closep) DIR *d = opendir(l->dir);
    struct dirent *e;
    int r = 0;

    if (!d)
        return -errno;
    while (r == 0 && l->n < SHIP_LOGS_MAX && (e = readdir(d))) {
        _cleanup_close_ int sub = -EBADF;
        char path[PATH_MAX];

        if (e->d_name[0] == '.' || tfind(e->d_name, &l->names, name_order))
            continue;
        sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub < 0 || !logdir_is_log(sub))
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", l->dir, e->d_name) >= PATH_MAX)
            return -ENAMETOOLONG;
        r = add(l, path);
        if (r == 0 && !tsearch(base_name(l->log[l->n - 1]->path), &l->names, name_order))
            r = -ENOMEM;
    }
    return r;
}

/* The newest logs are watched; the oldest watch makes room. */
static void watch(struct ship_logs *l, size_t i)
{
    int wd = inotify_add_watch(l->inotify, l->log[i]->path, WATCH_LOG);
    size_t slot = l->nwatches % SHIP_WATCHES_MAX;

    if (wd < 0)
        return; /* too many of this user: the scan finds what is new */
    if (l->nwatches >= SHIP_WATCHES_MAX)
        (void)inotify_rm_watch(l->inotify, l->watch[slot].wd);
    l->watch[slot].wd = wd;
    l->watch[slot].log = i;
    l->nwatches++;
}

/* Left out: for good when it is wrong, for a while when it could not be read (too many open files, a disk
 * that is away for a moment). The same reason is told once. */
static void leave_out(struct ship_log *log, int status, bool for_good, const char *why,
                      const struct ship_told *t)
{
    uint32_t digest = 2166136261u; /* FNV-1a */

    for (const char *p = why; *p; p++)
        digest = (digest ^ (uint8_t)*p) * 16777619u;
    log->failed = true;
    log->retry_at = for_good ? 0 : clock_boottime_us() + SHIP_RETRY_MS * 1000u;
    if (digest != log->told)
        t->fn(t->arg, status, why);
    log->told = digest;
}

static bool is_left_out(struct ship_log *log)
{
    if (log->failed && log->retry_at > 0 && clock_boottime_us() >= log->retry_at)
        log->failed = false;
    return log->failed;
}

static void look_one(struct ship_logs *l, size_t i, const struct ship_state *s, const struct ship_told *t)
{
    struct ship_log *log = l->log[i], *twin;
    bool first = !log->origin[0];
    char why[SHIP_WHY_MAX];
    int r;

    if (is_left_out(log))
        return;
    if (first && !log->watched)
        watch(l, i);
    log->watched = true;
    r = ship_log_look(log, s, why);
    twin = first && log->origin[0] ? ship_logs_find(l, log->origin) : log;
    if (twin != log) {
        (void)snprintf(why, sizeof(why), "%.200s and %.200s are the same log: the second is left out",
                       twin->path, log->path);
        leave_out(log, CTL_FAILED, true, why, t);
        return;
    }
    if (r == SHIP_LOOK_TAMPERED || r == SHIP_LOOK_FAILED)
        leave_out(log, r == SHIP_LOOK_TAMPERED ? CTL_TAMPERED : CTL_FAILED, r == SHIP_LOOK_TAMPERED, why, t);
}

static void on_event(struct ship_logs *l, const struct inotify_event *e, const struct ship_state *s,
                     const struct ship_told *t)
{
    if (e->wd == l->parent || (e->mask & IN_Q_OVERFLOW)) {
        l->rescan = true;
        return;
    }
    for (size_t i = 0; i < l->nwatches && i < SHIP_WATCHES_MAX; i++)
        if (l->watch[i].wd == e->wd)
            look_one(l, l->watch[i].log, s, t);
}

static void read_events(struct ship_logs *l, const struct ship_state *s, const struct ship_told *t)
{
    union {
        struct inotify_event first;
        char bytes[8192];
    } u;
    ssize_t n;

    while ((n = read(l->inotify, u.bytes, sizeof(u.bytes))) > 0)
        for (ssize_t at = 0; at < n;) {
            struct inotify_event e;

            memcpy(&e, u.bytes + at, sizeof(e));
            on_event(l, &e, s, t);
            at += (ssize_t)(sizeof(e) + e.len);
        }
}

int ship_logs_look(struct ship_logs *l, const struct ship_state *s, const struct ship_told *t)
{
    uint64_t now = clock_boottime_us();
    int r = 0;

    read_events(l, s, t);
    if (!l->rescan && now - l->scanned_at < SHIP_SCAN_MS * 1000u)
        return 0;
    l->rescan = false;
    l->scanned_at = now;
    if (!l->single)
        r = find_new(l);
    for (size_t i = 0; i < l->n; i++)
        look_one(l, i, s, t);
    return r;
}

int ship_logs_next(struct ship_logs *l, bool checkpoints, bool final, struct ship_item *ret,
                   const struct ship_told *t)
{
    char why[SHIP_WHY_MAX];

    for (size_t tried = 0; tried < l->n;) {
        struct ship_log *log = l->log[l->turn % l->n];
        int r = ship_log_next(log, checkpoints, final, ret, why);

        if (r == SHIP_NEXT_ITEM)
            return r;
        if (r == SHIP_NEXT_PRUNED) {
            t->fn(t->arg, CTL_FAILED, why);
            continue;
        }
        if (r == SHIP_NEXT_TAMPERED || r == SHIP_NEXT_FAILED || r == SHIP_NEXT_GONE)
            leave_out(log, r == SHIP_NEXT_TAMPERED ? CTL_TAMPERED : CTL_FAILED, r != SHIP_NEXT_FAILED, why,
                      t);
        ship_log_rest(log); /* logs are many, and it finds its place again */
        l->turn = (l->turn + 1) % l->n;
        tried++;
    }
    return SHIP_NEXT_NONE;
}

struct ship_log *ship_logs_find(struct ship_logs *l, const char *origin)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->log[i]->origin, origin) == 0)
            return l->log[i];
    return NULL;
}

uint64_t ship_logs_lag(const struct ship_logs *l)
{
    uint64_t lag = 0;

    for (size_t i = 0; i < l->n; i++)
        if (!l->log[i]->failed && l->log[i]->size > l->log[i]->cursor.next)
            lag += l->log[i]->size - l->log[i]->cursor.next;
    return lag;
}

bool ship_logs_note_due(const struct ship_logs *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (!l->log[i]->failed && l->log[i]->size > l->log[i]->noted)
            return true;
    return false;
}
