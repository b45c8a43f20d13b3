/* SPDX-License-Identifier: MIT */
/* One connection of a cell, from its accept to its end. Private to gate.c, conn.c and conn_out.c. */
#pragma once

#include "proxyd/farewell.h"
#include "proxyd/gate_state.h"
#include "proxyd/http/session.h"
#include "proxyd/judge.h"
#include "proxyd/upstream.h"

/* What is only needed until it is judged and forwarded: a relayed connection does without. */
struct conn_first {
    struct buf seen; /* what was read from the client so far */
    struct client_hello_reader hello;
};

struct conn {
    struct gate *g;
    struct conn *next, **at;
    int client, upstream;
    struct endpoint_addr original, from;
    struct client *who;
    struct client_wait hold; /* denied, but kept until the process behind it is known */

    struct ev_io reader; /* until judged */
    struct ev_timer timer;
    struct conn_first *first; /* NULL before the first byte, and once it is relayed */
    struct judgement j;

    struct upstream *out; /* under way */
    struct relay *relay;
    struct http_session *http; /* everything is its, the client's socket too */
    struct farewell farewell;
};

/* Takes fd, judges its destination and goes on from there. peer: its other end. On failure (no memory, no
 * addresses) fd is closed. Counted in the quota by the caller; conn_free gives that back. */
void conn_start(struct gate *g, int fd, const struct sockaddr *peer, socklen_t len);

/* Ends it at once; the client gets a reset. */
void conn_abort(struct conn *c);

/* ---- between conn.c (what the client says) and conn_out.c (where it leads) ---- */

/* The judgement allows it: a way out, then the relay. */
void conn_go(struct conn *c);

/* Denies it, with its event and the last words, whatever was under way. dialed: the address whose dial
 * failed, or NULL. */
void conn_deny(struct conn *c, uint32_t reason, const struct endpoint_addr *dialed);

/* The end of stream in both directions; what the client still sends is drained. */
void conn_finish(struct conn *c, const void *last, size_t n);

void conn_free(struct conn *c);

/* Stops whatever conn_go has under way. */
void conn_out_stop(struct conn *c);

/* What was read so far is not needed any more. */
void conn_first_free(struct conn *c);
