/* SPDX-License-Identifier: MIT */
/* Ends a connection so that the peer can read our last words: closing a socket with unread bytes makes the
 * kernel send a reset, which may overtake and destroy what was sent before (RFC 9112 section 9.6). So: a few
 * last bytes, end of stream, then what the peer still sends is thrown away until it closes too, bounded in
 * time and bytes. */
#pragma once

#include <ev.h>

#include "common/base/cleanup.h"

#define FAREWELL_MS    2000u
#define FAREWELL_BYTES 262144u

struct farewell {
    struct ev_loop *loop;
    struct ev_io io;
    struct ev_timer timer;
    size_t left;
    void (*done)(void *self); /* once, never from inside farewell_start; the owner closes the socket */
    void *self;
};

/* Sends the n last bytes (as far as the socket takes them at once), then end of stream. sock stays the
 * caller's. */
void farewell_start(struct farewell *l, struct ev_loop *loop, int sock, const void *last, size_t n,
                    void (*done)(void *self), void *self);

/* Stops without done(). A farewell that was never started (all zero) is fine. */
void farewell_stop(struct farewell *l);

/* Makes the following close(2) a reset: the peer must not take what it has for a complete stream. */
void farewell_reset(int sock);
