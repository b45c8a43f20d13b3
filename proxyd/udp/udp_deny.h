/* SPDX-License-Identifier: MIT */
/* Denied datagrams: their event, at most one a flow and second with the rest counted in the gap of denials,
 * and "port unreachable" to the sender, so that a client goes on to its next idea at once. */
#pragma once

#include "proxyd/judge.h"
#include "proxyd/udp/udp.h"

/* A datagram from the cell; the payload is borrowed. */
struct udp_datagram {
    struct endpoint_addr from, to;
    const uint8_t *p;
    size_t len;
};

struct udp_denials;

/* raw4, raw6 and cfg are borrowed. 0 or -ENOMEM. */
int udp_denials_new(const struct udp_config *cfg, int raw4, int raw6, struct udp_denials **ret) MUST_CHECK;
/* Events that wait for the name of their process go out without it. NULL-safe; returns NULL. */
struct udp_denials *udp_denials_free(struct udp_denials *n);

/* j: what is decided; allow is false. dialed: where a dial failed, or NULL. */
void udp_deny(struct udp_denials *n, const struct judgement *j, const struct udp_datagram *d,
              const struct endpoint_addr *dialed);

/* Had this flow a denial of its own within the last second, so that another one will only be counted? */
bool udp_denied_lately(const struct udp_denials *n, const struct udp_datagram *d);

/* Only the answer to the sender, of a datagram of len bytes that went where d says. */
void udp_unreachable(struct udp_denials *n, const struct udp_datagram *d);

uint64_t udp_denials_count(const struct udp_denials *n);
