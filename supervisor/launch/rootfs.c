/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/rootfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "supervisor/launch/etc.h"
#include "supervisor/launch/rootfs_internal.h"

/* Something the spec brings to a path. */
struct rootfs_guest {
    const char *path;
    enum { GUEST_READ_ONLY, GUEST_READ_WRITE, GUEST_TMPFS } kind;
};

struct rootfs_work {
    const struct rootfs *r;
    struct places places;
    struct binds binds;
    struct fault *fault;
};

static int rootfs_fail(struct rootfs_work *w, int err, const char *what)
{
    return fault_set(w->fault, err, "%s of the cell", what);
}

static int rootfs_add_system(struct rootfs_work *w)
{
    int top = w->places.top;

    for (size_t i = 0; rootfs_system[i]; i++) {
        const char *name = rootfs_system[i];
        char path[16], target[256];
        ssize_t n;
        int r;

        snprintf(path, sizeof(path), "/%s", name);
        n = readlink(path, target, sizeof(target) - 1);
        if (n > 0 && (size_t)n < sizeof(target) - 1) { /* merged /usr */
            target[n] = '\0';
            r = symlinkat(target, top, name) < 0 ? -errno : 0;
        } else {
            int from = mnt_clone(w->binds.stage, name, 0);
            if (from == -ENOENT)
                continue;
            r = from < 0 ? from : mkdirat(top, name, 0755) < 0 ? -errno : mnt_attach(from, top, name);
            cleanup_closep(&from);
        }
        if (r < 0)
            return fault_set(w->fault, r, "making %s of the cell", path);
    }
    return 0;
}

static int rootfs_add_skeleton(struct rootfs_work *w)
{
    static const char *const dirs[] = {"etc", "dev", "proc", "sys", "tmp", "run", "var", "home", "root"};
    int top = w->places.top;

    for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
        if (mkdirat(top, dirs[i], 0755) < 0)
            return rootfs_fail(w, -errno, "directories");
    if (symlinkat("/tmp", top, "var/tmp") < 0 || symlinkat("/run", top, "var/run") < 0)
        return rootfs_fail(w, -errno, "directories");
    return 0;
}

/* hosts and hostname name this cell, so they come over the shared layer, from two nameless files of its root.
 */
static int rootfs_add_etc(struct rootfs_work *w)
{
    static const char *const names[] = {"hosts", "hostname"};
    int top = w->places.top;
    int r = mnt_bind(w->binds.stage, "etc", top, "etc", 0);

    if (r == 0)
        r = etc_write_names(top, w->r->hostname);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(names); i++) {
        char path[16];
        snprintf(path, sizeof(path), "etc/%s", names[i]);
        r = mnt_bind(top, names[i], top, path, MNT_RO | MOUNT_ATTR_NOEXEC);
        if (r == 0 && unlinkat(top, names[i], 0) < 0)
            r = -errno;
    }
    return r < 0 ? rootfs_fail(w, r, "/etc") : 0;
}

static int rootfs_add_tmpfs(struct rootfs_work *w, int dirfd, const char *path, unsigned mode)
{
    const struct userns_workload *ids = &w->r->ids;
    _cleanup_close_ int fd =
        mnt_new_tmpfs(w->r->launch->tmpfs_max_bytes, ids->outer_uid, ids->outer_gid, mode, MNT_DATA);
    int r = fd < 0 ? fd : mnt_attach(fd, dirfd, path);

    if (r == 0)
        r = places_own(&w->places, fd);
    return r < 0 ? fault_set(w->fault, r, "mounting a tmpfs at /%s of the cell", path) : 0;
}

static int rootfs_add_new(struct rootfs_work *w, const char *type, const struct mnt_option *options, size_t n,
                          unsigned attrs, const char *path)
{
    _cleanup_close_ int fd = mnt_new(type, options, n, attrs);

    return fd < 0 ? fd : mnt_attach(fd, w->places.top, path);
}

