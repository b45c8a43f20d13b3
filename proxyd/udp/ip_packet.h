/* SPDX-License-Identifier: MIT */
/* IP and UDP headers written by hand, for a raw socket that takes the IP header (raw(7)): what the proxy says
 * in a cell in the name of the address the cell spoke to. */
#pragma once

#include "common/net/addr.h"

#define IP_HEADER_MAX  40u
#define UDP_HEADER_LEN 8u

/* The IP header (RFC 791 without options, RFC 8200 without extensions) before a payload of so many bytes;
 * both addresses of one family. Returns its size in dst: 20 or 40. */
size_t ip_header(uint8_t dst[IP_HEADER_MAX], uint8_t protocol, const struct addr *src, const struct addr *to,
                 size_t payload);

/* IP and UDP header of a datagram from one end to the other. The checksum is there where it must be: over
 * IPv6 (RFC 8200 section 8.1); over IPv4 it is 0, "none" (RFC 768): the packet never leaves the cell's
 * loopback. Returns their size in dst. */
size_t ip_udp_headers(const struct endpoint_addr *from, const struct endpoint_addr *to,
                      const uint8_t *payload, size_t n, uint8_t dst[IP_HEADER_MAX + UDP_HEADER_LEN]);

/* The Internet checksum (RFC 1071): sums are added up piece by piece, each but the last of an even length,
 * and folded at the end. */
uint32_t ip_sum(uint32_t sum, const uint8_t *p, size_t n);
uint16_t ip_fold(uint32_t sum);

static inline void ip_put16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
