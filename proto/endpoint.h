/* SPDX-License-Identifier: MIT */
/* One end of a line between two processes of the suite, on the event loop: hello both ways, table-driven
 * decoding, default deny, replies matched to their requests, deadlines. A peer that breaks the protocol is
 * cut off: gone().
 *
 * The dispatcher of a daemon is a constant array of struct endpoint_handler in its dispatch.c; rows without a
 * handler are refused like unknown ones. */
#pragma once

#include <ev.h>

#include "common/ipc/channel.h"
#include "proto/iface.h"

struct endpoint;

/* A request or note from the peer. rec and its strings live until the handler returns. */
struct endpoint_msg {
    const struct msg_row *row;
    uint64_t seq;
    const void *rec;
    int *fds; /* take with TAKE_FD(m->fds[i]); the rest is closed after the handler */
    size_t nfds;
};

struct endpoint_handler {
    uint32_t id;
    /* 0: handled; a request's answer may come later (endpoint_reply or endpoint_fail with m->seq, exactly
     * one). Negative errno: the peer broke the protocol and is cut off. */
    int (*fn)(void *self, struct endpoint *e, struct endpoint_msg *m);
};

struct endpoint_ops {
    const struct endpoint_handler *handlers;
    size_t n;
    void (*ready)(void *self, struct endpoint *e);         /* both hellos are through; may be NULL */
    void (*gone)(void *self, struct endpoint *e, int err); /* once, from the loop; err 0 = the peer closed */
};

struct endpoint_config {
    const struct iface *iface;
    uint32_t side;      /* FROM_CLIENT or FROM_SERVER: which side we are */
    uint32_t role;      /* ours, enum role_name */
    uint32_t peer_role; /* theirs: another one in the hello ends the line */
    const struct endpoint_ops *ops;
    void *self;
};

/* Takes sock (closed on failure too) and sends our hello. Messages may be sent at once: they queue behind the
 * hello. A peer that has closed already is no failure: the loop will call gone(). */
int endpoint_new(struct ev_loop *loop, int sock, const struct endpoint_config *cfg,
                 struct endpoint **ret) MUST_CHECK;

/* Closes; open calls are dropped without a callback. NULL-safe; safe inside handlers, callbacks and gone().
 */
struct endpoint *endpoint_free(struct endpoint *e);

bool endpoint_is_ready(const struct endpoint *e);
uint32_t endpoint_state(const struct endpoint *e);
void endpoint_set_state(struct endpoint *e,
                        uint32_t state); /* LINE_*: handlers of lines with several states move it */

/* A note. 0 or -errno (-EINVAL: no note of this side; -EDQUOT: the queue is full; -EPIPE: dead). The fds stay
 * the caller's. */
int endpoint_send(struct endpoint *e, uint32_t id, const void *rec, const int *fds, size_t nfds) MUST_CHECK;

/* The answer of a call. error is NULL on success; rec/fds are the reply's (fds: take them). On failure rec is
 * NULL and error carries the peer's words, or FAIL_TIMEOUT / FAIL_UNAVAILABLE (the line died) from this side.
 */
typedef void (*endpoint_reply_fn)(void *data, const struct error *error, const void *rec, int *fds,
                                  size_t nfds);

/* A request with a deadline (0 = none). 0, or -errno and no callback: -EINVAL, no request of this side;
 * -EDQUOT, LIMIT_PENDING_CALLS are unanswered (those past their deadline too, for the peer still owes the
 * answer) or the queue is full; -EPIPE, the line is dead. */
int endpoint_call(struct endpoint *e, uint32_t id, const void *rec, const int *fds, size_t nfds,
                  unsigned timeout_ms, endpoint_reply_fn cb, void *data) MUST_CHECK;

/* Forgets the open calls with this data pointer: their callbacks never come (the object behind them is
 * going). */
void endpoint_forget(struct endpoint *e, const void *data);

/* The answer to request seq of row id (the request's id). 0 or -errno. */
int endpoint_reply(struct endpoint *e, uint32_t request_id, uint64_t seq, const void *rec, const int *fds,
                   size_t nfds) MUST_CHECK;
int endpoint_fail(struct endpoint *e, uint64_t seq, uint32_t fail, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
