/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/binds.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "common/base/dir.h"

static bool binds_is_forbidden(const struct binds *b, const struct stat *st)
{
    for (size_t i = 0; i < b->nforbidden; i++)
        if (b->forbidden[i].dev == st->st_dev && b->forbidden[i].ino == st->st_ino)
            return true;
    return false;
}

/* File systems that are windows into the kernel or other processes: the cell has its own, or none. */
static bool binds_is_kernel_fs(int fd)
{
    struct statfs s;

    if (fstatfs(fd, &s) < 0)
        return true;
    switch ((unsigned long)s.f_type) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEVPTS_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case BPF_FS_MAGIC:
    case NSFS_MAGIC:
        return true;
    default:
        return false;
    }
}

static bool binds_path_is_plain(const char *path)
{
    if (path[0] != '/' || path[1] == '\0')
        return false;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p + 1, "/");
        if ((n == 1 && p[1] == '.') || (n == 2 && p[1] == '.' && p[2] == '.'))
            return false;
        p += 1 + n;
    }
    return true;
}

/* The directory itself, or that of a file: where climbing starts. */
static int binds_base_dir(int fd, const struct stat *st)
{
    char link[32], real[PATH_MAX];
    char *slash;
    ssize_t n;
    int r;

    if (S_ISDIR(st->st_mode)) {
        r = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        return r < 0 ? -errno : r;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, real, sizeof(real) - 1);
    if (n <= 0 || (size_t)n >= sizeof(real) - 1)
        return n < 0 ? -errno : -ENAMETOOLONG;
    real[n] = '\0';
    slash = strrchr(real, '/');
    if (!slash)
        return -EXDEV;
    slash[slash == real ? 1 : 0] = '\0';
    r = open(real, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return r < 0 ? -errno : r;
}

int binds_check_above(const struct binds *b, int fd, const struct stat *st)
{
    _cleanup_close_ int dir = binds_base_dir(fd, st);
    struct stat here, up;

    if (dir < 0)
        return dir;
    if (fstat(dir, &here) < 0)
        return -errno;
    for (unsigned i = 0; i < PATH_MAX; i++) {
        int next;
        if (binds_is_forbidden(b, &here))
            return -EACCES;
        next = openat(dir, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (next < 0)
            return -errno;
        close(dir);
        dir = next;
        if (fstat(dir, &up) < 0)
            return -errno;
        if (up.st_dev == here.st_dev && up.st_ino == here.st_ino)
            return 0; /* only the root is its own parent */
        here = up;
    }
    return -ELOOP;
}

static int binds_open_path(const char *path, size_t outer)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS};
    _cleanup_close_ int at = -EBADF;
    char dir[PATH_MAX];
    int fd;

    if (outer > 0) {
        snprintf(dir, sizeof(dir), "%.*s", (int)outer, path);
        at = (int)syscall(SYS_openat2, AT_FDCWD, dir, &how, sizeof(how));
        if (at < 0)
            return -errno;
        path += outer + 1;
        how.resolve |= RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    }
    fd = (int)syscall(SYS_openat2, outer > 0 ? at : AT_FDCWD, path, &how, sizeof(how));
    return fd < 0 ? -errno : fd;
}

int binds_open(const struct binds *b, const char *path, size_t outer, struct stat *ret, struct fault *f)
{
    _cleanup_close_ int fd = -EBADF;
    int r;

    if (!binds_path_is_plain(path))
        return fault_set(f, -EINVAL,
                         "%s cannot be brought into a cell: want an absolute path below /, without dots",
                         path);
    fd = binds_open_path(path, outer);
    if (fd < 0)
        return fault_set(f, fd, "%s cannot be brought into the cell", path);
    if (fstat(fd, ret) < 0)
        return fault_set(f, -errno, "looking at %s", path);
    if (!S_ISDIR(ret->st_mode) && !S_ISREG(ret->st_mode))
        return fault_set(f, -EINVAL, "%s is neither a directory nor a regular file", path);
    if (ret->st_dev == b->stage_dev || binds_is_kernel_fs(fd))
        return fault_set(f, -EACCES, "%s is not on a file system of files: the cell has its own", path);
    r = binds_check_above(b, fd, ret);
    if (r < 0)
        return fault_set(f, r, "%s belongs to the suite itself, no cell may see it", path);
    return TAKE_FD(fd);
}

