/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/run_socket.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "common/base/dir.h"
#include "proto/limits.h"
#include "supervisor/ctl/paths.h"

#define TRIES    500 /* for five seconds */
#define AGAIN_NS 10000000

/* A path below an open directory: however long the state directory's own path is, it fits. */
static struct sockaddr_un address(int dir)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" RUN_SOCKET_NAME, dir);
    return a;
}

static int open_dir(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* The locked directory of a run: who holds the lock owns what is in it. */
static int claim(int parent, const char *name)
{
    struct stat st;
    _cleanup_close_ int fd = open_dir(parent, name);
    if (fd < 0)
        return fd;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || st.st_nlink == 0)
        return -ESTALE; /* its holder removed it while we waited for nothing */
    return TAKE_FD(fd);
}

static void remove_dir(int parent, int dir, const char *name)
{
    (void)unlinkat(dir, RUN_SOCKET_NAME, 0);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

static void sweep(int parent)
{
    _cleanup_(dir_closep) DIR *d = NULL;
    struct dirent *e;
    if (dir_open(parent, ".", &d) < 0)
        return;
    for (size_t n = 0; n < 2 * LIMIT_CELLS && (e = readdir(d)); n++) {
        if (!uuid_v7_valid(str_of(e->d_name)))
            continue;
        _cleanup_close_ int dir = claim(parent, e->d_name);
        if (dir >= 0)
            remove_dir(parent, dir, e->d_name);
    }
}

/* A sweeper may take an empty directory away before it is locked: then it is made again. It may be stopped in
 * the middle of that for as long as a busy machine likes. */
static int make_dir(struct run_socket *s)
{
    for (int i = 0; i < TRIES; i++) {
        if (mkdirat(s->parent, s->run_id, 0700) < 0 && errno != EEXIST)
            return -errno;
        int fd = claim(s->parent, s->run_id);
        if (fd != -ENOENT && fd != -ESTALE && fd != -EWOULDBLOCK)
            return fd;
        (void)nanosleep(&(struct timespec){.tv_nsec = AGAIN_NS}, NULL);
    }
    return -EBUSY;
}

static int listen_in(int dir)
{
    struct sockaddr_un a = address(dir);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Before bind(2): the kernel makes the file with the socket's own mode, whatever the umask. */
    if (fd < 0 || fchmod(fd, S_IRUSR | S_IWUSR) < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 ||
        listen(fd, LIMIT_POLICY_CLIENTS) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int run_socket_make(const char *state, const char *run_id, struct run_socket *ret)
{
    struct run_socket s = RUN_SOCKET_NONE;
    char path[PATH_MAX];
    (void)snprintf(s.run_id, sizeof(s.run_id), "%s", run_id);
    int r = paths_make(state, RUN_SOCKET_DIR, path);
    if (r < 0)
        return r;
    s.parent = open_dir(AT_FDCWD, path);
    if (s.parent < 0)
        return s.parent;
    sweep(s.parent);
    s.dir = make_dir(&s);
    int fd = s.dir < 0 ? s.dir : listen_in(s.dir);
    if (fd < 0)
        run_socket_remove(&s);
    else
        *ret = s;
    return fd;
}

void run_socket_remove(struct run_socket *s)
{
    if (s->dir >= 0)
        remove_dir(s->parent, s->dir, s->run_id);
    cleanup_closep(&s->dir);
    cleanup_closep(&s->parent);
    *s = RUN_SOCKET_NONE;
}

int run_socket_connect(int dir)
{
    struct sockaddr_un a = address(dir);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
        return -errno;
    return TAKE_FD(fd);
}
