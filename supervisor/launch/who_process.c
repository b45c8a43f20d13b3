/* SPDX-License-Identifier: MIT */
/* From a socket's inode to the process that holds it: proc(5), /proc/PID/fd. */
#include "supervisor/launch/who.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#define LINK_MAX_ 32 /* "socket:[18446744073709551615]" and a NUL */

struct search {
    int proc;
    char want[LINK_MAX_];
    unsigned left; /* links that may still be read */
    pid_t holder;  /* 0: none yet */
    int fd;        /* its fd */
    pid_t current; /* whose fds are looked at */
    bool several;
};

/* Calls each() with every name of a directory that is a number. 0, each()'s first negative return, -errno. */
static int for_numbers(int dir, int (*each)(struct search *s, int dir, unsigned long number),
                       struct search *s)
{
    _Alignas(struct dirent64) char b[4096];
    long n;

    while ((n = syscall(SYS_getdents64, dir, b, sizeof(b))) > 0)
        for (long at = 0; at < n;) {
            const struct dirent64 *d = (const void *)(b + at);
            char *end;
            unsigned long number = strtoul(d->d_name, &end, 10);
            at += d->d_reclen;
            if (d->d_name[0] < '0' || d->d_name[0] > '9' || *end != '\0')
                continue;
            int r = each(s, dir, number);
            if (r < 0)
                return r;
        }
    return n < 0 ? -errno : 0;
}

static bool is_wanted(const struct search *s, int dir, unsigned long fd)
{
    char name[24], target[LINK_MAX_ + 1];

    snprintf(name, sizeof(name), "%lu", fd);
    ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
    if (n < 0)
        return false; /* closed meanwhile */
    target[n] = '\0';
    return strcmp(target, s->want) == 0;
}

static int on_fd(struct search *s, int dir, unsigned long fd)
{
    if (s->left == 0)
        return -E2BIG;
    s->left--;
    if (!is_wanted(s, dir, fd))
        return 0;
    s->several = s->several || (s->holder != 0 && s->holder != s->current);
    s->holder = s->current;
    s->fd = (int)fd;
    return 0;
}

static int open_fds(int proc, pid_t pid)
{
    char path[32];

    snprintf(path, sizeof(path), "%d/fd", (int)pid);
    return openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int on_process(struct search *s, int dir, unsigned long pid)
{
    _cleanup_close_ int fds = -EBADF;

    if (pid == 1) /* ourselves */
        return 0;
    fds = open_fds(dir, (pid_t)pid);
    if (fds < 0)
        return errno == ENOENT || errno == ESRCH ? 0 : -errno; /* an unreadable one could be the holder */
    s->current = (pid_t)pid;
    return for_numbers(fds, on_fd, s);
}

/* The end of a longer path says more than its beginning. Bytes that are no UTF-8 become '?'. */
static void exe_text(const char *path, size_t len, char dst[LIMIT_EXE + 1])
{
    if (len > LIMIT_EXE) {
        path += len - LIMIT_EXE;
        len = LIMIT_EXE;
    }
    memcpy(dst, path, len);
    dst[len] = '\0';
    if (!str_utf8_valid(dst, len))
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)dst[i] >= 0x80)
                dst[i] = '?';
}

static int read_exe(int proc, pid_t pid, char dst[LIMIT_EXE + 1])
{
    char path[32], target[4096];

    snprintf(path, sizeof(path), "%d/exe", (int)pid);
    ssize_t n = readlinkat(proc, path, target, sizeof(target));
    if (n < 0)
        return -errno;
    exe_text(target, (size_t)n, dst);
    return 0;
}

/* It still holds the socket: its number was not given to another process while its program was read. */
static bool still_holds(const struct search *s)
{
    _cleanup_close_ int fds = open_fds(s->proc, s->holder);

    return fds >= 0 && is_wanted(s, fds, (unsigned long)s->fd);
}

int who_holder(int proc, uint64_t inode, struct who_process *ret)
{
    struct search s = {.proc = proc, .left = WHO_LINKS_MAX};
    _cleanup_close_ int dir = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return -errno;
    snprintf(s.want, sizeof(s.want), "socket:[%llu]", (unsigned long long)inode);
    int r = for_numbers(dir, on_process, &s);
    if (r < 0)
        return r;
    if (s.holder == 0 || s.several)
        return -ENOENT;
    struct who_process found = {.pid = s.holder};
    r = read_exe(proc, s.holder, found.exe);
    if (r < 0)
        return r;
    if (!still_holds(&s))
        return -ENOENT;
    *ret = found;
    return 0;
}
