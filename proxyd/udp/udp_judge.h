/* SPDX-License-Identifier: MIT */
/* What the rules say about a flow (decisions 25), as functions without I/O. */
#pragma once

#include "proxyd/judge.h"
#include "proxyd/quic/initial.h"
#include "proxyd/udp/udp.h"

/* Can a rule for QUIC, or for raw UDP, cover this port at all? */
bool udp_judge_quic_port(const struct proxy_policy *p, uint16_t port);
bool udp_judge_raw_port(const struct proxy_policy *p, uint16_t port);

/* The destination, before the payload is looked at. True: it is denied, and *ret says why. */
bool udp_judge_destination(const struct proxy_policy *p, const struct endpoint_addr *original,
                           const struct addr *from, struct judgement *ret);

/* By a rule for QUIC. o: what quic_read has come to for r; not QUIC_MORE, not QUIC_PASS. */
void udp_judge_quic(const struct proxy_policy *p, const struct endpoint_addr *original, enum quic_outcome o,
                    const struct quic_reader *r, struct judgement *ret);

/* By a raw rule: the address itself, or a name whose address it is in this cell's own answers (dns_pin_find);
 * where that one exists only in the cell, ret->pinned is false and the name must be resolved. */
void udp_judge_raw(const struct proxy_policy *p, const struct dns_cell *dns,
                   const struct endpoint_addr *original, struct judgement *ret);
