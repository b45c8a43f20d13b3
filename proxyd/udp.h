/* SPDX-License-Identifier: MIT */
/* The UDP side of one cell beside DNS. No rule of this version can allow a datagram: each is denied with its
 * event and answered by "port unreachable" from where it was sent to (decisions 24), through the cell's raw
 * sockets. */
#pragma once

#include "proxyd/claims.h"
#include "proxyd/policy.h"

struct udp;

/* sock: the transparent UDP socket, which tells the original destination of each datagram
 * (IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR); raw4, raw6: raw sockets that take the IP header. All three are
 * taken on success. policy and claims are borrowed. 0 or -errno. */
int udp_new(struct ev_loop *loop, const struct proxy_policy *policy, struct claims *claims, int sock,
            int raw4, int raw6, struct udp **ret) MUST_CHECK;
struct udp *udp_free(struct udp *u); /* NULL-safe; returns NULL */

uint64_t udp_denied(const struct udp *u);
