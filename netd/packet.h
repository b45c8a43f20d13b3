/* SPDX-License-Identifier: MIT */
/* The headers of one IP packet that the workload made: every byte of it is hostile. RFC 791, RFC 8200 section
 * 4, RFC 9293, RFC 768. */
#pragma once

#include "common/base/cursor.h"
#include "common/net/addr.h"

#define PACKET_PROTOCOL_MAX 16 /* of packet_protocol(), with NUL */

/* Extension headers one packet may have; longer chains keep the number of the last one as their protocol. */
#define PACKET_EXTENSIONS_MAX 8

/* Between whom: of a packet, or of a flow as its first packet says it. */
struct packet_tuple {
    struct endpoint_addr source, destination; /* one family; ports only where has_ports */
    uint8_t protocol;                         /* IANA protocol number of the upper layer */
    bool has_ports;
};

/* Reads the tuple from the first n bytes of a packet, which may be cut anywhere behind the addresses: what is
 * not there is left out (no ports; the last protocol number that was). length: of the whole packet, as its
 * header says. 0; -EBADMSG when it is no IPv4 or IPv6 packet or ends within the fixed header. */
int packet_parse(const void *p, size_t n, struct packet_tuple *ret, uint64_t *ret_length) MUST_CHECK;

bool packet_tuple_eq(const struct packet_tuple *a, const struct packet_tuple *b);

/* "tcp", "udp", "icmp" (of both families), or the number. */
const char *packet_protocol(uint8_t protocol, char dst[PACKET_PROTOCOL_MAX]);

/* "address:port", or the address alone. */
const char *packet_end(const struct packet_tuple *t, const struct endpoint_addr *end,
                       char dst[ADDR_ENDPOINT_MAX]);
