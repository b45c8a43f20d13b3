/* SPDX-License-Identifier: MIT */
/* The stage: what all cells of a suite share, made once. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>

#include "supervisor/launch/etc.h"
#include "supervisor/launch/etc_copy.h"
#include "supervisor/launch/rootfs_internal.h"

#define STAGE_BYTES (16u << 20)

const char *const rootfs_system[] = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", NULL};

/* Device nodes bound from the host's /dev; the optional ones may be missing there. */
static const struct stage_device {
    const char *name;
    bool optional;
} stage_devices[] = {{"null", false},   {"zero", false},    {"full", false},
                     {"random", false}, {"urandom", false}, {"tty", true}};

static const struct stage_link {
    const char *name, *target;
} stage_links[] = {{"fd", "/proc/self/fd"},
                   {"stdin", "/proc/self/fd/0"},
                   {"stdout", "/proc/self/fd/1"},
                   {"stderr", "/proc/self/fd/2"},
                   {"ptmx", "pts/ptmx"}};

static int stage_make_file(int dir, const char *name, unsigned mode)
{
    int r = mknodat(dir, name, S_IFREG | mode, 0);

    return r < 0 ? -errno : 0;
}

static int stage_make_dir(int dir, const char *name, unsigned mode)
{
    return mkdirat(dir, name, mode) < 0 ? -errno : 0;
}

static int stage_dev(int stage, struct fault *f)
{
    _cleanup_close_ int dev = -EBADF, host = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = stage_make_dir(stage, "dev", 0755);

    if (r == 0 && (dev = openat(stage, "dev", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
        r = -errno;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(stage_devices); i++) {
        const struct stage_device *d = &stage_devices[i];
        r = stage_make_file(dev, d->name, 0600);
        if (r == 0)
            r = mnt_bind(host, d->name, dev, d->name,
                         MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY);
        if (r == -ENOENT && d->optional)
            r = unlinkat(dev, d->name, 0) < 0 ? -errno : 0;
        if (r < 0)
            return fault_set(f, r, "giving cells /dev/%s", d->name);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(stage_links); i++)
        if (symlinkat(stage_links[i].target, dev, stage_links[i].name) < 0)
            r = -errno;
    if (r == 0)
        r = stage_make_dir(dev, "pts", 0755);
    if (r == 0)
        r = stage_make_dir(dev, "shm", 0755);
    return r < 0 ? fault_set(f, r, "making /dev of the cells") : 0;
}

static int stage_overlay(int stage)
{
    /* By path, not by fd: Linux 6.1 takes the layers no other way. */
    static const struct mnt_option options[] = {{"lowerdir", ROOTFS_STAGE "/layer:/etc"}};
    _cleanup_close_ int etc = mnt_new("overlay", options, ARRAY_LEN(options), MNT_RO);

    return etc < 0 ? etc : mnt_attach(etc, stage, "etc");
}

static int stage_etc(int stage, const struct userns_workload *ids, struct fault *f)
{
    _cleanup_close_ int layer = -EBADF, etc = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = stage_make_dir(stage, "layer", 0755);

    if (r == 0)
        r = stage_make_dir(stage, "etc", 0755);
    if (r == 0 && (layer = openat(stage, "layer", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
        r = -errno;
    if (r < 0 || etc < 0)
        return fault_set(f, r < 0 ? r : -errno, "making /etc of the cells");
    r = etc_build_layer(etc, layer, ids, f);
    if (r < 0)
        return r;
    if (stage_overlay(stage) == 0)
        return 0;
    r = etc_complete_layer(etc, layer, f);
    if (r == 0)
        r = mnt_bind(stage, "layer", stage, "etc", MNT_RO);
    return r < 0 && f->text[0] == '\0' ? fault_set(f, r, "making /etc of the cells") : r;
}

/* Real directories of the allow list; links are made again in each cell. */
static int stage_system(int stage, struct fault *f)
{
    for (size_t i = 0; rootfs_system[i]; i++) {
        char path[16];
        struct stat st;
        int r;

        snprintf(path, sizeof(path), "/%s", rootfs_system[i]);
        if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        r = stage_make_dir(stage, rootfs_system[i], 0755);
        if (r == 0)
            r = mnt_bind(AT_FDCWD, path, stage, rootfs_system[i], MNT_RO);
        if (r < 0)
            return fault_set(f, r, "giving cells %s", path);
    }
    return 0;
}

int rootfs_prepare(const struct userns_workload *ids, struct fault *f)
{
    _cleanup_close_ int stage = -EBADF;
    int r;

    umask(022);
    if (unshare(CLONE_NEWNS) < 0)
        return fault_set(f, -errno, "making a mount namespace");
    /* Slave: what the host mounts later reaches the zygote and so later cells; nothing goes the other way. */
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return fault_set(f, -errno, "detaching mounts from the host's");
    stage = mnt_new_tmpfs(STAGE_BYTES, 0, 0, 0755, MNT_DATA);
    if (stage < 0)
        return fault_set(f, stage, "making a tmpfs");
    r = mnt_attach(stage, AT_FDCWD, ROOTFS_STAGE);
    if (r == 0)
        r = stage_make_file(stage, "blank", 0);
    if (r == 0)
        r = stage_make_dir(stage, "void", 0);
    if (r < 0)
        return fault_set(f, r, "making the stage at " ROOTFS_STAGE);
    r = stage_system(stage, f);
    if (r == 0)
        r = stage_dev(stage, f);
    return r == 0 ? stage_etc(stage, ids, f) : r;
}
