/* SPDX-License-Identifier: MIT */
/* A non-blocking stream socket with what could not be sent yet. Its owner reads from the other side only
 * while nothing waits here (back-pressure), so that one direction of a connection holds a bounded number of
 * bytes.
 */
#pragma once

#include <ev.h>

#include "common/base/buf.h"

#define HTTP_IO_MAX (4u << 20) /* a bug's bound; the owners stop far below it */

struct http_io {
    struct ev_loop *loop;
    int fd; /* owned; -EBADF: none */
    struct ev_io reader, writer;
    struct buf out;
    bool shut_wanted, shut; /* our direction ends behind what waits; has ended */
    bool eof;               /* the peer's direction has ended */
};

/* cb: for readable and writable alike. Nothing is watched yet. */
void http_io_init(struct http_io *io, struct ev_loop *loop, int fd,
                  void (*cb)(struct ev_loop *, struct ev_io *, int), void *data);
void http_io_done(struct http_io *io);  /* closes; fine for one that is all zero with fd -EBADF */
void http_io_reset(struct http_io *io); /* the same, with a reset */

static inline bool http_io_is(const struct http_io *io)
{
    return io->fd >= 0;
}

/* > 0: bytes; 0: nothing now, or the end of stream (io->eof); -errno. */
ssize_t http_io_read(struct http_io *io, uint8_t *p, size_t n) MUST_CHECK;

/* Sends, or keeps what the socket does not take. 0, or -errno: the peer is gone, or no memory. */
int http_io_send(struct http_io *io, const void *p, size_t n) MUST_CHECK;

/* Sends what waits, and the end of stream behind it if that was asked for. 0 or -errno. */
int http_io_flush(struct http_io *io) MUST_CHECK;

/* Watches for reading as asked, for writing as needed. */
void http_io_watch(struct http_io *io, bool read);

static inline bool http_io_waits(const struct http_io *io)
{
    return io->out.len > 0;
}