static int binds_cover_one(struct binds *b, int dir, const char *name, const char *with, const char *path,
                           struct fault *f)
{
    int r;

    if (++b->covered > BINDS_COVERED_MAX)
        return fault_set(f, -E2BIG, "%s holds more than %u sockets, FIFOs and unreadable directories", path,
                         BINDS_COVERED_MAX);
    r = mnt_bind(b->stage, with, dir, name, MNT_RO | MOUNT_ATTR_NOEXEC);
    if (r == -ENOENT)
        return 0; /* it has gone by itself */
    return r < 0 ? fault_set(f, r, "covering %s below %s", name, path) : 0;
}

static int binds_cover_dir(struct binds *b, int fd, dev_t dev, unsigned depth, const char *path,
                           struct fault *f);

static int binds_cover_subdir(struct binds *b, int dir, const char *name, dev_t dev, unsigned depth,
                              const char *path, struct fault *f)
{
    int sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);

    if (sub < 0 && errno == EPERM) /* O_NOATIME is for owners */
        sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0 && errno == EACCES)
        return binds_cover_one(b, dir, name, "void", path, f);
    if (sub < 0)
        return errno == ENOENT ? 0 : fault_set(f, -errno, "looking through %s (at %s)", path, name);
    if (depth >= BINDS_DEPTH_MAX) {
        close(sub);
        return fault_set(f, -E2BIG, "%s is nested deeper than %u", path, BINDS_DEPTH_MAX);
    }
    return binds_cover_dir(b, sub, dev, depth + 1, path, f);
}

static int binds_cover_entry(struct binds *b, int dir, const struct dirent *e, dev_t dev, unsigned depth,
                             const char *path, struct fault *f)
{
    unsigned char type = e->d_type;
    struct stat st;

    if (type == DT_UNKNOWN) { /* this file system does not say */
        if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENOENT ? 0 : fault_set(f, -errno, "looking at %s below %s", e->d_name, path);
        type = (unsigned char)IFTODT(st.st_mode);
    }
    if (type == DT_DIR)
        return binds_cover_subdir(b, dir, e->d_name, dev, depth, path, f);
    if (type == DT_SOCK || type == DT_FIFO)
        return binds_cover_one(b, dir, e->d_name, "blank", path, f);
    return 0; /* devices cannot be opened: nodev */
}

/* Takes fd. dev: of the directory above, so that only a new file system is asked what it is. */
static int binds_cover_dir(struct binds *b, int fd, dev_t dev, unsigned depth, const char *path,
                           struct fault *f)
{
    _cleanup_(dir_closep) DIR *dir = NULL;
    struct dirent *e;
    struct stat st;
    int r = fstat(fd, &st) < 0 ? -errno : 0;

    if (r == 0 && binds_is_forbidden(b, &st))
        r = -EACCES;
    if (r == 0 && st.st_dev != dev && binds_is_kernel_fs(fd))
        r = -EACCES;
    if (r < 0)
        close(fd);
    else
        r = dir_take(fd, &dir);
    if (r < 0)
        return fault_set(f, r, "%s contains a directory that no cell may see", path);
    while (errno = 0, (e = readdir(dir))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (++b->entries > BINDS_ENTRIES_MAX)
            return fault_set(f, -E2BIG, "more than %u entries below the paths of the cell (at %s)",
                             BINDS_ENTRIES_MAX, path);
        r = binds_cover_entry(b, dirfd(dir), e, st.st_dev, depth, path, f);
        if (r < 0)
            return r;
    }
    return errno ? fault_set(f, -errno, "reading %s", path) : 0;
}

int binds_cover(struct binds *b, int fd, const char *path, struct fault *f)
{
    int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;

    if (dir < 0 || fstat(dir, &st) < 0) {
        int r = fault_set(f, -errno, "reading %s", path);
        cleanup_closep(&dir);
        return r;
    }
    return binds_cover_dir(b, dir, st.st_dev, 0, path, f);
}
