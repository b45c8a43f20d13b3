/* SPDX-License-Identifier: MIT */
/* From the ends of a socket to its inode: sock_diag(7), in the cell's network namespace. */
#include "supervisor/launch/who.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <sys/socket.h>

#include "common/net/addr.h"

#define WHO_REPLY_MAX 8192u
#define WHO_PARTS_MAX 64u /* datagrams of one dump */
#define WHO_WAIT_MS   10  /* the kernel answers at once or not at all */

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 req;
};

/* What a dump or a lookup has found so far. */
struct matches {
    const struct endpoint_addr *local, *remote;
    uint64_t inode;
    bool several;
    bool any_remote; /* a socket that is connected nowhere counts */
};

static void put_addr(__be32 dst[4], const struct addr *a)
{
    memcpy(dst, a->bytes, a->family == AF_INET6 ? 16 : 4);
}

static bool is_zero(const __be32 a[4], int family)
{
    static const __be32 zero[4];

    return memcmp(a, zero, family == AF_INET6 ? 16 : 4) == 0;
}

/* The address of a socket against one of ours; an IPv6 socket shows IPv4 ends as ::ffff:a.b.c.d. */
static bool same_addr(const __be32 theirs[4], int family, const struct addr *ours)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (family == (int)ours->family)
        return memcmp(theirs, ours->bytes, family == AF_INET6 ? 16 : 4) == 0;
    return family == AF_INET6 && ours->family == AF_INET && memcmp(theirs, mapped, 12) == 0 &&
           memcmp(theirs + 3, ours->bytes, 4) == 0;
}

static void match(struct matches *m, const struct inet_diag_msg *d)
{
    int family = d->idiag_family;
    bool free_end = d->id.idiag_dport == 0;

    if (ntohs(d->id.idiag_sport) != m->local->port || d->idiag_inode == 0)
        return;
    if (!same_addr(d->id.idiag_src, family, &m->local->addr) &&
        !(m->any_remote && is_zero(d->id.idiag_src, family)))
        return;
    if (free_end ? !m->any_remote
                 : ntohs(d->id.idiag_dport) != m->remote->port ||
                       !same_addr(d->id.idiag_dst, family, &m->remote->addr))
        return;
    m->several = m->several || (m->inode != 0 && m->inode != d->idiag_inode);
    m->inode = d->idiag_inode;
}

/* One datagram of the answer. True when it was the last one. */
static bool take(struct matches *m, const uint8_t *b, size_t len, uint32_t seq, bool dump)
{
    for (size_t at = 0; len - at >= sizeof(struct nlmsghdr);) {
        struct nlmsghdr h;
        struct inet_diag_msg d;
        memcpy(&h, b + at, sizeof(h));
        if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > len - at)
            return true;
        if (h.nlmsg_seq == seq && h.nlmsg_type == SOCK_DIAG_BY_FAMILY &&
            h.nlmsg_len >= sizeof(h) + sizeof(d)) {
            memcpy(&d, b + at + sizeof(h), sizeof(d));
            match(m, &d);
        }
        if (h.nlmsg_seq == seq && (!dump || h.nlmsg_type == NLMSG_DONE || h.nlmsg_type == NLMSG_ERROR))
            return true;
        size_t step = (h.nlmsg_len + (size_t)NLMSG_ALIGNTO - 1) & ~((size_t)NLMSG_ALIGNTO - 1);
        if (step >= len - at)
            break;
        at += step;
    }
    return false;
}

static int ask(struct who *w, const struct question *q, struct matches *m)
{
    uint8_t b[WHO_REPLY_MAX];
    bool dump = q->head.nlmsg_flags & NLM_F_DUMP;

    if (send(w->diag, q, sizeof(*q), MSG_DONTWAIT) != (ssize_t)sizeof(*q))
        return -EIO;
    for (unsigned i = 0; i < WHO_PARTS_MAX; i++) {
        struct pollfd p = {.fd = w->diag, .events = POLLIN};
        struct sockaddr_nl from = {0};
        struct iovec iov = {b, sizeof(b)};
        struct msghdr h = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
        if (poll(&p, 1, WHO_WAIT_MS) != 1)
            return -EAGAIN;
        ssize_t n = recvmsg(w->diag, &h, MSG_DONTWAIT);
        if (n < 0)
            return -errno;
        if (from.nl_pid == 0 && !(h.msg_flags & MSG_TRUNC) && /* the kernel, not a process of the cell */
            take(m, b, (size_t)n, q->head.nlmsg_seq, dump))
            return 0;
    }
    return -E2BIG;
}

static struct question question(struct who *w, int family, uint8_t protocol, bool dump)
{
    struct question q = {
        .head = {.nlmsg_len = sizeof(q),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (dump ? NLM_F_DUMP : 0)),
                 .nlmsg_seq = ++w->seq},
        .req = {.sdiag_family = (uint8_t)family,
                .sdiag_protocol = protocol,
                .idiag_states = UINT32_MAX,
                .id = {.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
    };

    return q;
}

/* A connection is looked up by both its ends. */
static int ask_tcp(struct who *w, struct matches *m)
{
    struct question q = question(w, m->local->addr.family, IPPROTO_TCP, false);

    q.req.id.idiag_sport = htons(m->local->port);
    q.req.id.idiag_dport = htons(m->remote->port);
    put_addr(q.req.id.idiag_src, &m->local->addr);
    put_addr(q.req.id.idiag_dst, &m->remote->addr);
    return ask(w, &q, m);
}

/* A datagram's socket may be bound to no address and connected to nothing, and others may share its port:
 * all with that port are looked at, of both families, because an IPv6 socket can speak IPv4. */
static int ask_udp(struct who *w, struct matches *m)
{
    int r = 0;

    m->any_remote = true;
    for (int i = 0; i < 2 && r == 0; i++) {
        int family = i == 0 ? AF_INET6 : AF_INET;
        struct question q = question(w, family, IPPROTO_UDP, true);
        if (family == AF_INET && m->local->addr.family == AF_INET6)
            break;
        q.req.id.idiag_sport = htons(m->local->port);
        r = ask(w, &q, m);
    }
    return r;
}

uint64_t who_inode(struct who *w, enum transport t, const struct endpoint_addr *local,
                   const struct endpoint_addr *remote)
{
    struct matches m = {.local = local, .remote = remote};
    int r = t == TRANSPORT_TCP ? ask_tcp(w, &m) : ask_udp(w, &m);

    return r < 0 || m.several ? 0 : m.inode;
}