static int rootfs_add_dev(struct rootfs_work *w)
{
    static const struct mnt_option options[] = {
        {"newinstance", NULL}, {"ptmxmode", "0666"}, {"mode", "0600"}};
    _cleanup_close_ int fd = mnt_clone(w->binds.stage, "dev", 0);
    int r = fd < 0 ? fd : mnt_restrict(fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);

    if (r == 0)
        r = mnt_attach(fd, w->places.top, "dev");
    if (r == 0)
        r = rootfs_add_new(w, "devpts", options, ARRAY_LEN(options), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
                           "dev/pts");
    if (r < 0)
        return rootfs_fail(w, r, "/dev");
    return rootfs_add_tmpfs(w, w->places.top, "dev/shm", 01777);
}

static int rootfs_add_kernel(struct rootfs_work *w)
{
    static const struct mnt_option options[] = {{"hidepid", "2"}};
    unsigned attrs = MNT_DATA | MOUNT_ATTR_NOEXEC;
    int r = rootfs_add_new(w, "proc", options, ARRAY_LEN(options), attrs, "proc");

    if (r < 0)
        return fault_set(w->fault, r,
                         "mounting /proc of the cell (is this host's own /proc partly covered?)");
    /* The network and IPC settings there belong to whoever has the uid of U1's root, which an ordinary
     * caller's workload has: read-only, or it could undo what netd set. */
    r = mnt_bind(w->places.top, "proc/sys", w->places.top, "proc/sys", MNT_RO | MOUNT_ATTR_NOEXEC);
    if (r < 0)
        return rootfs_fail(w, r, "/proc/sys");
    r = rootfs_add_new(w, "sysfs", NULL, 0, attrs | MOUNT_ATTR_RDONLY, "sys");
    /* In a container the kernel may refuse a fresh sysfs where the host's is partly covered: then /sys stays
     * empty. */
    return r < 0 && r != -EPERM ? rootfs_fail(w, r, "/sys") : 0;
}

static int rootfs_add_guest_tmpfs(struct rootfs_work *w, const char *path)
{
    _cleanup_close_ int at = places_make(&w->places, path, true);

    if (at < 0)
        return fault_set(w->fault, at, "the working directory %s cannot be made in the cell", path);
    return rootfs_add_tmpfs(w, at, "", 0755);
}

/* The length of the longest read-write path above this one, 0 without any. */
static size_t rootfs_outer(const struct launch *l, const char *path)
{
    size_t longest = 0;

    for (size_t i = 0; i < l->read_write.n; i++) {
        struct str d = l->read_write.v[i];
        if (strncmp(path, d.p, d.len) == 0 && path[d.len] == '/' && d.len > longest)
            longest = d.len;
    }
    return longest;
}

/* Below a read-write path the place is the very thing that comes there, if nobody has moved it meanwhile. */
static bool rootfs_place_is(int at, const struct stat *want)
{
    struct stat st;

    return fstat(at, &st) == 0 && st.st_dev == want->st_dev && st.st_ino == want->st_ino;
}

static int rootfs_add_guest(struct rootfs_work *w, const struct rootfs_guest *g)
{
    unsigned attrs = g->kind == GUEST_READ_ONLY ? MNT_RO : MNT_DATA;
    _cleanup_close_ int source = -EBADF, mount = -EBADF, at = -EBADF;
    struct stat st;
    size_t outer;
    int r;

    if (g->kind == GUEST_TMPFS)
        return rootfs_add_guest_tmpfs(w, g->path);
    outer = rootfs_outer(w->r->launch, g->path);
    source = binds_open(&w->binds, g->path, outer, &st, w->fault);
    if (source < 0)
        return source;
    mount = mnt_clone(source, "", attrs);
    if (mount < 0)
        return fault_set(w->fault, mount, "bringing %s into the cell", g->path);
    at = places_make(&w->places, g->path, S_ISDIR(st.st_mode));
    if (at < 0)
        return fault_set(w->fault, at, "there is no place for %s in the cell", g->path);
    if (outer > 0 && !rootfs_place_is(at, &st))
        return fault_set(w->fault, -ESTALE, "%s was moved while it was brought into the cell", g->path);
    r = mnt_attach(mount, at, "");
    if (r < 0)
        return fault_set(w->fault, r, "bringing %s into the cell", g->path);
    return S_ISDIR(st.st_mode) ? binds_cover(&w->binds, mount, g->path, w->fault) : 0;
}

