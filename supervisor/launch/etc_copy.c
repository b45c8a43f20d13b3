/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/etc_copy.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/base/dir.h"

struct etc_copy {
    uint64_t bytes;
    struct fault *fault;
};

static int etc_copy_dir(struct etc_copy *c, int from, int to, unsigned depth);

static int etc_copy_file(struct etc_copy *c, int from, int to, const char *name)
{
    _cleanup_close_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    _cleanup_close_ int out = -EBADF;
    struct stat st;
    ssize_t n;

    if (in < 0 || fstat(in, &st) < 0)
        return errno == ENOENT || errno == EACCES ? 0 : -errno;
    out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return -errno;
    while ((n = sendfile(out, in, NULL, ETC_COPY_BYTES_MAX)) > 0) {
        c->bytes += (uint64_t)n;
        if (c->bytes > ETC_COPY_BYTES_MAX)
            return -EFBIG;
    }
    return n < 0 || fchmod(out, st.st_mode & 0777) < 0 ? -errno : 0;
}

static int etc_copy_link(int from, int to, const char *name)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

    if (n < 0)
        return errno == ENOENT ? 0 : -errno;
    target[n] = '\0';
    return symlinkat(target, to, name) < 0 ? -errno : 0;
}

static int etc_copy_subdir(struct etc_copy *c, int from, int to, const char *name, uint32_t mode,
                           unsigned depth)
{
    _cleanup_close_ int out = -EBADF,
                        in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (in < 0)
        return errno == ENOENT || errno == EACCES ? 0 : -errno;
    if (depth >= ETC_DEPTH_MAX)
        return -E2BIG;
    if (mkdirat(to, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (fchmodat(to, name, mode & 0777, 0) < 0)
        return -errno;
    out = openat(to, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return out < 0 ? -errno : etc_copy_dir(c, TAKE_FD(in), out, depth + 1);
}

static int etc_copy_entry(struct etc_copy *c, int from, int to, const char *name, unsigned depth)
{
    struct stat st, have;
    bool there = fstatat(to, name, &have, AT_SYMLINK_NOFOLLOW) == 0;

    if (there && S_ISCHR(have.st_mode) && have.st_rdev == makedev(0, 0))
        return unlinkat(to, name, 0) < 0 ? -errno : 0;
    if ((there && !S_ISDIR(have.st_mode)) || fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    /* Asked again: the host may have changed it since the layer was made. */
    if (!S_ISLNK(st.st_mode) && etc_is_hidden(name, st.st_mode))
        return 0;
    if (S_ISDIR(st.st_mode))
        return etc_copy_subdir(c, from, to, name, st.st_mode, depth);
    return S_ISLNK(st.st_mode) ? etc_copy_link(from, to, name) : etc_copy_file(c, from, to, name);
}

/* Takes from. */
static int etc_copy_dir(struct etc_copy *c, int from, int to, unsigned depth)
{
    _cleanup_(dir_closep) DIR *dir = NULL;
    struct dirent *e;
    int taken = dir_take(from, &dir);

    if (taken < 0)
        return taken;
    while (errno = 0, (e = readdir(dir))) {
        int r;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        r = etc_copy_entry(c, dirfd(dir), to, e->d_name, depth);
        if (r < 0)
            return fault_set(c->fault, r, "copying %s of /etc", e->d_name);
    }
    return errno ? -errno : 0;
}

int etc_complete_layer(int etc, int layer, struct fault *f)
{
    struct etc_copy c = {.fault = f};
    int from = openat(etc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return from < 0 ? fault_set(f, -errno, "opening /etc") : etc_copy_dir(&c, from, layer, 0);
}
