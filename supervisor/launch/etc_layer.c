/* SPDX-License-Identifier: MIT */
/* The walk over the host's /etc. */
#include "supervisor/launch/etc_layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/base/dir.h"

/* One open directory of the walk. Its twin in the layer is made only when something below it is hidden. */
struct etc_dir {
    struct etc_dir *up;
    const char *name;
    uint32_t mode;
    int layer; /* -EBADF: not made yet */
};

struct etc_walk {
    unsigned entries;
    struct fault *fault;
};

static int etc_walk_dir(struct etc_walk *w, int fd, struct etc_dir *d, unsigned depth);

static int etc_layer_fd(struct etc_dir *d)
{
    int up;

    if (d->layer >= 0)
        return d->layer;
    up = etc_layer_fd(d->up);
    if (up < 0)
        return up;
    /* Overlayfs shows the attributes of the topmost directory, so the twin gets the host's mode. */
    if (mkdirat(up, d->name, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (fchmodat(up, d->name, d->mode & 07777, 0) < 0)
        return -errno;
    d->layer = openat(up, d->name, O_DIRECTORY | O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return d->layer < 0 ? -errno : d->layer;
}

/* A whiteout: the character device 0:0, which any user namespace may make. What already stands in the layer
 * is one of our replacements and wins. */
static int etc_hide(struct etc_walk *w, struct etc_dir *d, const char *name)
{
    int layer = etc_layer_fd(d);

    if (layer < 0)
        return fault_set(w->fault, layer, "hiding /etc entries below %s", d->name);
    if (mknodat(layer, name, S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST)
        return fault_set(w->fault, -errno, "hiding %s/%s", d->name, name);
    return 0;
}

static int etc_walk_subdir(struct etc_walk *w, int fd, struct etc_dir *up, const char *name, unsigned depth)
{
    _cleanup_close_ int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct etc_dir d = {.up = up, .name = name, .layer = -EBADF};
    struct stat st;
    int r;

    if (sub < 0 && errno == ENOENT)
        return 0;
    /* What cannot be looked into cannot be vouched for. */
    if (sub < 0 || fstat(sub, &st) < 0 || etc_is_hidden(name, st.st_mode))
        return etc_hide(w, up, name);
    if (depth >= ETC_DEPTH_MAX)
        return fault_set(w->fault, -E2BIG, "/etc is nested deeper than %u", ETC_DEPTH_MAX);
    d.mode = st.st_mode;
    r = etc_walk_dir(w, TAKE_FD(sub), &d, depth + 1);
    cleanup_closep(&d.layer);
    return r;
}

static int etc_walk_entry(struct etc_walk *w, int fd, struct etc_dir *d, const struct dirent *e,
                          unsigned depth)
{
    unsigned char type = e->d_type;
    struct stat st;

    if (type == DT_UNKNOWN || type == DT_REG) {
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENOENT ? 0 : etc_hide(w, d, e->d_name);
        type = (unsigned char)IFTODT(st.st_mode);
    }
    if (type == DT_LNK) /* leads to a path of the cell, where that path's own rule holds */
        return 0;
    if (type == DT_DIR)
        return etc_walk_subdir(w, fd, d, e->d_name, depth);
    if (type != DT_REG || etc_is_hidden(e->d_name, st.st_mode))
        return etc_hide(w, d, e->d_name);
    return 0;
}

/* Takes fd. */
static int etc_walk_dir(struct etc_walk *w, int fd, struct etc_dir *d, unsigned depth)
{
    _cleanup_(dir_closep) DIR *dir = NULL;
    struct dirent *e;
    int taken = dir_take(fd, &dir);

    if (taken < 0)
        return fault_set(w->fault, taken, "reading /etc");
    while (errno = 0, (e = readdir(dir))) {
        int r;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (++w->entries > ETC_ENTRIES_MAX)
            return fault_set(w->fault, -E2BIG, "/etc has more than %u entries", ETC_ENTRIES_MAX);
        r = etc_walk_entry(w, dirfd(dir), d, e, depth);
        if (r < 0)
            return r;
    }
    return errno ? fault_set(w->fault, -errno, "reading /etc") : 0;
}

int etc_hide_secrets(int etc, int layer, struct fault *f)
{
    struct etc_walk w = {.fault = f};
    struct etc_dir top = {.name = "/etc", .layer = layer};
    int fd = openat(etc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return fault_set(f, -errno, "opening /etc");
    return etc_walk_dir(&w, fd, &top, 0);
}
