/* SPDX-License-Identifier: MIT */
/* IP addresses, prefixes and their classes. Text is RFC 5952 (IPv6) and dotted decimal (IPv4). */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

struct addr {
    uint8_t family;    /* AF_INET or AF_INET6; AF_UNSPEC when empty */
    uint8_t bytes[16]; /* network order; IPv4 uses the first four */
};

struct addr_prefix {
    struct addr addr; /* host bits are zero */
    uint8_t bits;
};

struct endpoint_addr {
    struct addr addr;
    uint16_t port; /* host order */
};

#define ADDR_TEXT_MAX     46 /* with NUL */
#define ADDR_ENDPOINT_MAX 56 /* "[v6]:port" with NUL */

/* A literal, strict (no leading zeros, no zone, IPv6 without brackets). 0 or -EINVAL. */
int addr_parse(struct str s, struct addr *ret) MUST_CHECK;

/* "addr" or "addr/bits"; host bits must be zero. 0 or -EINVAL. */
int addr_prefix_parse(struct str s, struct addr_prefix *ret) MUST_CHECK;

/* "1.2.3.4:53", "[2001:db8::1]:53"; without a port default_port is taken (0 = a port is required). 0 or
 * -EINVAL. */
int addr_endpoint_parse(struct str s, uint16_t default_port, struct endpoint_addr *ret) MUST_CHECK;

const char *addr_format(const struct addr *a, char dst[ADDR_TEXT_MAX]);
const char *addr_endpoint_format(const struct endpoint_addr *e, char dst[ADDR_ENDPOINT_MAX]);

bool addr_eq(const struct addr *a, const struct addr *b);
bool addr_prefix_contains(const struct addr_prefix *p, const struct addr *a);

/* sockaddr both ways; an IPv4-mapped IPv6 sockaddr reads as IPv4. 0 or -EAFNOSUPPORT. */
int addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct endpoint_addr *ret) MUST_CHECK;
socklen_t addr_to_sockaddr(const struct endpoint_addr *e, struct sockaddr_storage *ret);

enum addr_class {
    ADDR_GLOBAL,      /* an ordinary public unicast address */
    ADDR_UNSPECIFIED, /* 0.0.0.0/8, :: */
    ADDR_LOOPBACK,
    ADDR_PRIVATE,    /* RFC 1918, RFC 6598 (100.64/10), RFC 4193 */
    ADDR_LINK_LOCAL, /* 169.254/16, fe80::/10, fec0::/10 */
    ADDR_METADATA, /* 169.254.169.254, fd00:ec2::254, 168.63.129.16, 100.100.100.200: no spec can allow it */
    ADDR_MULTICAST,
    ADDR_RESERVED, /* the rest of the IANA special-purpose registries (RFC 6890), 240/4, broadcast,
                      documentation */
};

/* Class of the address that would really be reached: ::ffff/96, 64:ff9b::/96, 2002::/16 and 2001::/32 are
 * unwrapped first (decisions 26). */
enum addr_class addr_classify(const struct addr *a);
const char *addr_class_name(enum addr_class c);
