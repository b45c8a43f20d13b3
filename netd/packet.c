/* SPDX-License-Identifier: MIT */
#include "netd/packet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define IP4_HEADER   20
#define IP4_FRAGMENT 0x1fff /* of the flags and offset field: the offset */
#define IP6_FRAGMENT 0xfff8
#define IP6_HEADER   40
#define ICMP_OF_IPV6 58

static bool protocol_has_ports(uint8_t protocol)
{
    switch (protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_DCCP:
    case IPPROTO_SCTP:
        return true;
    default:
        return false;
    }
}

/* Both ports stand first in each of these protocols. */
static void take_ports(struct cursor *c, struct packet_tuple *t)
{
    uint16_t source = 0, destination = 0;
    if (!protocol_has_ports(t->protocol) || cursor_be16(c, &source) < 0 || cursor_be16(c, &destination) < 0)
        return;
    t->source.port = source;
    t->destination.port = destination;
    t->has_ports = true;
}

static void take_addresses(struct packet_tuple *t, uint8_t family, const uint8_t *p, size_t n)
{
    t->source.addr.family = t->destination.addr.family = family;
    memcpy(t->source.addr.bytes, p, n);
    memcpy(t->destination.addr.bytes, p + n, n);
}

static int parse4(struct cursor *c, struct packet_tuple *t, uint64_t *ret_length)
{
    uint8_t first = 0;
    uint16_t length = 0, fragment = 0;
    const uint8_t *addresses = NULL;
    if (cursor_u8(c, &first) < 0 || cursor_skip(c, 1) < 0 || cursor_be16(c, &length) < 0 ||
        cursor_skip(c, 2) < 0 || cursor_be16(c, &fragment) < 0 || cursor_skip(c, 1) < 0 ||
        cursor_u8(c, &t->protocol) < 0 || cursor_skip(c, 2) < 0 || cursor_bytes(c, 8, &addresses) < 0)
        return -EBADMSG;
    size_t header = 4u * (first & 0x0f);
    if (header < IP4_HEADER)
        return -EBADMSG;
    take_addresses(t, AF_INET, addresses, 4);
    *ret_length = length;
    if ((fragment & IP4_FRAGMENT) == 0 && cursor_skip(c, header - IP4_HEADER) == 0)
        take_ports(c, t);
    return 0;
}

/* One extension header: 1 when it was one and the next may follow, 0 at the upper layer or where the bytes
 * end.
 */
static int skip_extension(struct cursor *c, struct packet_tuple *t)
{
    struct cursor at = *c;
    uint8_t next = 0, length = 0;
    uint16_t fragment = 0;
    if (cursor_u8(&at, &next) < 0 || cursor_u8(&at, &length) < 0)
        return 0;
    switch (t->protocol) {
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_DSTOPTS:
        if (cursor_skip(&at, 8u * length + 6u) < 0)
            return 0;
        break;
    case IPPROTO_FRAGMENT:
        if (cursor_be16(&at, &fragment) < 0 || cursor_skip(&at, 4) < 0)
            return 0;
        if ((fragment & IP6_FRAGMENT) != 0) /* what follows is the middle of something */
            at.p = at.end;
        break;
    case IPPROTO_AH: /* RFC 4302: in units of 4 bytes, less 2 */
        if (cursor_skip(&at, 4u * (length + 2u) - 2u) < 0)
            return 0;
        break;
    default:
        return 0;
    }
    t->protocol = next;
    *c = at;
    return 1;
}

static int parse6(struct cursor *c, struct packet_tuple *t, uint64_t *ret_length)
{
    uint16_t payload = 0;
    const uint8_t *addresses = NULL;
    int more = 1;
    if (cursor_skip(c, 4) < 0 || cursor_be16(c, &payload) < 0 || cursor_u8(c, &t->protocol) < 0 ||
        cursor_skip(c, 1) < 0 || cursor_bytes(c, 32, &addresses) < 0)
        return -EBADMSG;
    take_addresses(t, AF_INET6, addresses, 16);
    *ret_length = (uint64_t)payload + IP6_HEADER;
    for (int i = 0; more > 0 && i < PACKET_EXTENSIONS_MAX; i++)
        more = skip_extension(c, t);
    if (more == 0)
        take_ports(c, t);
    return 0;
}

int packet_parse(const void *p, size_t n, struct packet_tuple *ret, uint64_t *ret_length)
{
    struct cursor c = cursor_of(p, n);
    struct packet_tuple t = {0};
    if (cursor_left(&c) == 0)
        return -EBADMSG;
    int r = *c.p >> 4 == 4   ? parse4(&c, &t, ret_length)
            : *c.p >> 4 == 6 ? parse6(&c, &t, ret_length)
                             : -EBADMSG;
    if (r == 0)
        *ret = t;
    return r;
}

bool packet_tuple_eq(const struct packet_tuple *a, const struct packet_tuple *b)
{
    return a->protocol == b->protocol && a->has_ports == b->has_ports && a->source.port == b->source.port &&
           a->destination.port == b->destination.port && addr_eq(&a->source.addr, &b->source.addr) &&
           addr_eq(&a->destination.addr, &b->destination.addr);
}

const char *packet_protocol(uint8_t protocol, char dst[PACKET_PROTOCOL_MAX])
{
    if (protocol == IPPROTO_TCP)
        snprintf(dst, PACKET_PROTOCOL_MAX, "tcp");
    else if (protocol == IPPROTO_UDP)
        snprintf(dst, PACKET_PROTOCOL_MAX, "udp");
    else if (protocol == IPPROTO_ICMP || protocol == ICMP_OF_IPV6)
        snprintf(dst, PACKET_PROTOCOL_MAX, "icmp");
    else
        snprintf(dst, PACKET_PROTOCOL_MAX, "%u", protocol);
    return dst;
}

const char *packet_end(const struct packet_tuple *t, const struct endpoint_addr *end,
                       char dst[ADDR_ENDPOINT_MAX])
{
    if (t->has_ports)
        return addr_endpoint_format(end, dst);
    return addr_format(&end->addr, dst);
}
