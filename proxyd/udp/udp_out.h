/* SPDX-License-Identifier: MIT */
/* The way out of an allowed flow: the process behind it, the addresses of its name, a connected socket, its
 * event. Nothing is sent before the event is durable: connect(2) of a UDP socket only asks the routing table,
 * so the address is known, and checked, when it is claimed. Where the operator has a proxy for all that goes
 * out, no datagram does: it ends with l7_upstream_unreachable. */
#pragma once

#include "proxyd/judge.h"
#include "proxyd/udp/udp.h"

struct udp_out;

struct udp_want {
    struct judgement j; /* allow is true; literal or pinned: the original address is dialed, else the name */
    struct endpoint_addr client, original; /* the two ends as the cell knows them */
};

struct udp_out_result {
    uint32_t reason; /* 0: allowed; else the enum l7_reason of the denial */
    int fd;          /* connected, non-blocking, the receiver's; else -EBADF */
    bool has_dialed;
    struct endpoint_addr dialed; /* what fd is connected to, or could not be */
};

/* Once, never from inside udp_out_start, not after udp_out_cancel; the handle is gone when it is called. */
typedef void (*udp_out_done)(void *self, const struct udp_out_result *result);

/* cfg is borrowed, want copied. 0 or -ENOMEM. */
int udp_out_start(const struct udp_config *cfg, const struct udp_want *want, udp_out_done done, void *self,
                  struct udp_out **ret) MUST_CHECK;
void udp_out_cancel(struct udp_out *o); /* NULL-safe */

/* The policy changed and still allows it, by this rule. */
void udp_out_rule_set(struct udp_out *o, ssize_t rule);
