/* SPDX-License-Identifier: MIT */
#include "proxyd/farewell.h"

#include <sys/socket.h>

#include "common/base/log.h"

static void farewell_finish(struct farewell *l)
{
    farewell_stop(l);
    l->done(l->self);
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct farewell *l = w->data;
    char waste[16384];
    ssize_t n = recv(w->fd, waste, sizeof(waste), MSG_DONTWAIT);

    (void)loop;
    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || (size_t)n >= l->left) {
        farewell_finish(l);
        return;
    }
    l->left -= (size_t)n;
}

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    farewell_finish(w->data);
}

void farewell_start(struct farewell *l, struct ev_loop *loop, int sock, const void *last, size_t n,
                    void (*done)(void *self), void *self)
{
    *l = (struct farewell){.loop = loop, .left = FAREWELL_BYTES, .done = done, .self = self};
    if (n > 0 && send(sock, last, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("a refused connection was gone before it could be told");
    (void)shutdown(sock, SHUT_WR); /* fails when the peer is gone: the read below sees that too */
    ev_io_init(&l->io, on_readable, sock, EV_READ);
    ev_timer_init(&l->timer, on_timer, FAREWELL_MS / 1000.0, 0);
    l->io.data = l->timer.data = l;
    ev_io_start(loop, &l->io);
    ev_now_update(loop);
    ev_timer_start(loop, &l->timer);
}

void farewell_stop(struct farewell *l)
{
    if (!l->loop)
        return;
    ev_io_stop(l->loop, &l->io);
    ev_timer_stop(l->loop, &l->timer);
}

void farewell_reset(int sock)
{
    static const struct linger now = {.l_onoff = 1, .l_linger = 0}; /* socket(7): SO_LINGER */

    if (setsockopt(sock, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) < 0)
        log_debug("a broken connection will be closed without a reset");
}
