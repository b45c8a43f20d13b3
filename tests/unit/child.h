/* SPDX-License-Identifier: MIT */
/* Tests that change the process itself run in a forked child. cmocka's asserts jump, so the child has its
 * own. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_UID 61000

#define CHILD_CHECK(cond)                                                                                    \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            dprintf(2, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, errno);                          \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

#define CHILD_OK          0
#define CHILD_KILLED(sig) (sig) /* a wait status of a process that a signal ended, without a core */

/* Runs fn in a child; the wait status with the core flag cleared. fn need not return. */
static inline int child_run(void (*fn)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        fn();
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return status & ~0x80;
}

/* As child_run, as an ordinary user with one supplementary group (or as the caller, who already is one). */
static inline void child_become_ordinary(void)
{
    const gid_t group = CHILD_UID + 1;

    if (getuid() != 0)
        return;
    CHILD_CHECK(setgroups(1, &group) == 0);
    CHILD_CHECK(setresgid(CHILD_UID, CHILD_UID, CHILD_UID) == 0);
    CHILD_CHECK(setresuid(CHILD_UID, CHILD_UID, CHILD_UID) == 0);
}

/* The fds that are open now. */
static inline int child_open_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}
