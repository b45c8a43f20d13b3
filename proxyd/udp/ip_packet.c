/* SPDX-License-Identifier: MIT */
#include "proxyd/udp/ip_packet.h"

#include <arpa/inet.h>

#define TTL 64

/* Four bytes at a time into a wide sum, which has room for the carries of any datagram (RFC 1071 section 2).
 */
uint32_t ip_sum(uint32_t sum, const uint8_t *p, size_t n)
{
    uint64_t wide = 0;
    uint32_t four;

    for (; n >= 4; p += 4, n -= 4) {
        memcpy(&four, p, 4);
        wide += ntohl(four);
    }
    for (size_t i = 0; i < n; i++)
        wide += (uint64_t)p[i] << (i % 2 ? 0 : 8);
    wide += sum;
    while (wide >> 16)
        wide = (wide & 0xffff) + (wide >> 16);
    return (uint32_t)wide;
}

uint16_t ip_fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static size_t put_ip4(uint8_t *p, uint8_t protocol, const struct addr *src, const struct addr *to,
                      size_t payload)
{
    memset(p, 0, 20);
    p[0] = 0x45;
    ip_put16(p + 2, 20 + payload);
    p[8] = TTL;
    p[9] = protocol;
    memcpy(p + 12, src->bytes, 4);
    memcpy(p + 16, to->bytes, 4);
    ip_put16(p + 10, ip_fold(ip_sum(0, p, 20)));
    return 20;
}

static size_t put_ip6(uint8_t *p, uint8_t next, const struct addr *src, const struct addr *to, size_t payload)
{
    memset(p, 0, 40);
    p[0] = 0x60;
    ip_put16(p + 4, payload);
    p[6] = next;
    p[7] = TTL;
    memcpy(p + 8, src->bytes, 16);
    memcpy(p + 24, to->bytes, 16);
    return 40;
}

size_t ip_header(uint8_t dst[IP_HEADER_MAX], uint8_t protocol, const struct addr *src, const struct addr *to,
                 size_t payload)
{
    return src->family == AF_INET6 ? put_ip6(dst, protocol, src, to, payload)
                                   : put_ip4(dst, protocol, src, to, payload);
}

size_t ip_udp_headers(const struct endpoint_addr *from, const struct endpoint_addr *to,
                      const uint8_t *payload, size_t n, uint8_t dst[IP_HEADER_MAX + UDP_HEADER_LEN])
{
    size_t ip = ip_header(dst, IPPROTO_UDP, &from->addr, &to->addr, UDP_HEADER_LEN + n);
    uint8_t *udp = dst + ip;

    ip_put16(udp, from->port);
    ip_put16(udp + 2, to->port);
    ip_put16(udp + 4, UDP_HEADER_LEN + n);
    ip_put16(udp + 6, 0);
    if (from->addr.family == AF_INET6) {
        uint32_t sum = ip_sum((uint32_t)(UDP_HEADER_LEN + n) + IPPROTO_UDP, dst + 8, 32);
        uint16_t check = ip_fold(ip_sum(ip_sum(sum, udp, UDP_HEADER_LEN), payload, n));
        ip_put16(udp + 6, check ? check : 0xffff); /* 0 would say that there is none */
    }
    return ip + UDP_HEADER_LEN;
}
