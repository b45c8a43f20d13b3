/* SPDX-License-Identifier: MIT */
#include "proxyd/icmp.h"

#define TTL         64
#define UDP_HEADER  8
#define ICMP_HEADER 8

static void put16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* The Internet checksum's sum (RFC 1071), not yet folded. */
static uint32_t sum16(uint32_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i += 2)
        sum += (uint32_t)p[i] << 8 | (i + 1 < n ? p[i + 1] : 0u);
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static size_t put_ip4(uint8_t *p, uint8_t protocol, const struct addr *src, const struct addr *dst,
                      size_t payload)
{
    memset(p, 0, 20);
    p[0] = 0x45;
    put16(p + 2, 20 + payload);
    p[8] = TTL;
    p[9] = protocol;
    memcpy(p + 12, src->bytes, 4);
    memcpy(p + 16, dst->bytes, 4);
    put16(p + 10, fold(sum16(0, p, 20)));
    return 20;
}

static size_t put_ip6(uint8_t *p, uint8_t next, const struct addr *src, const struct addr *dst,
                      size_t payload)
{
    memset(p, 0, 40);
    p[0] = 0x60;
    put16(p + 4, payload);
    p[6] = next;
    p[7] = TTL;
    memcpy(p + 8, src->bytes, 16);
    memcpy(p + 24, dst->bytes, 16);
    return 40;
}

static size_t put_ip(uint8_t *p, uint8_t protocol, const struct addr *src, const struct addr *dst,
                     size_t payload)
{
    return src->family == AF_INET6 ? put_ip6(p, protocol, src, dst, payload)
                                   : put_ip4(p, protocol, src, dst, payload);
}

/* The headers of the refused datagram as the receiver will compare them, and the begin of its payload. */
static size_t put_quote(uint8_t *p, const struct endpoint_addr *from, const struct endpoint_addr *to,
                        size_t len, const uint8_t *quote, size_t nquote)
{
    size_t n = put_ip(p, IPPROTO_UDP, &from->addr, &to->addr, UDP_HEADER + len);

    put16(p + n, from->port);
    put16(p + n + 2, to->port);
    put16(p + n + 4, UDP_HEADER + len);
    put16(p + n + 6, 0); /* nobody checks it, and the payload may be incomplete here */
    memcpy(p + n + UDP_HEADER, quote, nquote);
    return n + UDP_HEADER + nquote;
}

size_t icmp_port_unreachable(const struct endpoint_addr *from, const struct endpoint_addr *to, size_t len,
                             const uint8_t *quote, size_t nquote, uint8_t dst[ICMP_PACKET_MAX])
{
    bool v6 = to->addr.family == AF_INET6;
    uint8_t protocol = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    uint8_t *icmp = dst + (v6 ? 40 : 20);
    size_t n = ICMP_HEADER + put_quote(icmp + ICMP_HEADER, from, to, len, quote, nquote);
    uint32_t sum = 0;

    put_ip(dst, protocol, &to->addr, &from->addr, n);
    memset(icmp, 0, ICMP_HEADER);
    icmp[0] = v6 ? 1 : 3;
    icmp[1] = v6 ? 4 : 3;
    if (v6) /* RFC 4443 section 2.3: the pseudo-header counts */
        sum = sum16((uint32_t)n + IPPROTO_ICMPV6, dst + 8, 32);
    put16(icmp + 2, fold(sum16(sum, icmp, n)));
    return (size_t)(icmp - dst) + n;
}
