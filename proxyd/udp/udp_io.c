/* SPDX-License-Identifier: MIT */
#include "proxyd/udp/udp_io.h"

#include <linux/in6.h>

#define PAYLOAD_MAX  65535u /* a page is touched when a datagram reaches it, not before */
#define PAYLOAD4_MAX (65535u - 20u - UDP_HEADER_LEN)
#define PAYLOAD6_MAX (65535u - UDP_HEADER_LEN)

#include "proxyd/udp/ip_packet.h"

static struct batch {
    struct mmsghdr m[UDP_BATCH];
    struct iovec iov[UDP_BATCH][2];
    struct sockaddr_storage from[UDP_BATCH];
    _Alignas(struct cmsghdr) char control[UDP_BATCH][256];
    struct udp_datagram d[UDP_BATCH];
    struct str text[UDP_BATCH];
    uint8_t header[UDP_BATCH][IP_HEADER_MAX + UDP_HEADER_LEN];
    uint8_t bytes[UDP_BATCH][PAYLOAD_MAX];
} batch;

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

static void overflow_of(struct msghdr *m, uint32_t *overflow)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL &&
            c->cmsg_len >= CMSG_LEN(sizeof(*overflow)))
            memcpy(overflow, CMSG_DATA(c), sizeof(*overflow));
}

static ssize_t receive(int fd, bool with_control)
{
    for (size_t i = 0; i < UDP_BATCH; i++) {
        batch.iov[i][0] = (struct iovec){batch.bytes[i], PAYLOAD_MAX};
        batch.m[i].msg_hdr = (struct msghdr){.msg_iov = batch.iov[i], .msg_iovlen = 1};
        if (!with_control)
            continue;
        batch.m[i].msg_hdr.msg_name = &batch.from[i];
        batch.m[i].msg_hdr.msg_namelen = sizeof(batch.from[i]);
        batch.m[i].msg_hdr.msg_control = batch.control[i];
        batch.m[i].msg_hdr.msg_controllen = sizeof(batch.control[i]);
    }
    int n = recvmmsg(fd, batch.m, UDP_BATCH, MSG_DONTWAIT, NULL);
    return n < 0 ? -errno : n;
}

size_t udp_io_recv_cell(int sock, const struct udp_datagram **ret, size_t *ret_broken, uint32_t *overflow)
{
    ssize_t n = receive(sock, true);
    size_t good = 0;

    *ret_broken = 0;
    *ret = batch.d;
    for (ssize_t i = 0; i < n; i++) {
        struct msghdr *m = &batch.m[i].msg_hdr;
        overflow_of(m, overflow);
        struct udp_datagram d = {.p = batch.bytes[i], .len = batch.m[i].msg_len};
        if (addr_from_sockaddr((struct sockaddr *)m->msg_name, m->msg_namelen, &d.from) < 0 ||
            destination_of(m, &d.to) < 0)
            (*ret_broken)++;
        else
            batch.d[good++] = d;
    }
    return good;
}

ssize_t udp_io_recv(int fd, const struct str **ret)
{
    ssize_t n = receive(fd, false);

    for (ssize_t i = 0; i < n; i++)
        batch.text[i] = (struct str){(const char *)batch.bytes[i], batch.m[i].msg_len};
    *ret = batch.text;
    return n;
}

size_t udp_io_send_cell(int raw, const struct endpoint_addr *from, const struct endpoint_addr *to,
                        const struct str *v, size_t n)
{
    struct endpoint_addr host = {.addr = to->addr}; /* port 0: a raw socket takes nothing else */
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&host, &ss);
    size_t max = from->addr.family == AF_INET6 ? PAYLOAD6_MAX : PAYLOAD4_MAX, k = 0, sent = 0;

    for (size_t i = 0; i < n; i++) {
        if (v[i].len > max)
            continue;
        size_t header = ip_udp_headers(from, to, (const uint8_t *)v[i].p, v[i].len, batch.header[k]);
        batch.iov[k][0] = (struct iovec){batch.header[k], header};
        batch.iov[k][1] = (struct iovec){(void *)v[i].p, v[i].len};
        batch.m[k].msg_hdr =
            (struct msghdr){.msg_name = &ss, .msg_namelen = len, .msg_iov = batch.iov[k], .msg_iovlen = 2};
        k++;
    }
    while (sent < k) {
        int r = sendmmsg(raw, batch.m + sent, (unsigned)(k - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r <= 0)
            break;
        sent += (size_t)r;
    }
    return sent;
}
