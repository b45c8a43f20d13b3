/* SPDX-License-Identifier: MIT */
/* SVCB and HTTPS records (RFC 9460). One of a resolver is never handed on: it is read whole, and another one
 * is written of the parts that a cell may have. Left out: ech (the name must stay visible to the policy, and
 * no cell gets a key to hide it with), hints that point where the name's own addresses may not, and
 * parameters that we do not know. */
#pragma once

#include "common/base/buf.h"
#include "common/net/addr.h"
#include "proxyd/dns/wire.h"

#define DNS_SVCB_PARAMS_MAX 32u /* of one record; more: malformed */
#define DNS_SVCB_HINTS_MAX  32u /* addresses of one record that are kept */

enum dns_svcb_outcome {
    DNS_SVCB_KEPT = 0,
    DNS_SVCB_TARGET,    /* it sends the client to a name that is not allowed */
    DNS_SVCB_MANDATORY, /* it says that nobody may use it without a parameter that we do not know */
};

struct dns_svcb_terms {
    bool (*addr_ok)(void *self, const struct addr *addr);
    bool (*target_ok)(void *self,
                      const struct name *target); /* "." and the owner itself are not asked about */
    void *self;
};

struct dns_svcb {
    uint16_t priority;           /* 0: alias mode */
    struct dns_wire_name target; /* len 1: the owner */
    bool ech_removed;
    bool hints_removed;
    size_t nhints; /* that were kept */
    struct addr hints[DNS_SVCB_HINTS_MAX];
};

/* Reads the rdata of a record of this owner and appends the one for the cell to b. An outcome, or -EBADMSG
 * (malformed), or b's error; with anything but DNS_SVCB_KEPT b is as it was. *ret is filled as far as it was
 * readable. */
int dns_svcb_rebuild(const uint8_t *rdata, size_t n, const struct dns_wire_name *owner,
                     const struct dns_svcb_terms *terms, struct buf *b, struct dns_svcb *ret) MUST_CHECK;
