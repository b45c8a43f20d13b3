/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/mnt.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

int mnt_new(const char *type, const struct mnt_option *options, size_t n, unsigned attrs)
{
    _cleanup_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);
    int r;

    if (fs < 0)
        return -errno;
    for (size_t i = 0; i < n; i++) {
        unsigned cmd = options[i].value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
        if (fsconfig(fs, cmd, options[i].key, options[i].value, 0) < 0)
            return -errno;
    }
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    r = fsmount(fs, FSMOUNT_CLOEXEC, attrs);
    return r < 0 ? -errno : r;
}

int mnt_new_tmpfs(uint64_t bytes, uint32_t uid, uint32_t gid, unsigned mode, unsigned attrs)
{
    char size[24], uids[16], gids[16], modes[16];
    const struct mnt_option options[] = {{"size", size}, {"uid", uids}, {"gid", gids}, {"mode", modes}};

    snprintf(size, sizeof(size), "%" PRIu64, bytes);
    snprintf(uids, sizeof(uids), "%u", uid);
    snprintf(gids, sizeof(gids), "%u", gid);
    snprintf(modes, sizeof(modes), "%o", mode);
    return mnt_new("tmpfs", options, ARRAY_LEN(options), attrs);
}

int mnt_clone(int dirfd, const char *path, unsigned attrs)
{
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
    _cleanup_close_ int fd = open_tree(dirfd, path, flags);
    struct mount_attr attr = {.attr_set = attrs};

    if (fd < 0)
        return -errno;
    if (attrs && mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int mnt_attach(int mount, int dirfd, const char *path)
{
    unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | (*path ? 0 : MOVE_MOUNT_T_EMPTY_PATH);

    return move_mount(mount, "", dirfd, path, flags) < 0 ? -errno : 0;
}

int mnt_bind(int from_dirfd, const char *from, int dirfd, const char *path, unsigned attrs)
{
    _cleanup_close_ int fd = mnt_clone(from_dirfd, from, attrs);

    return fd < 0 ? fd : mnt_attach(fd, dirfd, path);
}

int mnt_restrict(int fd, unsigned attrs)
{
    struct mount_attr attr = {.attr_set = attrs};

    return mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}
