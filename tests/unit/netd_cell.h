/* SPDX-License-Identifier: MIT */
/* For netd's tests: a user namespace U1 with a network namespace below it, as the zygote would make them, and
 * processes that run inside. Works as root and as an ordinary user. */
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
/* after the standard headers it needs */
#include <cmocka.h>

#include "common/base/cleanup.h"
#include "common/evidence/digest.h"

#define NETD_TEST_UID 61000

struct netd_cell {
    int userns;
    int netns;
};

static inline int netd_cell_open(pid_t pid, const char *ns)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, ns);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static inline void netd_cell_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        _exit(6);
    close(fd);
}

static inline void netd_cell_map(const char *path, unsigned outside)
{
    char map[32];
    snprintf(map, sizeof(map), "0 %u 1", outside);
    netd_cell_write(path, map);
}

/* A process that unshares as uid (when that is not the caller), and waits until its pipe closes. */
static inline pid_t netd_cell_holder(uid_t uid, int flags1, int flags2, int *ret_release)
{
    int up[2], down[2];
    char c = 0;
    assert_int_equal(pipe2(up, O_CLOEXEC), 0);
    assert_int_equal(pipe2(down, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(down[1]);
        if (uid != getuid() &&
            (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
            _exit(2);
        prctl(PR_SET_DUMPABLE, 1); /* /proc/PID/ns must be readable for the test */
        uid_t u = getuid();
        gid_t g = getgid();
        if (unshare(flags1) < 0)
            _exit(3);
        netd_cell_write("/proc/self/setgroups", "deny");
        netd_cell_map("/proc/self/uid_map", u);
        netd_cell_map("/proc/self/gid_map", g);
        if (flags2 != 0 && unshare(flags2) < 0)
            _exit(3);
        if (write(up[1], "x", 1) != 1)
            _exit(4);
        _exit(read(down[0], &c, 1) < 0 ? 5 : 0);
    }
    close(up[1]);
    close(down[0]);
    ssize_t n = read(up[0], &c, 1);
    close(up[0]);
    *ret_release = down[1];
    assert_int_equal(n, 1);
    return pid;
}

static inline void netd_cell_release(pid_t pid, int release)
{
    close(release);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static inline struct netd_cell netd_cell_new_of(uid_t uid)
{
    int release = -EBADF;
    pid_t pid = netd_cell_holder(uid, CLONE_NEWUSER | CLONE_NEWNET, 0, &release);
    struct netd_cell c = {netd_cell_open(pid, "user"), netd_cell_open(pid, "net")};
    netd_cell_release(pid, release);
    assert_true(c.userns >= 0 && c.netns >= 0);
    return c;
}

static inline struct netd_cell netd_cell_new(void)
{
    return netd_cell_new_of(getuid());
}

static inline void netd_cell_done(struct netd_cell *c)
{
    close(c->userns);
    close(c->netns);
}

/* Starts fn in the cell; it returns 0 when all was as it should be. */
static inline pid_t netd_cell_start(const struct netd_cell *c, int (*fn)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(20);
        if (setns(c->userns, CLONE_NEWUSER) < 0 || setns(c->netns, CLONE_NEWNET) < 0)
            _exit(99);
        _exit(fn());
    }
    return pid;
}

static inline void netd_cell_finish(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static inline void netd_cell_run(const struct netd_cell *c, int (*fn)(void))
{
    netd_cell_finish(netd_cell_start(c, fn));
}

#define IN_CELL(cond)                                                                                        \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "in the cell, %s:%d: %s: %m\n", __FILE__, __LINE__, #cond);                      \
            return 1;                                                                                        \
        }                                                                                                    \
    } while (0)

/* Runs the whole program as the caller and, when that is root, once more as an ordinary user. */
static inline int netd_cell_main(int (*group)(void))
{
    if (digest_init() < 0)
        return 1;
    int failed = group(), status = 0;
    if (getuid() != 0)
        return failed;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(NETD_TEST_UID, NETD_TEST_UID, NETD_TEST_UID) < 0 ||
            setresuid(NETD_TEST_UID, NETD_TEST_UID, NETD_TEST_UID) < 0)
            _exit(1);
        prctl(PR_SET_DUMPABLE, 1);
        fprintf(stderr, "once more as uid %d\n", NETD_TEST_UID);
        int r = group();
        fflush(NULL);
        _exit(r);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 1;
    return failed + (status != 0);
}
