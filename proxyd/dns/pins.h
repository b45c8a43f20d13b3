/* SPDX-License-Identifier: MIT */
/* Which names gave a cell which addresses: raw tcp and udp rules name hosts, packets only addresses. At most
 * LIMIT_PINS of one cell; the one that was renewed longest ago goes first. Times are CLOCK_BOOTTIME
 * microseconds. */
#pragma once

#include "common/net/addr.h"
#include "common/net/name.h"
#include "proto/limits.h"

struct dns_pins; /* NULL is the empty set */

/* Frees. Accepts NULL; returns NULL. */
struct dns_pins *dns_pins_free(struct dns_pins *p);

/* name gave addr, valid until then at least; an older pin of the two is renewed and never shortened. *p is
 * made when it is NULL. 0 or -ENOMEM (not pinned: what asks for it later is denied). */
int dns_pins_put(struct dns_pins **p, const struct name *name, const struct addr *addr,
                 uint64_t until_us) MUST_CHECK;

/* The name that was pinned last to addr, is still valid, and of which fits() approves. */
bool dns_pins_find(const struct dns_pins *p, const struct addr *addr, uint64_t now_us,
                   bool (*fits)(void *self, const struct name *name), void *self, struct name *ret);

/* Drops what keep() does not approve of. */
void dns_pins_sift(struct dns_pins *p, bool (*keep)(void *self, const struct name *name), void *self);

/* How many pins were pushed out by newer ones so far: who relies on a pin looks whether this has changed. */
uint64_t dns_pins_lost(const struct dns_pins *p);
