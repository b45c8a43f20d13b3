/* SPDX-License-Identifier: MIT */
/* The addresses of routed cells: one IPv4 and, where the operator gave a prefix for it, one IPv6 address a
 * cell, out of the pool that netd was started with. Several suites may share a pool: who has an address is
 * known by the host's routes, not here (routed_link.h). */
#pragma once

#include "common/net/addr.h"

#define POOL_SLOTS_MAX 4094u /* cells of one pool on one host; a /20 and a /116 have room for them */

struct pool {
    struct addr_prefix v4, v6; /* family AF_UNSPEC: none */
    unsigned slots;            /* 1 ... slots are addresses that a cell can have */
};

/* "10.9.0.0/16", "10.9.0.0/16,fd00:9::/48" or "fd00:9::/48": at most one prefix a family, each with room for
 * two cells. 0 or -EINVAL, then *ret_why says what is wrong. */
int pool_parse(struct str text, struct pool *ret, const char **ret_why) MUST_CHECK;

/* The address of a slot; of no family when the pool has none. */
struct addr pool_ipv4(const struct pool *p, unsigned slot);
struct addr pool_ipv6(const struct pool *p, unsigned slot);
