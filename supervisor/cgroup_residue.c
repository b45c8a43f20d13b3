/* SPDX-License-Identifier: MIT */
/* What suites that were killed left in the tree. A leftover is a suite's directory that nobody holds locked.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>

#include "common/base/dir.h"
#include "common/base/log.h"
#include "supervisor/cgroup_internal.h"

static void cgroup_note(struct cgroup *c, const char *suite, const char *leaf)
{
    snprintf(c->residue[c->nresidue++], sizeof(c->residue[0]), "%.*s%s%.*s", CGROUP_NAME_MAX, suite,
             leaf ? "/" : "", CGROUP_NAME_MAX, leaf ? leaf : "");
}

/* Everything that still runs there dies. The suite is gone, so nobody else would end it. */
static int cgroup_empty(int dir)
{
    static const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    uint64_t populated = 1;
    int r = cgroup_write(dir, "cgroup.kill", "1");

    if (r < 0 && r != -ENOENT)
        return r;
    for (int ms = 0; ms <= CGROUP_DEATH_MS; ms += 10) {
        r = cgroup_number(dir, "cgroup.events", "populated", &populated);
        if (r < 0 || populated == 0)
            return r;
        nanosleep(&pause, NULL);
    }
    return -EBUSY;
}

/* A workload has no cgroup mount, so leaves have no children. */
static int cgroup_remove_leaves(struct cgroup *c, const char *suite, DIR *d)
{
    struct dirent *e;

    while ((e = readdir(d))) {
        if (e->d_type != DT_DIR || e->d_name[0] == '.')
            continue;
        if (c->nresidue + 1 >= CGROUP_RESIDUE_MAX)
            return -ENOBUFS;
        if (unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) < 0)
            return -errno;
        cgroup_note(c, suite, e->d_name);
    }
    return 0;
}

static int cgroup_remove_suite(struct cgroup *c, const char *name, int fd)
{
    unsigned before = c->nresidue;
    int r = cgroup_empty(fd);
    _cleanup_(dir_closep) DIR *d = NULL;

    if (r == 0)
        r = dir_open(fd, ".", &d);
    if (r == 0)
        r = cgroup_remove_leaves(c, name, d);
    if (r < 0)
        return r;
    if (unlinkat(c->parent, name, AT_REMOVEDIR) < 0)
        return -errno;
    if (c->nresidue == before)
        cgroup_note(c, name, NULL);
    return 0;
}

/* "<pid>-<random>" */
static bool cgroup_is_suite(const char *name)
{
    size_t digits = strspn(name, "0123456789");

    return digits > 0 && digits < 12 && name[digits] == '-' && strlen(name + digits + 1) == 8 &&
           strspn(name + digits + 1, "0123456789abcdef") == 8;
}

void cgroup_sweep(struct cgroup *c)
{
    _cleanup_(dir_closep) DIR *d = NULL;
    struct dirent *e;

    if (dir_open(c->parent, ".", &d) < 0)
        return;
    while (c->nresidue < CGROUP_RESIDUE_MAX && (e = readdir(d))) {
        if (!cgroup_is_suite(e->d_name))
            continue;
        _cleanup_close_ int fd = openat(c->parent, e->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue; /* alive, or removed by another start */
        int r = cgroup_remove_suite(c, e->d_name, fd);
        if (r < 0 && r != -ENOENT)
            log_warning("the cgroup %s of a killed suite cannot be removed: %s", e->d_name, strerror(-r));
    }
}

const char *cgroup_next_residue(struct cgroup *c)
{
    return c && c->told < c->nresidue ? c->residue[c->told++] : NULL;
}
