/* SPDX-License-Identifier: MIT */
/* What one process of the suite is and may do, as a constant table. The same table drives the drop (drop.c),
 * the audit of the drop (audit.c), the filters (seccomp.c, landlock.c) and tests/priv, which looks from
 * outside. */
#pragma once

#include <seccomp.h>
/* seccomp.h brings elf.h, whose EV_NONE hides ev.h's. */
#undef EV_NONE
#undef EV_CURRENT

#include "common/base/cleanup.h"
#include "common/base/str.h"

enum role_mode {
    ROLE_EMBEDDED, /* a private suite of one cellctl run: the caller's uid, no capability */
    ROLE_SYSTEM,   /* systemd started it as its own user */
    _ROLE_MODE_MAX,
};

enum role_fd_kind {
    ROLE_FD_CHANNEL, /* connected AF_UNIX SOCK_SEQPACKET */
    ROLE_FD_LISTEN,  /* listening AF_UNIX SOCK_SEQPACKET */
    ROLE_FD_DIR,
};

/* An fd the process is started with (LISTEN_FDS, LISTEN_FDNAMES; sd_listen_fds(3)): exactly these, by name.
 */
struct role_fd {
    const char *name;
    enum role_fd_kind kind;
};

/* One allowed system call, with the reason it is needed. nargs > 0 narrows it by argument comparisons. */
struct role_syscall {
    int nr; /* SCMP_SYS(x) */
    const char *why;
    unsigned nargs;
    struct scmp_arg_cmp args[2];
};

struct role {
    const char *name; /* "signerd" */
    const struct role_fd *fds;
    size_t nfds;
    uint64_t caps[_ROLE_MODE_MAX]; /* permitted = effective set as a bit mask; bounding likewise; inheritable
                                      empty */
    const struct role_syscall *syscalls; /* on top of the shared set in seccomp.c */
    size_t nsyscalls;
    uint64_t nofile; /* soft RLIMIT_NOFILE wanted; 0 = leave */
    bool may_fork; /* else the filter forbids new processes, and RLIMIT_NPROC too where no thread is listed */
    const char *help; /* the daemon's own options for --help, whole lines; may be NULL */
};

/* 0 when fd is of this kind; -EBADMSG when it is something else; -errno. */
int role_fd_check(int fd, enum role_fd_kind kind) MUST_CHECK;

/* A directory the process keeps access to, by an fd it already holds. Everything else of the file system is
 * denied. */
struct role_path {
    int fd;
    uint64_t access; /* LANDLOCK_ACCESS_FS_* (landlock(7)) */
};
