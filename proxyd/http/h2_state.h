/* SPDX-License-Identifier: MIT */
/* The state of one h2c connection: a server session to the cell, a client session to each server it leads to.
 * Private to the h2_*.c files: h2.c (life, turns of the loop, time), h2_server.c (what the cell says),
 * h2_stream.c (one stream: judgement, denial, response), h2_route.c (its way to a server), h2_up.c (the
 * client sessions).
 *
 * A stream belongs to the cell's side: it lives until the server session closes it. What waits in it was
 * flow-controlled by the session it came from and is given back to that session's windows when it goes on, so
 * that a connection holds at most H2_CONNECTION_WINDOW bytes of bodies for the cell's side and for each
 * server.
 */
#pragma once

#include "proxyd/farewell.h"
#include "proxyd/http/h2_fields.h"
#include "proxyd/http/session_state.h"

#define H2_STREAMS_MAX       100u    /* at a time */
#define H2_UPS_MAX           4u      /* servers at a time */
#define H2_STREAM_WINDOW     131072u /* bytes */
#define H2_CONNECTION_WINDOW 262144u
#define H2_OUT_MAX           65536u /* more waits inside the library, and so its peer waits */
#define H2_CONTROL_BURST     1000.0 /* frames that carry nothing: PING, SETTINGS, PRIORITY, empty DATA */
#define H2_CONTROL_PER_SEC   100.0
#define H2_RESET_BURST       200.0 /* streams that the client takes back (CVE-2023-44487) */
#define H2_RESET_PER_SEC     33.0
#define H2_HINTS_MAX         16u   /* 1xx responses to one request */
#define H2_ACKS_MAX          1000u /* answers to PING and SETTINGS that the client does not read */
#define H2_SETTINGS_MAX      32u   /* entries of one frame */

struct h2_up;

/* How many of something may still come. */
struct h2_bucket {
    double left;
    ev_tstamp at;
};

enum h2_stream_state {
    H2_RECEIVING, /* its fields are still coming */
    H2_WAITING,   /* for a connection that another stream has asked for */
    H2_DECIDING,  /* for its event, or its connection */
    H2_FORWARDED,
    H2_ANSWERED, /* denied, or the server has failed: the answer is ours */
};

struct h2_stream {
    struct h2 *h;
    struct h2_stream *next, **at;
    int32_t id;
    enum h2_stream_state state;
    struct h2_fields fields; /* what comes from the client: the head, later the trailers */
    bool fields_broken;
    struct h2_fields head; /* what is forwarded */
    bool is_head, has_length;
    uint64_t length_left;
    struct upstream_want want;
    struct upstream *pending;

    struct buf request; /* the body, on its way up */
    bool request_ended;

    struct h2_up *up;
    int32_t up_id;
    bool up_open;            /* the stream there */
    struct h2_fields answer; /* what comes from the server: the head, later the trailers */
    struct buf response;     /* the body, on its way down */
    bool responded, response_ended;
    unsigned hints;
};

struct h2_up {
    struct h2 *h;
    struct h2_up *next, **at;
    struct http_io io;
    nghttp2_session *ng;
    struct name name;
    bool literal;
    struct endpoint_addr dialed;
    struct h2_stream *opener; /* whose upstream_open is under way */
    size_t streams;           /* that point here */
    bool draining;            /* no new streams */
    bool dead;
};

struct h2 {
    struct http_session *s;
    struct http_io io;
    nghttp2_session *ng;
    struct h2_stream *streams;
    struct h2_up *ups;
    size_t nups;
    struct ev_timer timer, pause;
    bool paused, closing, farewelling, stopping;
    ev_tstamp moved_at, head_at; /* head_at: fields are coming since then; 0: none */
    struct h2_bucket control, resets;
    struct farewell farewell;
};

/* Everything from the loop and from the gate ends here; h may be gone afterwards. */
void h2_settle(struct h2 *h);
ssize_t h2_io_read(struct h2 *h, struct http_io *io,
                   enum quota_direction d) MUST_CHECK; /* into the scratch */
void h2_io_cb(struct ev_loop *loop, struct ev_io *w, int events);
void h2_end(struct h2 *h, bool reset);
void h2_quota_used_up(struct h2 *h);          /* an event, and the end */
void h2_broken(struct h2 *h, uint32_t error); /* an event: the library ends the connection with this error */
void h2_flooded(struct h2 *h);                /* an event, GOAWAY, and the end */
/* GOAWAY with this error, and the end behind what waits. */
void h2_terminate(struct h2 *h, uint32_t error);

/* ---- h2_upgrade.c ---- */
/* head: the bytes of the request that asked for it. Sends the 101; the request becomes stream 1. 0, -EBADMSG,
 * -errno. */
int h2_upgrade(struct h2 *h, const uint8_t *head, const struct http_head *upgrade) MUST_CHECK;

/* ---- h2_server.c ---- */
int h2_server_new(struct h2 *h) MUST_CHECK;

/* ---- h2_stream.c ---- */
struct h2_stream *h2_stream_new(struct h2 *h, int32_t id); /* NULL: no memory */
void h2_stream_free(struct h2_stream *st);
void h2_stream_head(struct h2_stream *st, bool ended); /* its fields are complete */
void h2_stream_deny(struct h2_stream *st, uint32_t reason, const struct upstream_result *result);
void h2_stream_failed(struct h2_stream *st, uint32_t error);        /* the server's side of it is gone */
int h2_stream_respond(struct h2_stream *st, bool ended) MUST_CHECK; /* st->answer is a final head */
void h2_stream_drop_request(struct h2_stream *st);                  /* nobody takes its body any more */
void h2_stream_resume_up(struct h2_stream *st);
void h2_stream_resume_down(struct h2_stream *st);

/* ---- h2_route.c ---- */
/* Finds or opens the connection for st->want, and goes on from there. */
void h2_up_attach(struct h2_stream *st);
void h2_up_detach(struct h2_stream *st); /* the stream is going; fine without one */

/* ---- h2_up.c ---- */
struct h2_up *h2_up_new(struct h2 *h, const struct judgement *j); /* not connected; NULL: no memory */
/* result->fd is its connection. 0 or -ENOMEM. */
int h2_up_connected(struct h2_up *up, const struct upstream_result *result) MUST_CHECK;
void h2_up_step(struct h2_up *up); /* reads what is there, sends what waits */
bool h2_up_send(struct h2_up *up); /* true: something was sent */
void h2_up_free(struct h2_up *up, bool reset);
void h2_ups_reap(struct h2 *h); /* frees what is dead and not used any more */
