/* SPDX-License-Identifier: MIT */
#include "proxyd/http/io.h"

#include <sys/socket.h>

#include "proxyd/farewell.h"

void http_io_init(struct http_io *io, struct ev_loop *loop, int fd,
                  void (*cb)(struct ev_loop *, struct ev_io *, int), void *data)
{
    *io = (struct http_io){.loop = loop, .fd = fd};
    buf_init(&io->out, HTTP_IO_MAX);
    ev_io_init(&io->reader, cb, fd, EV_READ);
    ev_io_init(&io->writer, cb, fd, EV_WRITE);
    io->reader.data = io->writer.data = data;
}

void http_io_done(struct http_io *io)
{
    if (io->fd < 0)
        return;
    ev_io_stop(io->loop, &io->reader);
    ev_io_stop(io->loop, &io->writer);
    buf_done(&io->out);
    cleanup_closep(&io->fd);
    io->fd = -EBADF;
}

void http_io_reset(struct http_io *io)
{
    if (io->fd >= 0)
        farewell_reset(io->fd);
    http_io_done(io);
}

ssize_t http_io_read(struct http_io *io, uint8_t *p, size_t n)
{
    ssize_t got = recv(io->fd, p, n, MSG_DONTWAIT);

    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    io->eof = got == 0 && n > 0;
    return got;
}

static ssize_t send_some(struct http_io *io, const uint8_t *p, size_t n)
{
    ssize_t sent = send(io->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return sent;
}

int http_io_send(struct http_io *io, const void *p, size_t n)
{
    ssize_t sent = 0;

    if (io->out.len == 0 && n > 0)
        sent = send_some(io, p, n);
    if (sent < 0)
        return (int)sent;
    if ((size_t)sent < n)
        buf_put(&io->out, (const uint8_t *)p + sent, n - (size_t)sent);
    return io->out.err;
}

int http_io_flush(struct http_io *io)
{
    if (io->out.len > 0) {
        ssize_t sent = send_some(io, io->out.data, io->out.len);
        if (sent < 0)
            return (int)sent;
        buf_consume(&io->out, (size_t)sent);
        if (io->out.len == 0)
            buf_done(&io->out); /* an idle connection holds no buffer */
    }
    if (io->out.len == 0 && io->shut_wanted && !io->shut) {
        io->shut = true;
        (void)shutdown(io->fd, SHUT_WR); /* fails when the peer is gone, which the next read reports */
    }
    return 0;
}

void http_io_watch(struct http_io *io, bool read)
{
    if (io->fd < 0)
        return;
    if (read && !io->eof)
        ev_io_start(io->loop, &io->reader);
    else
        ev_io_stop(io->loop, &io->reader);
    if (io->out.len > 0 || (io->shut_wanted && !io->shut))
        ev_io_start(io->loop, &io->writer);
    else
        ev_io_stop(io->loop, &io->writer);
}
