/* SPDX-License-Identifier: MIT */
/* Where the suite's directory goes, and the rules of whoever manages the tree above it: only a directory that
 * is marked as delegated is rearranged (systemd's CGROUP_DELEGATION), and only the top may hand controllers
 * on while it has processes. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "common/base/num.h"
#include "supervisor/cgroup_internal.h"

static bool cgroup_is_top(int dir)
{
    return faccessat(dir, "cgroup.type", F_OK, 0) < 0 && errno == ENOENT; /* only the top has no type */
}

static bool cgroup_has_processes(int dir)
{
    _cleanup_(buf_done) struct buf b = {0};

    return cgroup_read(dir, "cgroup.procs", &b) < 0 || b.len > 0;
}

bool cgroup_hand_on(int dir, const char *controller)
{
    char text[16];

    if (cgroup_lists(dir, "cgroup.subtree_control", controller))
        return true;
    if (!cgroup_is_top(dir) && cgroup_has_processes(dir))
        return false;
    snprintf(text, sizeof(text), "+%s", controller);
    return cgroup_write(dir, "cgroup.subtree_control", text) == 0;
}

/* systemd marks what it has delegated: the one attribute all may read, the other root. */
static bool cgroup_is_delegated(int dir)
{
    char v[2];

    return (fgetxattr(dir, "user.delegate", v, sizeof(v)) == 1 && v[0] == '1') ||
           (fgetxattr(dir, "trusted.delegate", v, sizeof(v)) == 1 && v[0] == '1');
}

/* The parent of a process, by proc_pid_status(5); 0 when it is gone. */
static uint64_t cgroup_parent_of(struct str pid)
{
    char path[48];
    uint64_t parent = 0;

    snprintf(path, sizeof(path), "/proc/%.*s/status", (int)pid.len, pid.p);
    (void)!cgroup_number(AT_FDCWD, path, "PPid:", &parent);
    return parent;
}

/* The suite: this process, its children, and in an embedded suite cellctl with the other daemons. */
static bool cgroup_is_ours(struct str pid, pid_t launcher)
{
    uint64_t self = (uint64_t)getpid(), above = (uint64_t)launcher, n, parent;

    if (num_parse_u64(pid, 1, INT32_MAX, &n) < 0)
        return false;
    parent = cgroup_parent_of(pid);
    return n == self || parent == self || (above > 0 && (n == above || parent == above));
}

/* Processes of another pid namespace ("0") cannot be moved, and an init's own manager expects to find it
 * where it put it. */
static bool cgroup_may_move(struct str pid, bool any, pid_t launcher)
{
    return !str_is(pid, "0") && !str_is(pid, "1") && (any || cgroup_is_ours(pid, launcher));
}

/* How many were moved (0: none is left), or -EBUSY when they are not ours to move. */
static int cgroup_move_pass(int dir, bool any, pid_t launcher)
{
    _cleanup_(buf_done) struct buf b = {0};
    struct str rest, pid;
    int n = 0, r = cgroup_read(dir, "cgroup.procs", &b);

    if (r < 0)
        return r;
    for (rest = buf_str(&b); (pid = cgroup_word(&rest, "\n")).len > 0; n++)
        if (n == CGROUP_MOVE_MAX || !cgroup_may_move(pid, any, launcher))
            return -EBUSY;
    for (rest = buf_str(&b); (pid = cgroup_word(&rest, "\n")).len > 0;) {
        char text[16];
        snprintf(text, sizeof(text), "%.*s", (int)pid.len, pid.p);
        r = cgroup_write(dir, CGROUP_CALLERS "/cgroup.procs", text);
        if (r < 0 && r != -ESRCH) /* ended meanwhile */
            return r;
    }
    return n;
}

/* A directory with processes cannot hand controllers on, so they all move one down: the suite and, where the
 * directory is marked, the shell or script that started it. A user's systemd (252) sets no mark: there it is
 * enough that nobody else is in it, as after "systemd-run --user --scope -p Delegate=yes cellctl run". */
static int cgroup_move_down(int dir, bool any, pid_t launcher)
{
    int n = 1;

    if (!any && geteuid() == 0)
        return -EPERM; /* root has the top of the tree */
    if (mkdirat(dir, CGROUP_CALLERS, 0755) < 0 && errno != EEXIST)
        return -errno;
    for (int i = 0; n > 0 && i < CGROUP_MOVE_PASSES; i++)
        n = cgroup_move_pass(dir, any, launcher);
    if (n < 0)
        (void)!unlinkat(dir, CGROUP_CALLERS, AT_REMOVEDIR);
    return n > 0 ? -EBUSY : n;
}

int cgroup_place_open(const char *base, const struct cgroup_caller *caller)
{
    _cleanup_close_ int dir = open(base, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int place = -EBADF;
    char name[32] = "cellos";

    if (dir < 0)
        return -errno;
    const bool delegated = cgroup_is_delegated(dir);
    if (!delegated && caller->only_delegated)
        return -EPERM;
    if (geteuid() != 0) /* after sudo two users may share a directory */
        snprintf(name, sizeof(name), "cellos-%u", (unsigned)geteuid());
    if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    place = openat(dir, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (place < 0)
        return -errno;
    /* When it fails there are no controllers, and limits are refused by name. */
    if (!cgroup_is_top(dir) && cgroup_has_processes(dir))
        (void)!cgroup_move_down(dir, delegated, caller->launcher);
    for (unsigned i = 0; i < _CGROUP_CONTROLLERS; i++)
        if (cgroup_lists(dir, "cgroup.controllers", cgroup_controllers[i]) &&
            cgroup_hand_on(dir, cgroup_controllers[i]))
            (void)!cgroup_hand_on(place, cgroup_controllers[i]);
    return TAKE_FD(place);
}
