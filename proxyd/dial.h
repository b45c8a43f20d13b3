/* SPDX-License-Identifier: MIT */
/* One connection attempt, and the check that the very address given to connect(2) must pass (decisions 26).
 */
#pragma once

#include <ev.h>

#include "proxyd/judge.h"

/* May the connection that j allows be dialed at this address? Unspecified and multicast addresses: never.
 * Private, reserved, loopback and the host's own addresses: only when the spec lists them, for this name
 * (responseIpAllowlist) or as a rule for exactly this address; metadata addresses: only when the operator
 * lists them too. */
bool dial_permitted(const struct proxy_policy *p, const struct judgement *j, const struct addr *addr);

struct dial {
    struct ev_loop *loop;
    int fd;
    struct ev_io io;
    void (*done)(void *self, int err, int fd);
    void *self;
};

/* err 0: fd is connected, non-blocking and the callee's; else a negative errno and fd is -EBADF. done is
 * called once and never from inside. 0, or -errno: failed at once, done will not come. How long it may take
 * is the caller's to say (dial_stop). */
int dial_start(struct dial *d, struct ev_loop *loop, const struct endpoint_addr *to,
               void (*done)(void *self, int err, int fd), void *self) MUST_CHECK;

/* Gives up without done(). One that was never started (all zero) is fine. */
void dial_stop(struct dial *d);
