/* SPDX-License-Identifier: MIT */
/* The suite's directory: made, locked, given controllers, removed. */
#include "supervisor/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "supervisor/cgroup_internal.h"

#define CGROUP_NAME_TRIES 4

const char *const cgroup_controllers[_CGROUP_CONTROLLERS] = {"cpu", "memory", "pids"};

static void cgroup_take_controllers(struct cgroup *c)
{
    size_t used = (size_t)snprintf(c->text, sizeof(c->text), "v2");

    for (unsigned i = 0; i < _CGROUP_CONTROLLERS; i++) {
        const char *name = cgroup_controllers[i];
        if (!cgroup_lists(c->dir, "cgroup.controllers", name) || !cgroup_hand_on(c->dir, name))
            continue;
        c->controllers |= 1u << i;
        used += (size_t)snprintf(c->text + used, sizeof(c->text) - used, "%s%s", used > 2 ? " " : ": ", name);
    }
}

/* The lock tells a suite that lives from one that was killed. Between mkdir and flock somebody else's sweep
 * may take the new directory for a leftover: -EAGAIN, take another name. */
static int cgroup_make_dir(struct cgroup *c)
{
    uint32_t salt;

    /* A pid comes round again, and a suite that was killed may have left its directory. */
    if (getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
        return -EIO;
    snprintf(c->name, sizeof(c->name), "%d-%08x", (int)getpid(), salt);
    if (mkdirat(c->parent, c->name, 0755) < 0)
        return errno == EEXIST ? -EAGAIN : -errno;
    _cleanup_close_ int dir = openat(c->parent, c->name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT ? -EAGAIN : -errno;
    if (flock(dir, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    if (faccessat(c->parent, c->name, F_OK, 0) < 0)
        return -EAGAIN;
    c->dir = TAKE_FD(dir);
    return 0;
}

static int cgroup_make(const char *mount, const char *own, const struct cgroup_caller *caller,
                       struct cgroup **ret)
{
    char path[PATH_MAX * 2];
    struct cgroup *c = calloc(1, sizeof(*c));
    int r = -EAGAIN;

    if (!c)
        return -ENOMEM;
    snprintf(path, sizeof(path), "%s%s", mount, own);
    c->dir = -EBADF;
    c->parent = cgroup_place_open(path, caller);
    for (int i = 0; c->parent >= 0 && r == -EAGAIN && i < CGROUP_NAME_TRIES; i++)
        r = cgroup_make_dir(c);
    if (c->parent < 0)
        r = c->parent;
    if (r < 0) {
        cgroup_free(c);
        return r;
    }
    cgroup_take_controllers(c);
    *ret = c;
    return 0;
}

static int cgroup_find(char *mount, char *own, size_t cap)
{
    _cleanup_close_ int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(buf_done) struct buf mounts = {0}, groups = {0};
    int r;

    buf_init(&mounts, 0);
    buf_init(&groups, 0);
    if (proc < 0)
        return -errno;
    r = cgroup_read(proc, "mountinfo", &mounts);
    if (r == 0)
        r = cgroup_read(proc, "cgroup", &groups);
    if (r == 0)
        r = cgroup_find_mount(buf_str(&mounts), mount, cap);
    return r == 0 ? cgroup_find_own(buf_str(&groups), own, cap) : r;
}

const char *cgroup_missing_on_host(void)
{
    char mount[PATH_MAX], own[PATH_MAX];
    _cleanup_close_ int top = -EBADF;

    if (cgroup_find(mount, own, sizeof(mount)) == 0)
        top = open(mount, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    for (unsigned i = 0; i < _CGROUP_CONTROLLERS; i++)
        if (top < 0 || !cgroup_lists(top, "cgroup.controllers", cgroup_controllers[i]))
            return cgroup_controllers[i];
    return NULL;
}

/* A caller that an earlier suite moved down belongs where it was before. */
static void cgroup_above_callers(char *own)
{
    char *last = strrchr(own, '/');

    if (last && strcmp(last + 1, CGROUP_CALLERS) == 0)
        last[last == own] = '\0';
}

/* Root's own directory belongs to a service or a login session; unless it is delegated, the top of the tree
 * is the better place: below it all controllers can be had, and nobody's processes are in the way. */
int cgroup_open(pid_t launcher, struct cgroup **ret, struct fault *f)
{
    char mount[PATH_MAX], own[PATH_MAX];
    const bool root = geteuid() == 0;
    const struct cgroup_caller careful = {launcher, root}, any = {launcher, false};
    int r = cgroup_find(mount, own, sizeof(mount));

    if (r < 0)
        return fault_set(f, r, "this host mounts no cgroup v2 tree");
    cgroup_above_callers(own);
    r = cgroup_make(mount, own, &careful, ret);
    if (r < 0 && root)
        r = cgroup_make(mount, "/", &any, ret);
    if (r < 0 && root)
        r = cgroup_make(mount, own, &any, ret);
    if (r < 0) {
        (void)!fault_set(f, r, "making a cgroup below %s%s", mount, own);
        return r == -ENOMEM ? r : -EOPNOTSUPP;
    }
    return 0;
}

struct cgroup *cgroup_free(struct cgroup *c)
{
    if (!c)
        return NULL;
    if (c->dir >= 0)
        (void)!unlinkat(c->parent, c->name, AT_REMOVEDIR);
    cleanup_closep(&c->dir);
    cleanup_closep(&c->parent);
    free(c);
    return NULL;
}

int cgroup_dirfd(const struct cgroup *c)
{
    return c->dir;
}

int cgroup_parent_dirfd(const struct cgroup *c)
{
    return c->parent;
}

const char *cgroup_describe(const struct cgroup *c)
{
    return c ? c->text : "none";
}

const char *cgroup_missing(const struct cgroup *c, const struct cgroup_limits *l)
{
    const bool wanted[_CGROUP_CONTROLLERS] = {
        [CGROUP_CPU] = l->cpu_quota_us.set,
        [CGROUP_MEMORY] = l->memory_max_bytes.set,
        [CGROUP_PIDS] = l->pids_max.set,
    };
    unsigned have = c ? c->controllers : 0;

    for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
        if (wanted[i] && !(have & 1u << i))
            return cgroup_controllers[i];
    return NULL;
}
