/* SPDX-License-Identifier: MIT */
#include "netd/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <sys/socket.h>

int netlink_open(int protocol)
{
    _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -errno;
    struct sockaddr_nl local = {.nl_family = AF_NETLINK};
    if (bind(fd, (const struct sockaddr *)&local, sizeof(local)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int netlink_send(int fd, const void *buf, size_t len)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t n = sendto(fd, buf, len, MSG_NOSIGNAL, (const struct sockaddr *)&kernel, sizeof(kernel));
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

/* One datagram that the kernel sent; anybody in the namespace could send one. */
static ssize_t netlink_recv(int fd, void *buf, size_t cap)
{
    for (;;) {
        struct sockaddr_nl from = {0};
        struct iovec iov = {buf, cap};
        struct msghdr msg = {
            .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n = recvmsg(fd, &msg, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (msg.msg_namelen != sizeof(from) || from.nl_pid != 0)
            continue;
        return (msg.msg_flags & MSG_TRUNC) != 0 ? -EMSGSIZE : n;
    }
}

static int ack_error(const struct nlmsghdr *h, int *ret)
{
    if (mnl_nlmsg_get_payload_len(h) < sizeof(struct nlmsgerr))
        return -EBADMSG;
    const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
    if (e->error > 0)
        return -EBADMSG;
    *ret = e->error;
    return 0;
}

int netlink_batch(int fd, const void *buf, size_t len, uint32_t first, uint32_t last, unsigned n,
                  uint32_t *ret_seq)
{
    _Alignas(struct nlmsghdr) uint8_t reply[NETLINK_REPLY_MAX];
    unsigned acked = 0;
    int r = netlink_send(fd, buf, len);
    if (r < 0)
        return r;
    while (acked < n) {
        ssize_t got = netlink_recv(fd, reply, sizeof(reply));
        if (got < 0)
            return (int)got;
        int left = (int)got;
        for (const struct nlmsghdr *h = (const void *)reply; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            int err = 0;
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq - first > last - first)
                continue;
            r = ack_error(h, &err);
            if (r < 0)
                return r;
            if (err < 0) {
                *ret_seq = h->nlmsg_seq;
                return err;
            }
            acked++;
        }
    }
    return 0;
}

/* > 0 at the end of the dump. */
static int dump_part(const struct nlmsghdr *h, int (*each)(const struct nlmsghdr *, void *), void *self)
{
    if ((h->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
        return -EAGAIN;
    if (h->nlmsg_type == NLMSG_DONE)
        return 1;
    if (h->nlmsg_type == NLMSG_ERROR) {
        int err = 0;
        int r = ack_error(h, &err);
        return r < 0 ? r : err < 0 ? err : 1;
    }
    return h->nlmsg_type < NLMSG_MIN_TYPE ? 0 : each(h, self);
}

int netlink_dump(int fd, const struct nlmsghdr *request, int (*each)(const struct nlmsghdr *, void *),
                 void *self)
{
    _Alignas(struct nlmsghdr) uint8_t reply[NETLINK_REPLY_MAX];
    int r = netlink_send(fd, request, request->nlmsg_len);
    if (r < 0)
        return r;
    for (;;) {
        ssize_t got = netlink_recv(fd, reply, sizeof(reply));
        if (got < 0)
            return (int)got;
        int left = (int)got;
        for (const struct nlmsghdr *h = (const void *)reply; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_seq != request->nlmsg_seq)
                continue;
            r = dump_part(h, each, self);
            if (r != 0)
                return r < 0 ? r : 0;
        }
    }
}