static int rootfs_by_path(const void *a, const void *b)
{
    const struct rootfs_guest *x = a, *y = b;
    int r = strcmp(x->path, y->path);

    return r ? r : (int)x->kind - (int)y->kind;
}

/* In the order of their paths a directory comes before what lies below it. */
static int rootfs_add_guests(struct rootfs_work *w)
{
    const struct launch *l = w->r->launch;
    size_t n = 0, max = l->read_only.n + l->read_write.n + 1;
    _cleanup_free_ struct rootfs_guest *guests = calloc(max, sizeof(*guests));
    int r = 0;

    if (!guests)
        return -ENOMEM;
    /* The strings are NUL-terminated: rootfs_build() checked. */
    for (size_t i = 0; i < l->read_only.n; i++)
        guests[n++] = (struct rootfs_guest){l->read_only.v[i].p, GUEST_READ_ONLY};
    for (size_t i = 0; i < l->read_write.n; i++)
        guests[n++] = (struct rootfs_guest){l->read_write.v[i].p, GUEST_READ_WRITE};
    if (l->working_directory_tmpfs && !str_is(l->working_directory, "/"))
        guests[n++] = (struct rootfs_guest){l->working_directory.p, GUEST_TMPFS};
    qsort(guests, n, sizeof(*guests), rootfs_by_path);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = rootfs_add_guest(w, &guests[i]);
    return r;
}

/* pivot_root(2) with both roots at one place: no directory for the old one is needed. */
static int rootfs_enter(int top, struct fault *f)
{
    if (fchdir(top) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return fault_set(f, -errno, "changing the root (is the suite itself in a chroot?)");
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return fault_set(f, -errno, "leaving the host's root");
    return 0;
}

static int rootfs_begin(struct rootfs_work *w)
{
    struct stat st;
    int r;

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return rootfs_fail(w, -errno, "making mounts private");
    w->binds.stage = open(ROOTFS_STAGE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (w->binds.stage < 0 || fstat(w->binds.stage, &st) < 0)
        return rootfs_fail(w, -errno, "opening the stage");
    w->binds.stage_dev = st.st_dev;
    w->places.top = mnt_new_tmpfs(ROOTFS_TOP_BYTES, 0, 0, 0755, MNT_DATA);
    if (w->places.top < 0)
        return rootfs_fail(w, w->places.top, "making the root");
    r = mnt_attach(w->places.top, w->binds.stage, "");
    if (r == 0)
        r = places_own(&w->places, w->places.top);
    return r < 0 ? rootfs_fail(w, r, "making the root") : 0;
}

static int rootfs_fill(struct rootfs_work *w)
{
    int r = rootfs_add_skeleton(w);

    if (r == 0)
        r = rootfs_add_system(w);
    if (r == 0)
        r = rootfs_add_etc(w);
    if (r == 0)
        r = rootfs_add_dev(w);
    if (r == 0)
        r = rootfs_add_kernel(w);
    if (r == 0)
        r = rootfs_add_tmpfs(w, w->places.top, "tmp", 01777);
    if (r == 0)
        r = rootfs_add_tmpfs(w, w->places.top, "run", 0755);
    return r == 0 ? rootfs_add_guests(w) : r;
}

int rootfs_build(const struct rootfs *rootfs, struct fault *f)
{
    struct rootfs_work w = {
        .r = rootfs,
        .places.top = -EBADF,
        .binds = {.forbidden = rootfs->forbidden, .nforbidden = rootfs->nforbidden, .stage = -EBADF},
        .fault = f};
    mode_t mask = umask(0);
    int r = rootfs_begin(&w);

    if (r == 0)
        r = rootfs_fill(&w);
    if (r == 0)
        r = mnt_restrict(w.places.top, MNT_RO);
    if (r == 0)
        r = rootfs_enter(w.places.top, f);
    umask(mask);
    cleanup_closep(&w.places.top);
    cleanup_closep(&w.binds.stage);
    return r;
}
