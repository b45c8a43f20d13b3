/* SPDX-License-Identifier: MIT */
/* Who is at the other end of a connected Unix socket (unix(7): SO_PEERCRED, SO_PEERPIDFD). */
#pragma once

#include <sys/types.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* As of connect(), or of socketpair() for both ends. */
struct peer {
    uid_t uid;
    gid_t gid;
    pid_t pid; /* for log lines only: it may be another process by now */
};

int peer_cred(int sock, struct peer *ret) MUST_CHECK; /* 0; -ENODATA when the socket has no peer; -errno */

enum {
    PEER_GOT = 0,
    PEER_E_OLD_KERNEL = 1, /* no SO_PEERPIDFD before Linux 6.5: the uid is all there is */
    PEER_E_NO_PEER = 2,    /* this kind of socket has no peer process */
    PEER_E_REAPED = 3,     /* the peer is dead: never fall back to its pid */
    _PEER_MAX,
};

/* A pidfd of the peer: PEER_GOT and *ret, owned by the caller, CLOEXEC; one of the other outcomes; or -errno.
 */
int peer_pidfd(int sock, int *ret) MUST_CHECK;
