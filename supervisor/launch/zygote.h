/* SPDX-License-Identifier: MIT */
/* The zygote: the one process of the suite that makes cells. It is forked by the supervisor before any input
 * is read, becomes root of its own user namespace U1, re-executes itself there, and from then on answers the
 * zygote interface (proto/messages.h) on one line; its children are the cells' PID 1, each with an init line
 * of its own. One thread. It trusts its line's peer with nothing but what the message tables allow; what a
 * cell sees is checked in the cell's child. */
#pragma once

#include <sys/types.h>

#include "supervisor/launch/fault.h"

/* The first argument of a supervisor that was re-executed as the zygote. */
#define ZYGOTE_ARG "--zygote"

struct zygote_config {
    /* Root callers: a directory for locks that every root-run suite of the host shares. Else -EBADF. */
    int locks_dir;
    /* Directories no cell may see, in no mode: state, runtime (absolute paths; the zygote opens them). At
     * most BINDS_FORBIDDEN_MAX. They must exist. */
    const char *const *forbidden;
    size_t nforbidden;
};

/* Forks the zygote. Call first thing, with one thread, dumpable, no secret in memory. *ret_sock: the
 * supervisor's end of the line (the client of interface zygote; hello first, as everywhere). *ret_pidfd: its
 * process; the zygote dies with its parent, and when the line closes. A zygote that cannot start says why on
 * standard error and exits: the line closes. 0 or -errno. */
int zygote_start(const struct zygote_config *cfg, int *ret_sock, int *ret_pidfd, struct fault *f) MUST_CHECK;

/* main() of the re-executed zygote: call when argv[1] is ZYGOTE_ARG, before anything else. Returns the exit
 * status. */
int zygote_main(int argc, char **argv);
