/* SPDX-License-Identifier: MIT */
/* A way through the operator's own proxy: over a connection to it that is there already, ask it for one to
 * somewhere else, by HTTP CONNECT (RFC 9110 section 9.3.6) or SOCKS5 without authentication (RFC 1928). Not
 * one byte behind its answer is read: that belongs to whoever gets the connection. */
#pragma once

#include <ev.h>

#include "common/base/buf.h"
#include "common/net/addr.h"
#include "common/net/name.h"
#include "proto/words.h"

#define PROXIED_REPLY_MAX 8192u /* of all that the proxy says before the connection stands */

struct proxied_target {
    struct name name; /* len > 0: the proxy resolves it; else addr */
    struct endpoint_addr addr;
};

struct proxied {
    struct ev_loop *loop;
    struct ev_io io;
    uint32_t kind; /* enum upstream_proxy */
    bool greeted;  /* SOCKS5: the method is settled */
    struct proxied_target target;
    struct buf in;
    void (*done)(void *self, int err);
    void *self;
};

/* fd: connected to the proxy, non-blocking; stays the caller's, who must not use it before done. done: once,
 * never from inside; err 0: the connection stands; -ECONNREFUSED: the proxy said no; -EPROTO: it said nothing
 * that can be understood; -errno of fd. 0, or -errno: done does not come. No time limit of its own. */
int proxied_start(struct proxied *p, struct ev_loop *loop, int fd, uint32_t kind,
                  const struct proxied_target *target, void (*done)(void *self, int err),
                  void *self) MUST_CHECK;

/* Without done(). All zero is fine. */
void proxied_stop(struct proxied *p);

/* ---- parts, for the tests and the fuzzer ---- */

enum proxied_outcome { PROXIED_MORE, PROXIED_DONE, PROXIED_REFUSED, PROXIED_BROKEN };

/* p[0..n) is everything the proxy has said. DONE: *ret_len bytes of it were the answer. */
enum proxied_outcome proxied_connect_reply(const uint8_t *p, size_t n, size_t *ret_len);
enum proxied_outcome proxied_socks_method(const uint8_t *p, size_t n, size_t *ret_len);
enum proxied_outcome proxied_socks_reply(const uint8_t *p, size_t n, size_t *ret_len);

/* The request; -errno in b->err. */
void proxied_connect_request(const struct proxied_target *t, struct buf *b);
void proxied_socks_request(const struct proxied_target *t, struct buf *b);
