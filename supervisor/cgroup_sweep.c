/* SPDX-License-Identifier: MIT */
/* What suites leave that were killed: their directory, unlocked since their death, and their cells' leaves.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>

#include "supervisor/cgroup_internal.h"

static void sweep_closedirp(DIR **d)
{
    if (*d)
        closedir(*d);
}

/* Our names only: "PID-SALT". */
static bool sweep_is_suite(const char *name)
{
    size_t digits = strspn(name, "0123456789");

    return digits > 0 && name[digits] == '-' && strlen(name + digits + 1) == 8 &&
           strspn(name + digits + 1, "0123456789abcdef") == 8;
}

/* Calls fn for the directories in dir; how often it said true. */
static unsigned sweep_each(int dir, bool (*fn)(int dir, const char *name))
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(sweep_closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    unsigned n = 0;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while (n < CGROUP_SWEEP_MAX && (e = readdir(d)))
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            n += fn(dir, e->d_name);
    return n;
}

static bool sweep_leaf(int dir, const char *name)
{
    _cleanup_close_ int leaf = openat(dir, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (leaf >= 0)
        (void)!cgroup_write(leaf, "cgroup.kill", "1");
    return unlinkat(dir, name, AT_REMOVEDIR) == 0;
}

static bool sweep_suite(int shared, const char *name)
{
    _cleanup_close_ int dir = -EBADF;

    if (!sweep_is_suite(name))
        return false;
    dir = openat(shared, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB) < 0)
        return false;
    (void)sweep_each(dir, sweep_leaf);
    return unlinkat(shared, name, AT_REMOVEDIR) ==
           0; /* one whose processes still end is for the next start */
}

unsigned cgroup_sweep(int shared)
{
    return sweep_each(shared, sweep_suite);
}
