/* SPDX-License-Identifier: MIT */
#include "common/ipc/peer.h"

#include <fcntl.h>
#include <sys/socket.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* asm-generic/socket.h; none of our architectures differs */
#endif

int peer_cred(int sock, struct peer *ret)
{
    struct ucred c = {0};
    socklen_t n = sizeof c;

    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0)
        return -errno;
    if (n != sizeof c || c.uid == (uid_t)-1) /* never connected: pid 0 and uid -1 */
        return -ENODATA;
    *ret = (struct peer){c.uid, c.gid, c.pid};
    return 0;
}

int peer_pidfd(int sock, int *ret)
{
    int fd = -EBADF;
    socklen_t n = sizeof fd;

    if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &fd, &n) == 0) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) { /* the kernel sets it, no document promises it */
            int r = -errno;
            close(fd);
            return r;
        }
        *ret = fd;
        return PEER_GOT;
    }
    switch (errno) {
    case ENOPROTOOPT:
        return PEER_E_OLD_KERNEL;
    case ENODATA:
        return PEER_E_NO_PEER;
    case EINVAL: /* up to Linux 6.15 for a peer that was reaped; ESRCH since then */
    case ESRCH:
        return PEER_E_REAPED;
    default:
        return -errno;
    }
}
