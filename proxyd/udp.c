/* SPDX-License-Identifier: MIT */
#include "proxyd/udp.h"

#include <linux/in6.h>

#include "common/base/log.h"
#include "proxyd/icmp.h"
#include "proxyd/l7_event.h"

#define UDP_BURST 64 /* datagrams in one turn of the loop */

struct udp {
    struct ev_loop *loop;
    const struct proxy_policy *policy;
    struct claims *claims;
    int sock, raw4, raw6;
    struct ev_io reader;
    uint64_t denied;
};

struct datagram {
    struct endpoint_addr from, to;
    size_t len; /* of the whole payload */
    size_t nquote;
    uint8_t quote[ICMP_QUOTE_MAX];
};

/* The original destination: IPv4 datagrams carry it at the IPv4 level, even on an IPv6 socket. */
static int destination_of(struct msghdr *m, struct endpoint_addr *ret)
{
    int r = -ENOMSG;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct sockaddr_storage ss = {0};
        bool v4 = c->cmsg_level == SOL_IP && c->cmsg_type == IP_ORIGDSTADDR;
        bool v6 = c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR;
        size_t want = v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        if ((!v4 && !v6) || c->cmsg_len < CMSG_LEN(want))
            continue;
        memcpy(&ss, CMSG_DATA(c), want);
        r = addr_from_sockaddr((struct sockaddr *)&ss, (socklen_t)want, ret);
        if (v4)
            return r;
    }
    return r;
}

/* 0, or -EAGAIN when nothing is there, or -errno. */
static int datagram_read(int sock, struct datagram *ret)
{
    struct sockaddr_storage from;
    _Alignas(struct cmsghdr) char control[256];
    struct iovec iov = {ret->quote, sizeof(ret->quote)};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof(from),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(sock, &m, MSG_DONTWAIT | MSG_TRUNC);

    if (n < 0)
        return -errno;
    ret->len = (size_t)n;
    ret->nquote = ret->len < sizeof(ret->quote) ? ret->len : sizeof(ret->quote);
    int r = addr_from_sockaddr((struct sockaddr *)&from, m.msg_namelen, &ret->from);
    return r < 0 ? -EBADMSG : destination_of(&m, &ret->to) < 0 ? -EBADMSG : 0;
}

static void datagram_refuse(struct udp *u, const struct datagram *d)
{
    uint8_t packet[ICMP_PACKET_MAX];
    struct endpoint_addr host = {.addr = d->from.addr};
    struct sockaddr_storage ss;

    if (d->from.addr.family != d->to.addr.family || addr_classify(&d->to.addr) == ADDR_MULTICAST)
        return; /* RFC 1122 section 3.2.2: no error about a multicast */
    size_t n = icmp_port_unreachable(&d->from, &d->to, d->len, d->quote, d->nquote, packet);
    socklen_t len = addr_to_sockaddr(&host, &ss); /* port 0: a raw socket takes nothing else */
    int raw = d->to.addr.family == AF_INET6 ? u->raw6 : u->raw4;
    if (sendto(raw, packet, n, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&ss, len) < 0)
        log_debug("a denied datagram stays unanswered");
}

static void datagram_judge(struct udp *u, const struct datagram *d)
{
    struct judgement j;

    if (judge_destination(u->policy, &d->to, &d->from.addr, &j) == JUDGE_MORE)
        j.reason = L7_UNKNOWN_PROTOCOL;
    j.allow = false;
    j.protocol = L7_UDP;
    u->denied++;
    l7_event_deny(u->claims, &j, &d->to, NULL);
    datagram_refuse(u, d);
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct udp *u = w->data;

    (void)loop;
    (void)events;
    for (int i = 0; i < UDP_BURST; i++) {
        struct datagram d = {0};
        int r = datagram_read(u->sock, &d);
        if (r == 0) {
            datagram_judge(u, &d);
        } else if (r == -EBADMSG) { /* nobody can say where it went; it is counted all the same */
            u->denied++;
            claims_lost(u->claims, GAP_DENIALS, 1);
        } else if (r == -EAGAIN) {
            return;
        }
    }
}

int udp_new(struct ev_loop *loop, const struct proxy_policy *policy, struct claims *claims, int sock,
            int raw4, int raw6, struct udp **ret)
{
    struct udp *u = calloc(1, sizeof(*u));

    if (!u)
        return -ENOMEM;
    *u = (struct udp){
        .loop = loop, .policy = policy, .claims = claims, .sock = sock, .raw4 = raw4, .raw6 = raw6};
    ev_io_init(&u->reader, on_readable, sock, EV_READ);
    u->reader.data = u;
    ev_io_start(loop, &u->reader);
    *ret = u;
    return 0;
}

struct udp *udp_free(struct udp *u)
{
    if (!u)
        return NULL;
    ev_io_stop(u->loop, &u->reader);
    cleanup_closep(&u->sock);
    cleanup_closep(&u->raw4);
    cleanup_closep(&u->raw6);
    free(u);
    return NULL;
}

uint64_t udp_denied(const struct udp *u)
{
    return u->denied;
}
