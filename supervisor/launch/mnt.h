/* SPDX-License-Identifier: MIT */
/* The mount calls a cell is made of (fsopen(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2)):
 * everything is built detached, gets its attributes, and only then a place. Each returns an fd that the
 * caller owns, or 0, or -errno. */
#pragma once

#include <sys/mount.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define MNT_DATA (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) /* what every mount of a cell has */
#define MNT_RO   (MNT_DATA | MOUNT_ATTR_RDONLY)

struct mnt_option {
    const char *key;
    const char *value; /* NULL: a flag */
};

/* A new file system of this type, mounted nowhere. */
int mnt_new(const char *type, const struct mnt_option *options, size_t n, unsigned attrs) MUST_CHECK;

/* A tmpfs of at most bytes, its root owned by uid:gid (ids of the caller's user namespace). */
int mnt_new_tmpfs(uint64_t bytes, uint32_t uid, uint32_t gid, unsigned mode, unsigned attrs) MUST_CHECK;

/* A copy of what is mounted at dirfd/path ("" = dirfd itself) with everything below, with attrs added on all
 * of it. */
int mnt_clone(int dirfd, const char *path, unsigned attrs) MUST_CHECK;

/* Gives the detached mount a place. The final component of path is not followed; "" = dirfd itself. */
int mnt_attach(int mount, int dirfd, const char *path) MUST_CHECK;

/* mnt_clone and mnt_attach. */
int mnt_bind(int from_dirfd, const char *from, int dirfd, const char *path, unsigned attrs) MUST_CHECK;

/* Adds attrs to the mount at fd alone. */
int mnt_restrict(int fd, unsigned attrs) MUST_CHECK;
