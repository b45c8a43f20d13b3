/* SPDX-License-Identifier: MIT */
/* One cell's leaf. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "supervisor/cgroup_internal.h"

struct cgroup_cell {
    int parent; /* own fd of the suite's directory */
    int dir;
    bool removed;
    char name[CGROUP_NAME_MAX + 1];
};

static int cgroup_write_u64(int dir, const char *file, uint64_t v)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, v);
    return cgroup_write(dir, file, text);
}

static int cgroup_write_limits(int dir, const struct cgroup_limits *l)
{
    char text[48];
    int r = 0;

    if (l->memory_max_bytes.set) {
        r = cgroup_write_u64(dir, "memory.max", l->memory_max_bytes.v);
        if (r == 0)
            r = cgroup_write(dir, "memory.swap.max", "0");
        if (r == -ENOENT)
            r = 0; /* a kernel without swap accounting has nothing to forbid by */
    }
    if (r == 0 && l->pids_max.set)
        r = cgroup_write_u64(dir, "pids.max", l->pids_max.v);
    if (r == 0 && l->cpu_quota_us.set) {
        snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64, l->cpu_quota_us.v, l->cpu_period_us);
        r = cgroup_write(dir, "cpu.max", text);
    }
    return r;
}

static bool cgroup_name_good(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return n > 0 && n < sizeof((struct cgroup_cell){0}.name) && name[n] == '\0' && name[0] != '.';
}

int cgroup_cell_new(struct cgroup *c, const char *name, const struct cgroup_limits *l,
                    struct cgroup_cell **ret)
{
    struct cgroup_cell *cell;
    int r;

    if (!cgroup_name_good(name))
        return -EINVAL;
    if (cgroup_missing(c, l))
        return -EOPNOTSUPP;
    cell = calloc(1, sizeof(*cell));
    if (!cell)
        return -ENOMEM;
    snprintf(cell->name, sizeof(cell->name), "%s", name);
    cell->dir = -EBADF;
    cell->parent = fcntl(c->dir, F_DUPFD_CLOEXEC, 3);
    r = cell->parent < 0 || mkdirat(cell->parent, name, 0755) < 0 ? -errno : 0;
    cell->removed = r < 0;
    if (r == 0) {
        cell->dir = openat(cell->parent, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        r = cell->dir < 0 ? -errno : cgroup_write_limits(cell->dir, l);
    }
    if (r < 0) {
        cgroup_cell_free(cell);
        return r;
    }
    *ret = cell;
    return 0;
}

int cgroup_cell_dirfd(const struct cgroup_cell *c)
{
    return c->dir;
}

int cgroup_cell_kill(struct cgroup_cell *c)
{
    int r = cgroup_write(c->dir, "cgroup.kill", "1");

    return r == -ENOENT ? -EOPNOTSUPP : r;
}

int cgroup_cell_populated(const struct cgroup_cell *c)
{
    uint64_t v;
    int r = cgroup_number(c->dir, "cgroup.events", "populated", &v);

    return r < 0 ? r : v != 0;
}

static struct opt_uint cgroup_measure(int dir, const char *file, const char *key, uint64_t max)
{
    struct opt_uint v = {0};

    v.set = cgroup_number(dir, file, key, &v.v) == 0 && v.v <= max;
    return v.set ? v : (struct opt_uint){0};
}

void cgroup_cell_usage(const struct cgroup_cell *c, struct ev_usage *ret)
{
    *ret = (struct ev_usage){
        .cpu_micros = cgroup_measure(c->dir, "cpu.stat", "usage_usec", UINT64_MAX),
        .memory_peak_bytes = cgroup_measure(c->dir, "memory.peak", NULL, UINT64_MAX),
        .pids_peak = cgroup_measure(c->dir, "pids.peak", NULL, UINT32_MAX),
    };
}

uint64_t cgroup_cell_oom_kills(const struct cgroup_cell *c, bool *ret_own_limit)
{
    uint64_t kills = 0, own = 0;

    (void)!cgroup_number(c->dir, "memory.events", "oom_kill", &kills);
    (void)!cgroup_number(c->dir, "memory.events", "oom", &own);
    *ret_own_limit = own > 0;
    return kills;
}

int cgroup_cell_remove(struct cgroup_cell *c)
{
    if (c->removed)
        return 0;
    if (unlinkat(c->parent, c->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return -errno;
    c->removed = true;
    return 0;
}

struct cgroup_cell *cgroup_cell_free(struct cgroup_cell *c)
{
    if (!c)
        return NULL;
    (void)!cgroup_cell_remove(c);
    cleanup_closep(&c->dir);
    cleanup_closep(&c->parent);
    free(c);
    return NULL;
}
