/* SPDX-License-Identifier: MIT */
/* One message = one SOCK_SEQPACKET datagram of 1 ... FRAME_MAX bytes with at most FRAME_FDS_MAX fds (unix(7),
 * SCM_RIGHTS). Never blocks. */
#pragma once

#include <sys/resource.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define FRAME_MAX     65536
#define FRAME_FDS_MAX 253 /* SCM_MAX_FD, the kernel's most: none can be lost to a short buffer */

struct frame {
    uint8_t data[FRAME_MAX];
    size_t len;
    int fds[FRAME_FDS_MAX]; /* CLOEXEC; owned by the frame until taken (set to -EBADF) */
    size_t nfds;
};

/* Sends with MSG_DONTWAIT|MSG_NOSIGNAL. 0; -EAGAIN when the peer's queue is full; -EPIPE when the peer
 * closed; -EMSGSIZE outside the limits above; -errno. The fds stay the caller's. */
int frame_send(int sock, const void *p, size_t n, const int *fds, size_t nfds) MUST_CHECK;

/* The kernel counts the fds in flight of all processes of a uid and holds the sum against the sender's own
 * soft RLIMIT_NOFILE (unix(7), ETOOMANYREFS): with a low one, whoever else has the uid - a workload - could
 * keep us from sending. Between these two it is as high as it may be. Any failure leaves it as it is. */
void frame_limit_raise(struct rlimit *ret_before);
void frame_limit_restore(const struct rlimit *before);

enum { FRAME_GOT = 0, FRAME_EOF = 1 };

/* FRAME_GOT; FRAME_EOF when the peer closed; -EAGAIN when nothing is there; -EBADMSG (all received fds
 * closed) for an empty or truncated datagram, MSG_CTRUNC, a control message that is not exactly one
 * SCM_RIGHTS; -errno. f's previous fds must have been taken or closed. */
int frame_recv(int sock, struct frame *f) MUST_CHECK;

void frame_close_fds(struct frame *f); /* closes the fds not taken; nfds = 0 */
