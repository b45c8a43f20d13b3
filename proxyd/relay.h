/* SPDX-License-Identifier: MIT */
/* Moves bytes both ways between two connected stream sockets until both directions have ended: splice(2)
 * through a borrowed pipe, or a bounded buffer. Each direction ends on its own (half-close); a reader that
 * stops reading stops the writer (back-pressure), so that a connection costs at most one pipe or one buffer
 * per direction. */
#pragma once

#include <ev.h>

#include "common/base/buf.h"
#include "proxyd/pipes.h"
#include "proxyd/quota.h"

/* What all relays of the process share. */
struct relay_pool {
    struct pipes pipes;
    uint8_t *scratch; /* PIPE_BYTES; never holds anything between two events */
};

int relay_pool_init(struct relay_pool *p, size_t pipes_max) MUST_CHECK;
void relay_pool_done(struct relay_pool *p);

enum relay_end {
    RELAY_CLEAN, /* both sides said end of stream and everything was delivered; closing both says the last one
                  */
    RELAY_IDLE,  /* nothing moved for idle_ms */
    RELAY_QUOTA, /* the cell's bytes are used up */
    RELAY_BROKEN, /* a side reset the connection: the other must not take what it has for a complete stream */
};

/* Nothing moved for so long: from then on the kernel asks whether the upstream is still there (tcp(7)
 * TCP_KEEPIDLE). Connections that end before are spared the system calls. */
#define RELAY_KEEPALIVE_MS 60000u

struct relay_config {
    struct ev_loop *loop;
    struct relay_pool *pool;
    int client, upstream; /* borrowed, non-blocking; the owner closes them after done() or relay_free() */
    unsigned idle_ms;
    struct quota *quota; /* counts what moves, and may slow it down; NULL: nobody counts */
    void (*done)(void *self,
                 enum relay_end end); /* once, never from inside relay_new(); relay_free() is fine here */
    void *self;
};

struct relay;

/* head: bytes to be sent upstream before anything else; taken (emptied) on success. 0 or -ENOMEM. */
int relay_new(const struct relay_config *cfg, struct buf *head, struct relay **ret) MUST_CHECK;

/* Bytes delivered so far. */
uint64_t relay_bytes_up(const struct relay *r);
uint64_t relay_bytes_down(const struct relay *r);

struct relay *relay_free(struct relay *r); /* NULL-safe; returns NULL; done() does not come */
