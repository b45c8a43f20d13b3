/* SPDX-License-Identifier: MIT */
/* "Port unreachable" packets, so that the sender of a denied datagram learns of it at once: RFC 792 (type 3,
 * code 3) and RFC 4443 section 3.1 (type 1, code 4). Complete with their IP header, for a raw socket that
 * takes it (raw(7)). */
#pragma once

#include "proxyd/udp/ip_packet.h"

#define ICMP_QUOTE_MAX  64u /* bytes of the datagram's payload that are quoted */
#define ICMP_PACKET_MAX (40 + 8 + 40 + 8 + ICMP_QUOTE_MAX)

/* A datagram of len bytes (the first nquote <= ICMP_QUOTE_MAX of them at quote; 0: NULL is fine) from `from`
 * to `to`: the answer comes from `to`. Both of one family. Returns the packet's size in dst. */
size_t icmp_port_unreachable(const struct endpoint_addr *from, const struct endpoint_addr *to, size_t len,
                             const uint8_t *quote, size_t nquote, uint8_t dst[ICMP_PACKET_MAX]);
