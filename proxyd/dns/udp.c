/* SPDX-License-Identifier: MIT */
/* The cell's UDP socket on [::]:53. AnyIP delivers queries to any address here; the answer must come from the
 * address that was asked, which IPV6_PKTINFO carries both ways, for IPv4 as a mapped address. */
#include "proxyd/dns/cell.h"

#define BATCH 16 /* queries of one cell per turn of the loop */

struct pktinfo_control {
    _Alignas(struct cmsghdr) char b[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* A reply that waits for the others of its batch. */
struct reply_slot {
    struct sockaddr_in6 peer;
    struct pktinfo_control control;
    struct iovec iov;
    uint8_t bytes[DNS_UDP_REPLY_MAX];
};

/* While a batch of queries is taken: what is answered at once leaves with one call. */
struct dns_udp_batch {
    unsigned n;
    struct mmsghdr m[BATCH];
    struct reply_slot slots[BATCH];
};

/* Memory of one turn, for whichever cell has it: on the stack it would be cleared every time (the compiler's
 * hardening), which costs more than the queries. */
static struct {
    uint8_t bytes[BATCH][DNS_UDP_QUERY_MAX];
    struct pktinfo_control control[BATCH];
    struct sockaddr_in6 peers[BATCH];
    struct iovec iov[BATCH];
    struct mmsghdr m[BATCH];
    struct dns_udp_batch replies;
} turn;

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

static void batch_flush(struct dns_cell *cell, struct dns_udp_batch *b)
{
    unsigned done = 0;

    while (done < b->n) {
        int n = sendmmsg(cell->udp_fd, b->m + done, b->n - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        /* a full socket buffer loses the answer, as a network would: the cell asks again */
        done += n > 0 ? (unsigned)n : 1;
    }
    b->n = 0;
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct dns_cell *cell = w->data;

    (void)loop;
    (void)events;
    for (size_t i = 0; i < BATCH; i++) {
        turn.iov[i] = (struct iovec){&turn.bytes[i], sizeof(turn.bytes[i])};
        turn.m[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &turn.peers[i],
                                                 .msg_namelen = sizeof(turn.peers[i]),
                                                 .msg_iov = &turn.iov[i],
                                                 .msg_iovlen = 1,
                                                 .msg_control = &turn.control[i],
                                                 .msg_controllen = sizeof(turn.control[i])}};
    }
    int n = recvmmsg(cell->udp_fd, turn.m, BATCH, MSG_DONTWAIT, NULL);
    turn.replies.n = 0;
    cell->batch = &turn.replies;
    for (int i = 0; i < n; i++)
        take_datagram(cell, &turn.m[i], &turn.peers[i]);
    cell->batch = NULL;
    batch_flush(cell, &turn.replies);
}

/* The reply's message header, in the memory of slot. */
static void reply_fill(struct reply_slot *slot, const struct dns_origin *origin, const void *bytes, size_t n,
                       struct msghdr *ret)
{
    slot->peer = origin->udp.peer;
    slot->iov = (struct iovec){(void *)(uintptr_t)bytes, n};
    memset(&slot->control, 0, sizeof(slot->control));
    *ret = (struct msghdr){.msg_name = &slot->peer,
                           .msg_namelen = sizeof(slot->peer),
                           .msg_iov = &slot->iov,
                           .msg_iovlen = 1,
                           .msg_control = &slot->control,
                           .msg_controllen = sizeof(slot->control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(ret);
    c->cmsg_level = IPPROTO_IPV6;
    c->cmsg_type = IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof(origin->udp.asked));
    memcpy(CMSG_DATA(c), &origin->udp.asked, sizeof(origin->udp.asked));
}

void dns_udp_send(struct dns_cell *cell, const struct dns_origin *origin, const struct buf *msg)
{
    struct dns_udp_batch *b = cell->batch;
    struct reply_slot slot;
    struct msghdr m;

    if (b && b->n < BATCH && msg->len <= sizeof(slot.bytes)) {
        struct reply_slot *to = &b->slots[b->n];
        memcpy(to->bytes, msg->data, msg->len);
        reply_fill(to, origin, to->bytes, msg->len, &b->m[b->n++].msg_hdr);
        return;
    }
    reply_fill(&slot, origin, msg->data, msg->len, &m);
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
