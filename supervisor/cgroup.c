/* SPDX-License-Identifier: MIT */
/* The suite's directory: finding the v2 tree, a place in it, its controllers. */
#include "supervisor/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "supervisor/cgroup_internal.h"

static const char *const cgroup_controllers[] = {"cpu", "memory", "pids"};

/* This process or a child of it, the zygote. */
static bool cgroup_is_ours(struct str pid)
{
    static const char key[] = "PPid:\t";
    _cleanup_(buf_done) struct buf b;
    char path[48], self[16];
    const char *at;

    snprintf(self, sizeof(self), "%d", (int)getpid());
    if (str_is(pid, self))
        return true;
    snprintf(path, sizeof(path), "/proc/%.*s/status", (int)pid.len, pid.p);
    if (cgroup_read(AT_FDCWD, path, &b) < 0 || !buf_cstr(&b) || !(at = strstr(buf_cstr(&b), key)))
        return false;
    struct str rest = str_of(at + strlen(key));
    return str_is(cgroup_word(&rest, "\n"), self);
}

/* A directory with processes in it cannot hand controllers on (no internal processes), so a supervisor that
 * is alone in its own one moves down, as systemd's delegation asks for. */
static int cgroup_move_down(int parent)
{
    _cleanup_(buf_done) struct buf b;
    struct str rest, pid;
    int r = cgroup_read(parent, "cgroup.procs", &b);

    if (r < 0)
        return r;
    rest = buf_str(&b);
    while ((pid = cgroup_word(&rest, "\n")).len > 0)
        if (!cgroup_is_ours(pid))
            return -EBUSY;
    if (mkdirat(parent, "cellos-supervisor", 0755) < 0 && errno != EEXIST)
        return -errno;
    rest = buf_str(&b);
    while (r == 0 && (pid = cgroup_word(&rest, "\n")).len > 0) {
        char text[16];
        snprintf(text, sizeof(text), "%.*s", (int)pid.len, pid.p);
        r = cgroup_write(parent, "cellos-supervisor/cgroup.procs", text);
    }
    return r;
}

static bool cgroup_has(int dir, const char *controller)
{
    _cleanup_(buf_done) struct buf b;
    struct str rest, word;

    if (cgroup_read(dir, "cgroup.controllers", &b) < 0)
        return false;
    rest = buf_str(&b);
    while ((word = cgroup_word(&rest, " \n")).len > 0)
        if (str_is(word, controller))
            return true;
    return false;
}

/* Hands the controller from dir to its children. */
static bool cgroup_hand_on(int dir, const char *controller)
{
    char text[16];
    int r;

    if (!cgroup_has(dir, controller))
        return false;
    snprintf(text, sizeof(text), "+%s", controller);
    r = cgroup_write(dir, "cgroup.subtree_control", text);
    if (r == -EBUSY && cgroup_move_down(dir) == 0)
        r = cgroup_write(dir, "cgroup.subtree_control", text);
    return r == 0;
}

static void cgroup_take_controllers(int top, struct cgroup *c)
{
    size_t used = (size_t)snprintf(c->text, sizeof(c->text), "v2");

    for (unsigned i = 0; i < ARRAY_LEN(cgroup_controllers); i++) {
        const char *name = cgroup_controllers[i];
        if (!cgroup_has(c->parent, name) && !cgroup_hand_on(top, name))
            continue;
        if ((!cgroup_has(c->dir, name) && !cgroup_hand_on(c->parent, name)) || !cgroup_hand_on(c->dir, name))
            continue;
        c->controllers |= 1u << i;
        used += (size_t)snprintf(c->text + used, sizeof(c->text) - used, "%s%s", used > 2 ? " " : ": ", name);
    }
}

/* The suite's directory, locked: who holds the lock lives. A sweep of another suite may come between making
 * and locking, so the name is looked at again. */
static int cgroup_make_locked(struct cgroup *c)
{
    for (int tries = 0; tries < 4; tries++) {
        struct stat mine, there;
        uint32_t salt;

        if (getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
            return -EIO;
        snprintf(c->name, sizeof(c->name), "%d-%08x", (int)getpid(), salt);
        if (mkdirat(c->parent, c->name, 0755) < 0)
            return -errno;
        c->dir = openat(c->parent, c->name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        if (c->dir >= 0 && flock(c->dir, LOCK_EX | LOCK_NB) == 0 && fstat(c->dir, &mine) == 0 &&
            fstatat(c->parent, c->name, &there, 0) == 0 && mine.st_ino == there.st_ino)
            return 0;
        cleanup_closep(&c->dir);
        c->dir = -EBADF;
    }
    return -EAGAIN;
}

/* The directory all suites share makes theirs removable by a supervisor that has given up its capabilities:
 * the tree's own top is not writable even for its owner, root. */
static int cgroup_make(const char *mount, const char *own, struct cgroup *c)
{
    _cleanup_close_ int top = -EBADF;
    char path[PATH_MAX * 2];
    int r;

    snprintf(path, sizeof(path), "%s%s", mount, own);
    top = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (top < 0 || (mkdirat(top, CGROUP_SHARED, 0755) < 0 && errno != EEXIST))
        return -errno;
    c->parent = openat(top, CGROUP_SHARED, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (c->parent < 0)
        return -errno;
    c->swept = cgroup_sweep(c->parent);
    r = cgroup_make_locked(c);
    if (r < 0)
        return r;
    cgroup_take_controllers(top, c);
    return 0;
}

static struct cgroup *cgroup_alloc(void)
{
    struct cgroup *c = calloc(1, sizeof(*c));

    if (c)
        c->parent = c->dir = -EBADF;
    return c;
}

int cgroup_open(struct cgroup **ret, struct fault *f)
{
    char mount[PATH_MAX], own[PATH_MAX];
    int r = cgroup_find(mount, own, sizeof(mount));

    if (r < 0)
        return fault_set(f, r, "this host mounts no cgroup v2 tree");
    for (int i = 0; i < 2; i++) {
        struct cgroup *c;
        if (i == 1 && (geteuid() != 0 || strcmp(own, "/") == 0))
            break;
        c = cgroup_alloc();
        if (!c)
            return -ENOMEM;
        r = cgroup_make(mount, i == 0 ? own : "/", c);
        if (r == 0) {
            *ret = c;
            return 0;
        }
        cgroup_free(c);
    }
    return fault_set(f, -EOPNOTSUPP, "no cgroup may be made below %s%s (%s)", mount, own, strerror(-r));
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

unsigned cgroup_swept(const struct cgroup *c)
{
    return c ? c->swept : 0;
}

const char *cgroup_describe(const struct cgroup *c)
{
    return c ? c->text : "none";
}

const char *cgroup_missing(const struct cgroup *c, const struct cgroup_limits *l)
{
    const bool wanted[] = {l->cpu_quota_us.set, l->memory_max_bytes.set, l->pids_max.set};
    unsigned have = c ? c->controllers : 0;

    for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
        if (wanted[i] && !(have & 1u << i))
            return cgroup_controllers[i];
    return NULL;
}
