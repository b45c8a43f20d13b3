/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/outfile.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "supervisor/ctl/ctl.h"

static int outfile_folders(const struct outfile_at *o, const char *path)
{
    char folder[PATH_MAX];

    if (snprintf(folder, sizeof(folder), "%s", path) >= (int)sizeof(folder))
        return -ENAMETOOLONG;
    for (char *p = strchr(folder + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdirat(o->dirfd, folder, (mode_t)o->dir_mode) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    return 0;
}

static int outfile_fill(const struct outfile_at *o, const char *tmp, struct str bytes)
{
    _cleanup_close_ int fd =
        openat(o->dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, (mode_t)o->mode);
    int r;

    if (fd < 0)
        return -errno;
    r = io_write_full(fd, bytes.p, bytes.len);
    return r == 0 && o->sync && fsync(fd) < 0 ? -errno : r;
}

static int outfile_replace(const struct outfile_at *o, const char *path, struct str bytes)
{
    char tmp[PATH_MAX];
    int r;

    if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
        return -ENAMETOOLONG;
    r = outfile_fill(o, tmp, bytes);
    if (r == 0 && renameat(o->dirfd, tmp, o->dirfd, path) < 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(o->dirfd, tmp, 0);
    return r;
}

int outfile_replace_at(const struct outfile_at *o, const char *path, struct str bytes)
{
    int r = outfile_folders(o, path);

    return r < 0 ? r : outfile_replace(o, path, bytes);
}

int outfile_place_ok(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && !S_ISREG(st.st_mode) ? -EEXIST : 0;
}

int outfile_write(const char *verb, const char *path, unsigned mode, struct str bytes)
{
    struct outfile_at o = {.dirfd = AT_FDCWD, .mode = mode, .sync = true};
    int r;

    if (!path || strcmp(path, "-") == 0) {
        (void)fflush(stdout);
        r = io_write_full(STDOUT_FILENO, bytes.p, bytes.len);
        return r < 0 ? ctl_fail(CTL_FAILED, verb, "cannot write to standard output: %s", strerror(-r))
                     : CTL_OK;
    }
    if (outfile_place_ok(path) < 0)
        return ctl_fail(CTL_FAILED, verb, "%s is there and no file (- is standard output)", path);
    r = outfile_replace(&o, path, bytes);
    if (r < 0)
        return ctl_fail(CTL_FAILED, verb, "cannot write %s: %s", path, strerror(-r));
    return CTL_OK;
}
