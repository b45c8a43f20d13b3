/* SPDX-License-Identifier: MIT */
#include "common/ipc/frame.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Aligned room for the largest SCM_RIGHTS message there is. */
union frame_control {
    char bytes[CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)];
    struct cmsghdr align;
};

int frame_send(int sock, const void *p, size_t n, const int *fds, size_t nfds)
{
    union frame_control control;
    struct iovec iov = {(void *)(uintptr_t)p, n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t r;

    if (n == 0 || n > FRAME_MAX || nfds > FRAME_FDS_MAX)
        return -EMSGSIZE;
    if (nfds > 0) {
        memset(&control, 0, sizeof(control));
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    do
        r = sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    if (r < 0 && errno == ECONNRESET) /* said once instead of EPIPE when frames of ours were unread */
        return -EPIPE;
    return r < 0 ? -errno : 0;
}

void frame_limit_raise(struct rlimit *ret_before)
{
    if (getrlimit(RLIMIT_NOFILE, ret_before) < 0)
        *ret_before = (struct rlimit){0, 0};
    else if (ret_before->rlim_cur < ret_before->rlim_max)
        (void)!setrlimit(RLIMIT_NOFILE, &(struct rlimit){ret_before->rlim_max, ret_before->rlim_max});
}

void frame_limit_restore(const struct rlimit *before)
{
    if (before->rlim_cur < before->rlim_max)
        (void)!setrlimit(RLIMIT_NOFILE, before);
}

/* Takes the fds of every control message, so that the caller can close them even when the message is bad.
 * True when there was none, or exactly one SCM_RIGHTS. */
static bool frame_take_fds(struct msghdr *m, struct frame *f)
{
    bool good = true;
    size_t messages = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        size_t room = FRAME_FDS_MAX - f->nfds, n;
        messages++;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0)) {
            good = false;
            continue;
        }
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (n > room) { /* cannot be: the control buffer holds no more */
            n = room;
            good = false;
        }
        memcpy(f->fds + f->nfds, CMSG_DATA(c), n * sizeof(int));
        f->nfds += n;
    }
    return good && messages <= 1;
}

/* recvmsg() answers 0 for an empty datagram as well as for a closed peer. */
static bool frame_peer_closed(int sock)
{
    struct pollfd p = {.fd = sock, .events = POLLRDHUP};

    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP));
}

int frame_recv(int sock, struct frame *f)
{
    union frame_control control;
    struct iovec iov = {f->data, sizeof f->data};
    struct msghdr m = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    bool good;
    ssize_t r;

    f->len = f->nfds = 0;
    do /* ECONNRESET only tells, once, that the peer died with frames of ours unread; its own last frames
          still wait */
        r = recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (r < 0 && (errno == EINTR || errno == ECONNRESET));
    if (r < 0)
        return -errno;
    good = frame_take_fds(&m, f);
    if (r == 0 && m.msg_controllen == 0 && frame_peer_closed(sock))
        return FRAME_EOF;
    if (r == 0 || !good || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        frame_close_fds(f);
        return -EBADMSG;
    }
    f->len = (size_t)r;
    return FRAME_GOT;
}

void frame_close_fds(struct frame *f)
{
    for (size_t i = 0; i < f->nfds; i++)
        cleanup_closep(&f->fds[i]);
    f->nfds = 0;
}
