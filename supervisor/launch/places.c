/* SPDX-License-Identifier: MIT */
/* Mount points inside a root that is being built. */
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "supervisor/launch/rootfs_internal.h"

static int places_open(const struct places *p, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, p->top, path, &how, sizeof(how));

    return fd < 0 ? -errno : fd;
}

int places_own(struct places *p, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (p->nown >= ARRAY_LEN(p->own))
        return -ENOBUFS;
    p->own[p->nown++] = st.st_dev;
    return 0;
}

/* Nothing is ever made in a directory of the host. */
static bool places_may_make(const struct places *p, int dir)
{
    struct stat st;

    if (fstat(dir, &st) < 0)
        return false;
    for (size_t i = 0; i < p->nown; i++)
        if (p->own[i] == st.st_dev)
            return true;
    return false;
}

static int places_make_one(const struct places *p, int parent, const char *name, bool directory)
{
    int r;

    if (!places_may_make(p, parent))
        return -EROFS;
    r = directory ? mkdirat(parent, name, 0755) : mknodat(parent, name, S_IFREG | 0600, 0);
    return r < 0 ? -errno : 0;
}

static int places_descend(const struct places *p, char *path, bool directory)
{
    _cleanup_close_ int at = places_open(p, "/");

    for (char *part = path + 1;;) {
        char *slash = strchr(part, '/');
        int next;

        if (at < 0)
            return at;
        if (slash)
            *slash = '\0';
        next = places_open(p, path);
        if (next == -ENOENT) {
            int r = places_make_one(p, at, part, slash || directory);
            next = r < 0 ? r : places_open(p, path);
        }
        close(at);
        at = next;
        if (!slash)
            return TAKE_FD(at);
        *slash = '/';
        part = slash + 1;
    }
}

int places_make(struct places *p, const char *path, bool directory)
{
    _cleanup_close_ int fd = places_open(p, path);
    char copy[PATH_MAX];
    struct stat st;

    if (fd == -ENOENT) {
        if (strlen(path) >= sizeof(copy) || path[0] != '/')
            return -ENAMETOOLONG;
        snprintf(copy, sizeof(copy), "%s", path);
        fd = places_descend(p, copy, directory);
    }
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode) != directory)
        return directory ? -ENOTDIR : -EISDIR;
    return TAKE_FD(fd);
}
