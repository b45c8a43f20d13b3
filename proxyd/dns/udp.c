/* SPDX-License-Identifier: MIT */
/* The cell's UDP socket on [::]:53. AnyIP delivers queries to any address here; the answer must come from the
 * address that was asked, which IPV6_PKTINFO carries both ways, for IPv4 as a mapped address. */
#include "proxyd/dns/cell.h"

#define BATCH 16 /* queries of one cell per turn of the loop */

union pktinfo_control {
    struct cmsghdr align;
    char b[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static bool pktinfo_of(struct msghdr *m, struct in6_pktinfo *ret)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO ||
            c->cmsg_len != CMSG_LEN(sizeof(*ret)))
            continue;
        memcpy(ret, CMSG_DATA(c), sizeof(*ret));
        return true;
    }
    return false;
}

static void take_datagram(struct dns_cell *cell, struct mmsghdr *m, const struct sockaddr_in6 *peer)
{
    struct dns_origin origin = {.kind = DNS_FROM_UDP, .udp = {.peer = *peer}};

    if (m->msg_hdr.msg_namelen != sizeof(*peer) || peer->sin6_family != AF_INET6 ||
        !pktinfo_of(&m->msg_hdr, &origin.udp.asked))
        return;
    /* what was cut off can no longer be judged: malformed */
    bool cut = m->msg_hdr.msg_flags & MSG_TRUNC;
    dns_query_take(cell, &origin, m->msg_hdr.msg_iov->iov_base, cut ? 0 : m->msg_len);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct dns_cell *cell = w->data;
    uint8_t bytes[BATCH][DNS_UDP_QUERY_MAX];
    union pktinfo_control control[BATCH];
    struct sockaddr_in6 peers[BATCH];
    struct iovec iov[BATCH];
    struct mmsghdr m[BATCH];

    (void)loop;
    (void)events;
    for (size_t i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){&bytes[i], sizeof(bytes[i])};
        m[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &peers[i],
                                            .msg_namelen = sizeof(peers[i]),
                                            .msg_iov = &iov[i],
                                            .msg_iovlen = 1,
                                            .msg_control = &control[i],
                                            .msg_controllen = sizeof(control[i])}};
    }
    int n = recvmmsg(cell->udp_fd, m, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++)
        take_datagram(cell, &m[i], &peers[i]);
}

void dns_udp_send(struct dns_cell *cell, const struct dns_origin *origin, const struct buf *msg)
{
    struct sockaddr_in6 peer = origin->udp.peer;
    union pktinfo_control control = {.b = {0}};
    struct iovec iov = {msg->data, msg->len};
    struct msghdr m = {.msg_name = &peer,
                       .msg_namelen = sizeof(peer),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    c->cmsg_level = IPPROTO_IPV6;
    c->cmsg_type = IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof(origin->udp.asked));
    memcpy(CMSG_DATA(c), &origin->udp.asked, sizeof(origin->udp.asked));
    /* a full socket buffer loses the answer, as a network would: the cell asks again */
    (void)!sendmsg(cell->udp_fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int dns_udp_init(struct dns_cell *cell, int fd)
{
    const int on = 1;

    ev_init(&cell->udp_io, on_readable);
    cell->udp_io.data = cell;
    if (fd < 0)
        return 0;
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) < 0)
        return -errno;
    cell->udp_fd = fd;
    ev_io_set(&cell->udp_io, fd, EV_READ);
    ev_io_start(cell->loop, &cell->udp_io);
    return 0;
}

void dns_udp_done(struct dns_cell *cell)
{
    ev_io_stop(cell->loop, &cell->udp_io);
    if (cell->udp_fd >= 0)
        close(cell->udp_fd);
    cell->udp_fd = -EBADF;
}
