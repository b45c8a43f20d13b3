/* SPDX-License-Identifier: MIT */
#include "proxyd/udp/icmp.h"

#define ICMP_HEADER 8

/* The headers of the refused datagram as the receiver will compare them, and the begin of its payload. */
static size_t put_quote(uint8_t *p, const struct endpoint_addr *from, const struct endpoint_addr *to,
                        size_t len, const uint8_t *quote, size_t nquote)
{
    size_t n = ip_header(p, IPPROTO_UDP, &from->addr, &to->addr, UDP_HEADER_LEN + len);

    ip_put16(p + n, from->port);
    ip_put16(p + n + 2, to->port);
    ip_put16(p + n + 4, UDP_HEADER_LEN + len);
    ip_put16(p + n + 6, 0); /* nobody checks it, and the payload may be incomplete here */
    if (nquote > 0)
        memcpy(p + n + UDP_HEADER_LEN, quote, nquote);
    return n + UDP_HEADER_LEN + nquote;
}

size_t icmp_port_unreachable(const struct endpoint_addr *from, const struct endpoint_addr *to, size_t len,
                             const uint8_t *quote, size_t nquote, uint8_t dst[ICMP_PACKET_MAX])
{
    bool v6 = to->addr.family == AF_INET6;
    uint8_t protocol = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    uint8_t *icmp = dst + (v6 ? 40 : 20);
    size_t n = ICMP_HEADER + put_quote(icmp + ICMP_HEADER, from, to, len, quote, nquote);
    uint32_t sum = 0;

    ip_header(dst, protocol, &to->addr, &from->addr, n);
    memset(icmp, 0, ICMP_HEADER);
    icmp[0] = v6 ? 1 : 3;
    icmp[1] = v6 ? 4 : 3;
    if (v6) /* RFC 4443 section 2.3: the pseudo-header counts */
        sum = ip_sum((uint32_t)n + IPPROTO_ICMPV6, dst + 8, 32);
    ip_put16(icmp + 2, ip_fold(ip_sum(sum, icmp, n)));
    return (size_t)(icmp - dst) + n;
}
