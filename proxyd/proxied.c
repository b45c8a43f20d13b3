/* SPDX-License-Identifier: MIT */
#include "proxyd/proxied.h"

#include <sys/socket.h>

static const uint8_t socks_greeting[] = {5, 1, 0}; /* one method: no authentication */

void proxied_stop(struct proxied *p)
{
    if (!p->loop)
        return;
    ev_io_stop(p->loop, &p->io);
    buf_done(&p->in);
    p->loop = NULL;
}

static void proxied_finish(struct proxied *p, int err)
{
    proxied_stop(p);
    p->done(p->self, err);
}

/* A fresh connection takes these few bytes at once, or it is no good. */
static int say(int fd, const void *bytes, size_t n)
{
    ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

    return sent < 0 ? -errno : (size_t)sent < n ? -EPIPE : 0;
}

static int say_request(struct proxied *p)
{
    _cleanup_(buf_done) struct buf b = {0};

    buf_init(&b, 1024);
    if (p->kind == UPSTREAM_PROXY_CONNECT)
        proxied_connect_request(&p->target, &b);
    else
        proxied_socks_request(&p->target, &b);
    return b.err < 0 ? b.err : say(p->io.fd, b.data, b.len);
}

static enum proxied_outcome proxied_read(struct proxied *p, size_t *ret_len)
{
    if (p->kind == UPSTREAM_PROXY_CONNECT)
        return proxied_connect_reply(p->in.data, p->in.len, ret_len);
    return p->greeted ? proxied_socks_reply(p->in.data, p->in.len, ret_len)
                      : proxied_socks_method(p->in.data, p->in.len, ret_len);
}

/* Takes what was only looked at before: n bytes. */
static int take(int fd, size_t n)
{
    uint8_t waste[PROXIED_REPLY_MAX];

    return recv(fd, waste, n, MSG_DONTWAIT) == (ssize_t)n ? 0 : -EIO;
}

/* What the proxy has said so far is in p->in, of which the last n bytes are still in the socket too. */
static void proxied_judge(struct proxied *p, size_t n)
{
    size_t len = 0;
    enum proxied_outcome o = proxied_read(p, &len);
    int r = 0;

    if (o == PROXIED_BROKEN || o == PROXIED_REFUSED) {
        proxied_finish(p, o == PROXIED_BROKEN ? -EPROTO : -ECONNREFUSED);
        return;
    }
    r = take(p->io.fd, o == PROXIED_DONE ? len - (p->in.len - n) : n);
    if (r < 0 || (o == PROXIED_DONE && (p->greeted || p->kind == UPSTREAM_PROXY_CONNECT))) {
        proxied_finish(p, r);
    } else if (o == PROXIED_DONE) {
        p->greeted = true;
        buf_clear(&p->in);
        r = say_request(p);
        if (r < 0)
            proxied_finish(p, r);
    }
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct proxied *p = w->data;
    uint8_t bytes[PROXIED_REPLY_MAX];
    ssize_t n = recv(w->fd, bytes, sizeof(bytes) - p->in.len, MSG_PEEK | MSG_DONTWAIT);

    (void)loop;
    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        proxied_finish(p, n < 0 ? -errno : -ECONNRESET);
        return;
    }
    buf_put(&p->in, bytes, (size_t)n);
    if (p->in.err < 0)
        proxied_finish(p, p->in.err);
    else
        proxied_judge(p, (size_t)n);
}

int proxied_start(struct proxied *p, struct ev_loop *loop, int fd, uint32_t kind,
                  const struct proxied_target *target, void (*done)(void *self, int err), void *self)
{
    *p = (struct proxied){.loop = loop, .kind = kind, .target = *target, .done = done, .self = self};
    buf_init(&p->in, PROXIED_REPLY_MAX);
    ev_io_init(&p->io, on_readable, fd, EV_READ);
    p->io.data = p;
    int r = kind == UPSTREAM_PROXY_SOCKS5 ? say(fd, socks_greeting, sizeof(socks_greeting)) : say_request(p);
    if (r < 0) {
        p->loop = NULL;
        return r;
    }
    ev_io_start(loop, &p->io);
    return 0;
}
