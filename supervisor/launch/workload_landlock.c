/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/workload_landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/priv/landlock.h"
#include "supervisor/launch/workload.h"

#ifndef ANON_INODE_FS_MAGIC
#define ANON_INODE_FS_MAGIC 0x09041934
#endif

#define FS_READ    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_PUT     (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_IOCTL_DEV)
#define FS_ON_FILE (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | FS_PUT)
#define FS_CHANGE                                                                                            \
    (FS_READ | FS_PUT | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                     \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |              \
     LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)

#define WALL_PATHS_MAX (LIMIT_PATHS + 16)

struct wall {
    struct role_path paths[WALL_PATHS_MAX];
    size_t n;
};

static void wall_done(struct wall *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->paths[i].fd > 2)
            close(w->paths[i].fd);
}

static int wall_add(struct wall *w, const char *path, uint64_t access)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;

    if (fd < 0) /* what the workload cannot even reach needs no rule */
        return errno == EACCES ? 0 : -errno;
    if (w->n >= WALL_PATHS_MAX || fstat(fd, &st) < 0) {
        close(fd);
        return -ENOBUFS;
    }
    if (!S_ISDIR(st.st_mode))
        access &= FS_ON_FILE;
    w->paths[w->n++] = (struct role_path){fd, access};
    return 0;
}

/* Pipes, sockets and memfds have no place in any tree: Landlock neither guards them nor takes a rule. */
static bool wall_has_place(int fd)
{
    char link[32], name[16];
    struct statfs s;
    ssize_t n;

    if (fstatfs(fd, &s) < 0)
        return false;
    switch ((unsigned long)s.f_type) {
    case PIPEFS_MAGIC:
    case SOCKFS_MAGIC:
    case ANON_INODE_FS_MAGIC:
        return false;
    default:
        break;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, name, sizeof(name));
    return n > 0 && !(n >= 7 && memcmp(name, "/memfd:", 7) == 0);
}

/* A standard file of the caller lies outside the cell's tree; /dev/stdout must work, with the rights it was
 * passed with and no more. */
static void wall_add_stdio(struct wall *w, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    struct stat st;
    uint64_t access = LANDLOCK_ACCESS_FS_IOCTL_DEV;

    if (flags < 0 || fstat(fd, &st) < 0 || !wall_has_place(fd) || w->n >= WALL_PATHS_MAX)
        return;
    if ((flags & O_ACCMODE) != O_WRONLY)
        access |= LANDLOCK_ACCESS_FS_READ_FILE | (S_ISDIR(st.st_mode) ? LANDLOCK_ACCESS_FS_READ_DIR : 0);
    if ((flags & O_ACCMODE) != O_RDONLY)
        access |= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE;
    w->paths[w->n++] = (struct role_path){fd, access};
}

int workload_landlock(const struct launch *l)
{
    static const struct {
        const char *path;
        uint64_t access;
    } fixed[] = {{"/", FS_READ},      {"/dev", FS_PUT},        {"/proc", FS_PUT},   {"/tmp", FS_CHANGE},
                 {"/run", FS_CHANGE}, {"/dev/shm", FS_CHANGE}, {"/dev/pts", FS_PUT}};
    _cleanup_(wall_done) struct wall w = {.n = 0};
    int r = 0;

    if (landlock_abi() == 0)
        return 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(fixed); i++)
        r = wall_add(&w, fixed[i].path, fixed[i].access);
    for (size_t i = 0; r == 0 && i < l->read_write.n; i++)
        r = wall_add(&w, l->read_write.v[i].p, FS_CHANGE);
    if (r == 0 && l->working_directory_tmpfs && !str_is(l->working_directory, "/"))
        r = wall_add(&w, l->working_directory.p, FS_CHANGE);
    if (r < 0)
        return r;
    for (int fd = 0; fd < 3; fd++)
        wall_add_stdio(&w, fd);
    return landlock_confine(w.paths, w.n, LANDLOCK_KEEP_TCP_BIND | LANDLOCK_KEEP_TCP_CONNECT);
}
