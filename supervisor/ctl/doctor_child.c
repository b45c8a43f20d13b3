/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "common/base/io.h"
#include "supervisor/ctl/doctor.h"

#define CHILD_MS 10000

static _Noreturn void child(int fd, int (*probe)(void *arg), void *arg)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int r = probe(arg);
    _exit(write(fd, &r, sizeof(r)) == (ssize_t)sizeof(r) ? 0 : 1);
}

int doctor_in_child(int (*probe)(void *arg), void *arg)
{
    int p[2], result = 0;
    if (pipe2(p, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_close_ int in = p[0], out = p[1];
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        child(out, probe, arg);
    close(TAKE_FD(out));
    struct pollfd f = {.fd = in, .events = POLLIN};
    int ready = poll(&f, 1, CHILD_MS);
    if (ready <= 0)
        (void)kill(pid, SIGKILL);
    ssize_t n = ready > 0 ? read(in, &result, sizeof(result)) : 0;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (ready <= 0)
        return -ETIMEDOUT;
    return n == (ssize_t)sizeof(result) ? result : -ECHILD;
}

static int write_file(const char *path, const char *text)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return io_write_full(fd, text, strlen(text));
}

int doctor_enter_userns(unsigned long flags)
{
    char uid[48], gid[48];
    (void)snprintf(uid, sizeof(uid), "0 %u 1", (unsigned)geteuid());
    (void)snprintf(gid, sizeof(gid), "0 %u 1", (unsigned)getegid());
    if (unshare((int)flags) < 0)
        return -errno;
    int r = write_file("/proc/self/setgroups", "deny");
    if (r < 0)
        return r;
    r = write_file("/proc/self/uid_map", uid);
    if (r < 0)
        return r;
    return write_file("/proc/self/gid_map", gid);
}
