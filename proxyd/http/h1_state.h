/* SPDX-License-Identifier: MIT */
/* The state of one HTTP/1 connection. Private to the h1_*.c files: h1.c (life, turns of the loop, time),
 * h1_request.c (heads, judgement, denials), h1_exchange.c (one request and its response). */
#pragma once

#include "proxyd/farewell.h"
#include "proxyd/http/body.h"
#include "proxyd/http/session_state.h"

#define H1_DISCARD_MAX                                                                                       \
    262144u         /* bytes of a denied request's body that are read, so that the connection goes on */
#define H1_READS 16 /* of one connection in one turn of the loop */

enum h1_state {
    H1_HEAD,     /* reading a request head, or waiting for one */
    H1_DECIDING, /* it is allowed; the evidence, or the connection, is not there yet */
    H1_EXCHANGE, /* the request goes up, the response comes down */
    H1_DISCARD,  /* it was denied and answered; its body is read away */
    H1_OPAQUE,   /* after 101: bytes both ways */
    H1_CLOSING,  /* what waits for the client is still sent */
    H1_FAREWELL,
};

/* What a step leaves behind; or a negative errno: both sides are reset. */
enum { H1_BLOCKED = 0, H1_GOES_ON = 1, H1_GONE = 2 /* h is freed */ };

struct h1 {
    struct http_session *s;
    enum h1_state state;
    struct http_io client, up;
    struct buf in;     /* from the client, not used yet */
    struct buf answer; /* the beginning of a response head */

    struct http_head_reader reader;
    struct http_head head;
    struct http_body req;
    struct upstream_want want; /* the request that is under way */
    struct upstream *pending;
    uint64_t discarded;

    struct name up_name; /* whom up is connected to, and where */
    bool up_literal;
    struct endpoint_addr up_dialed;
    bool up_event; /* it became readable while it should have been silent */

    struct http_response_reader answer_reader;
    struct http_response resp;
    struct http_body rsp;
    bool answering; /* the final head is forwarded */
    bool continued; /* ... and before it a 100, or body bytes came without one */
    bool deaf;      /* the server takes no more of the request */
    bool spoilt;    /* it said more than its response */
    bool close;     /* the connection ends with this exchange */
    bool first;     /* no request was complete yet */

    struct ev_timer timer, pause; /* pause: the cell's bandwidth is used up */
    bool paused;
    int reads;
    ev_tstamp moved_at, head_at; /* head_at: the first byte of the head that is in the making; 0: none */
    struct farewell farewell;
};

/* Reads for the session: counts, paces. As http_io_read; -EDQUOT when the cell's bytes are used up. */
ssize_t h1_read(struct h1 *h, struct http_io *io, enum quota_direction d, uint8_t *p, size_t n) MUST_CHECK;

/* Goes on until nothing can be done; everything from the loop ends here. */
void h1_run(struct h1 *h);

void h1_io_cb(struct ev_loop *loop, struct ev_io *w, int events);

/* ---- h1_request.c ---- */
int h1_head_step(struct h1 *h) MUST_CHECK;
int h1_discard_step(struct h1 *h) MUST_CHECK;
void h1_head_late(struct h1 *h);              /* the head did not come in time */
void h1_deny(struct h1 *h, uint32_t reason);  /* h->want: denied, answered, and closing */
void h1_next(struct h1 *h);                   /* the exchange is over; the next head */
int h1_answer_error(struct h1 *h) MUST_CHECK; /* the server's response cannot be read: 502 */

/* ---- h1_exchange.c ---- */
int h1_exchange_begin(struct h1 *h) MUST_CHECK;
int h1_exchange_step(struct h1 *h) MUST_CHECK;
int h1_opaque_step(struct h1 *h) MUST_CHECK;
