/* SPDX-License-Identifier: MIT */
/* answerMode synthetic: every name gets addresses of its own that exist only inside the cell, one out of
 * 198.18.0.0/15 (RFC 2544: never on the Internet) and one out of a /64 of the cell below fd00::/8 (RFC 4193).
 * A name keeps them as long as the cell lives; they are never given to another name. */
#pragma once

#include "common/net/addr.h"
#include "common/net/name.h"

#define DNS_SYNTHETIC_NAMES 16384u /* of one cell; a name beyond gets no answer */

struct dns_synthetic;

/* run_id: the cell's /64 is made of it. A new, empty table, or NULL on ENOMEM. */
struct dns_synthetic *dns_synthetic_new(const char *run_id);
struct dns_synthetic *dns_synthetic_free(struct dns_synthetic *s); /* accepts NULL; returns NULL */

/* The address of this name in this family (AF_INET or AF_INET6). 0; -EDQUOT when DNS_SYNTHETIC_NAMES have
 * theirs; -ENOMEM. */
int dns_synthetic_addr(struct dns_synthetic *s, const struct name *name, int family,
                       struct addr *ret) MUST_CHECK;

/* The name that has this address. Accepts NULL. */
bool dns_synthetic_name(const struct dns_synthetic *s, const struct addr *addr, struct name *ret);
