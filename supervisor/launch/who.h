/* SPDX-License-Identifier: MIT */
/* Cell init's end of the who line: which process of the cell made the socket with these ends. The kernel's
 * socket diagnostics (sock_diag(7)) of the cell's network namespace give the socket's inode, the cell's own
 * /proc the process that holds it. Never a guess: a socket that is gone, that several processes hold, or
 * that cannot be told from another one, belongs to nobody known.
 *
 * proxyd asks; cell init never waits for it: an answer that proxyd does not take ends the line, and with it
 * only the naming of processes. The workload decides how much there is to search; WHO_LINKS_MAX bounds it. */
#pragma once

#include <sys/types.h>

#include "common/net/addr.h"
#include "proto/line.h"

#define WHO_LINKS_MAX 8192u /* fds looked at for one question; more: unknown */

struct who {
    struct line line; /* line.sock: owned; -EBADF when there is none (any more) */
    int proc;         /* the cell's /proc; owned */
    int diag;         /* NETLINK_SOCK_DIAG in the cell's network namespace; owned */
    uint32_t seq;
    bool greeted;
};

/* In the cell's namespaces, before the filter of cell init. Takes sock; proc is duplicated. Never fails: what
 * cannot be opened makes every answer unknown. */
void who_open(struct who *w, int sock, int proc);

/* poll(2) said that there is something to read on line.sock. m is overwritten. */
void who_serve(struct who *w, struct line_msg *m);

/* ---- parts, for the tests ---- */

/* The inode of the socket; 0 when there is none or more than one. */
uint64_t who_inode(struct who *w, enum transport t, const struct endpoint_addr *local,
                   const struct endpoint_addr *remote);

struct who_process {
    pid_t pid; /* in the pid namespace of proc */
    char exe[LIMIT_EXE + 1];
};

/* The one process that holds the socket. 0, or -ENOENT (nobody, or more than one), -E2BIG (too much to
 * search), -errno. */
int who_holder(int proc, uint64_t inode, struct who_process *ret) MUST_CHECK;
