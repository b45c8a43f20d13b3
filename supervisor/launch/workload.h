/* SPDX-License-Identifier: MIT */
/* From cell init's child to the workload: every right is given up here, in one order (decision 18): namespace
 * and uid, capabilities, no_new_privs, Landlock, seccomp, exec. */
#pragma once

#include <sys/types.h>

#include "proto/documents.h"
#include "supervisor/launch/cell_filter.h"
#include "supervisor/launch/userns.h"

#define WORKLOAD_PROCESSES_MAX                                                                               \
    4096u /* processes and threads of one cell, counted in its user namespace (Linux 5.14) */
#define WORKLOAD_PATH "/usr/bin:/bin:/usr/local/bin"

struct workload {
    const struct launch *launch; /* every string NUL-terminated */
    struct userns_workload ids;
    bool ordinary; /* the caller has one id only: setgroups(2) is gone and the map has one entry */
    const int *stdio;
    char *const *argv;
    char *const *env;
    const struct cell_filter *core;
    const struct cell_filter *baseline;
};

/* What the child tells over its pair: where it failed. Nothing, and the end of file: the exec succeeded. */
struct workload_failure {
    char stage[16];
    int error;
    char text[LIMIT_ERROR_TEXT + 1];
};

/* Forks it. It gives up every right and then waits for workload_go() before its exec: until then nothing but
 * this code runs in it. Its uid maps are written through proc_fd; the calling process is not dumpable
 * afterwards. *ret_pair: tells the core filter's listener first (one byte and the fd), then at most one
 * struct workload_failure. The pid or -errno. */
pid_t workload_fork(const struct workload *w, int proc_fd, int *ret_pair, struct fault *f) MUST_CHECK;

/* Lets it execute. pair: workload_fork()'s. 0; -errno when it has ended already, which its pair tells as
 * well. */
int workload_go(int pair) MUST_CHECK;

/* Executes argv in the environment env; argv[0] without a slash is looked for in path. Returns only on
 * failure: -errno, -ENOENT when it is nowhere. No shell is ever tried. */
int workload_exec(char *const *argv, char *const *env, const char *path, struct fault *f);
