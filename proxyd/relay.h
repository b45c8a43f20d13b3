/* SPDX-License-Identifier: MIT */
/* Moves bytes both ways between two connected stream sockets until both directions have ended: splice(2)
 * through a borrowed pipe, or a bounded buffer. Each direction ends on its own (half-close); a reader that
 * stops reading stops the writer (back-pressure), so that a connection costs at most one pipe or one buffer
 * per direction. */
#pragma once

#include <ev.h>

#include "common/base/buf.h"
#include "proxyd/pipes.h"

/* What all relays of the process share. */
struct relay_pool {
    struct pipes pipes;
    uint8_t *scratch; /* PIPE_BYTES; never holds anything between two events */
};

int relay_pool_init(struct relay_pool *p, size_t pipes_max) MUST_CHECK;
void relay_pool_done(struct relay_pool *p);

enum relay_end {
    RELAY_CLEAN,  /* both sides said end of stream and everything was delivered */
    RELAY_IDLE,   /* nothing moved for idle_ms */
    RELAY_BROKEN, /* a side reset the connection, or the request's framing is broken: the other side must not
                     take what it has for a complete stream */
};

/* How many of n bytes from the client may pass; fewer only when nothing behind them may. Negative: break off.
 */
typedef ssize_t (*relay_filter)(void *data, const uint8_t *p, size_t n);

struct relay_config {
    struct ev_loop *loop;
    struct relay_pool *pool;
    int client, upstream; /* borrowed, non-blocking; the owner closes them after done() or relay_free() */
    unsigned idle_ms;
    relay_filter
        filter; /* NULL: everything passes. With a filter the relay ends when the upstream has ended. */
    /* The filter has stopped the client and more bytes came: once, they are not read further. May be NULL. */
    void (*refused)(void *self);
    void (*done)(void *self,
                 enum relay_end end); /* once, never from inside relay_new(); relay_free() is fine here */
    void *self;                       /* for the three functions above */
};

struct relay;

/* head: bytes to be sent upstream before anything else, already filtered; taken (emptied) on success.
 * request_ended: the filter will let nothing more pass. 0 or -ENOMEM. */
int relay_new(const struct relay_config *cfg, struct buf *head, bool request_ended,
              struct relay **ret) MUST_CHECK;

/* Bytes delivered so far. */
uint64_t relay_bytes_up(const struct relay *r);
uint64_t relay_bytes_down(const struct relay *r);

struct relay *relay_free(struct relay *r); /* NULL-safe; returns NULL; done() does not come */
