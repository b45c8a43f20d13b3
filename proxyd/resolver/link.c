/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/link.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>

static void on_io(struct ev_loop *loop, ev_io *w, int events);
static void on_timer(struct ev_loop *loop, ev_timer *w, int events);

void dns_link_init(struct dns_link *l, struct ev_loop *loop, const struct dns_link_ops *ops)
{
    *l = (struct dns_link){.loop = loop, .ops = ops, .fd = -EBADF};
    buf_init(&l->out, DNS_LINK_OUT_MAX);
    ev_init(&l->io, on_io);
    ev_init(&l->timer, on_timer);
    l->io.data = l->timer.data = l;
}

void dns_link_close(struct dns_link *l)
{
    ev_io_stop(l->loop, &l->io);
    ev_timer_stop(l->loop, &l->timer);
    if (l->ssl && l->state == DNS_LINK_OPEN) {
        (void)SSL_shutdown(l->ssl); /* close_notify only: nobody waits for the server's */
        ERR_clear_error();
    }
    SSL_free(l->ssl);
    l->ssl = NULL;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -EBADF;
    l->state = DNS_LINK_CLOSED;
    l->want_write = false;
    buf_done(&l->out);
    buf_init(&l->out, DNS_LINK_OUT_MAX);
}

static void link_failed(struct dns_link *l, int error)
{
    /* a connection that broke says goodbye to nobody */
    if (l->ssl)
        SSL_set_quiet_shutdown(l->ssl, 1);
    dns_link_close(l);
    l->ops->closed(l, error); /* may free l */
}

/* Fails from the loop, not from inside a call of the owner. */
static void fail_later(struct dns_link *l, int error)
{
    l->error = error;
    ev_io_stop(l->loop, &l->io);
    ev_timer_stop(l->loop, &l->timer);
    ev_timer_set(&l->timer, 0., 0.);
    ev_timer_start(l->loop, &l->timer);
}

static void watch(struct dns_link *l, int events)
{
    if (ev_is_active(&l->io) && l->io.fd == l->fd && (l->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(l->loop, &l->io);
    ev_io_set(&l->io, l->fd, events);
    ev_io_start(l->loop, &l->io);
}

static int start_connect(struct dns_link *l, const struct endpoint_addr *to)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(to, &ss);
    const int on = 1;

    l->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return -errno;
    /* small messages, many at a time: none waits for the acknowledgement of another */
    (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(l->fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
        return -errno;
    return l->tls ? dns_tls_start(l->tls, l->fd, &l->ssl, l->why) : 0;
}

void dns_link_connect(struct dns_link *l, const struct endpoint_addr *to, struct dns_tls *tls, unsigned ms)
{
    l->tls = tls;
    l->error = 0;
    l->connected = false;
    l->why[0] = '\0';
    l->state = DNS_LINK_CONNECTING;
    int r = start_connect(l, to);
    if (r < 0) {
        fail_later(l, r);
        return;
    }
    watch(l, EV_WRITE);
    ev_timer_set(&l->timer, ms / 1000., 0.);
    ev_timer_start(l->loop, &l->timer);
}

int dns_link_send(struct dns_link *l, const void *p, size_t n)
{
    if (l->out.len + n > DNS_LINK_OUT_MAX)
        return -ENOBUFS;
    buf_put(&l->out, p, n);
    if (l->out.err < 0)
        return l->out.err;
    if (l->state == DNS_LINK_OPEN && l->error == 0)
        watch(l, EV_READ | EV_WRITE);
    return 0;
}

/* SSL_get_error() looks at errors that others have left behind as well. */
static void tls_begin(void)
{
    ERR_clear_error();
    errno = 0;
}

/* Bytes sent, 0 when it would block, or a negative errno. */
static ssize_t send_some(struct dns_link *l)
{
    ssize_t n;

    if (!l->ssl) {
        n = send(l->fd, l->out.data, l->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        return n;
    }
    bool want_write;
    tls_begin();
    int k = SSL_write(l->ssl, l->out.data, (int)l->out.len);
    if (k > 0)
        return k;
    int r = dns_tls_result(l->ssl, k, &want_write, l->why);
    return r == -EAGAIN ? 0 : r == 0 ? -ECONNRESET : r;
}

static int flush(struct dns_link *l)
{
    while (l->out.len > 0) {
        ssize_t n = send_some(l);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        buf_consume(&l->out, (size_t)n);
    }
    return 0;
}

/* Bytes read, or 0 at the end of the stream, -EAGAIN, another negative errno. */
static ssize_t read_some(struct dns_link *l, uint8_t *p, size_t n)
{
    ssize_t k;

    if (!l->ssl) {
        k = recv(l->fd, p, n, MSG_DONTWAIT);
        return k >= 0 ? k : errno == EINTR ? -EAGAIN : -errno;
    }
    tls_begin();
    k = SSL_read(l->ssl, p, (int)n);
    return k > 0 ? k : dns_tls_result(l->ssl, (int)k, &l->want_write, l->why);
}

static int read_all(struct dns_link *l)
{
    uint8_t b[DNS_LINK_READ];

    for (unsigned i = 0; i < DNS_LINK_READS; i++) {
        ssize_t n = read_some(l, b, sizeof(b));
        if (n == -EAGAIN)
            return 0;
        if (n <= 0)
            return n < 0 ? (int)n : -ECONNRESET;
        int r = l->ops->data(l, b, (size_t)n);
        if (r < 0)
            return r;
    }
    if (l->ssl && SSL_pending(l->ssl) > 0)
        ev_feed_event(l->loop, &l->io, EV_READ);
    return 0;
}

static int opened(struct dns_link *l)
{
    int r = l->ssl ? dns_tls_check(l->tls, l->ssl, l->why) : 0;

    if (r < 0)
        return r;
    l->state = DNS_LINK_OPEN;
    ev_timer_stop(l->loop, &l->timer);
    l->ops->open(l);
    return 0;
}

static int handshake(struct dns_link *l)
{
    bool want_write;

    tls_begin();
    int n = SSL_connect(l->ssl);
    if (n == 1)
        return opened(l);
    int r = dns_tls_result(l->ssl, n, &want_write, l->why);
    if (r != -EAGAIN)
        return r == 0 ? -ECONNRESET : r;
    watch(l, want_write ? EV_WRITE : EV_READ);
    return 0;
}

static int connected(struct dns_link *l)
{
    socklen_t len = sizeof(int);
    int error = 0;

    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return -errno;
    if (error)
        return -error;
    l->connected = true;
    if (!l->ssl)
        return opened(l);
    l->state = DNS_LINK_HANDSHAKE;
    return handshake(l);
}

static int turn(struct dns_link *l, int events)
{
    int r = 0;

    if (l->state == DNS_LINK_CONNECTING)
        r = connected(l);
    else if (l->state == DNS_LINK_HANDSHAKE)
        r = handshake(l);
    if (r < 0 || l->state != DNS_LINK_OPEN)
        return r;
    r = flush(l);
    if (r == 0 && events & (EV_READ | EV_WRITE)) {
        l->want_write = false;
        r = read_all(l);
    }
    if (r == 0)
        r = flush(l);
    if (r == 0)
        watch(l, EV_READ | (l->out.len > 0 || l->want_write ? EV_WRITE : 0));
    return r;
}

static void on_io(struct ev_loop *loop, ev_io *w, int events)
{
    struct dns_link *l = w->data;

    (void)loop;
    int r = turn(l, events);
    if (r < 0)
        link_failed(l, r);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_link *l = w->data;

    (void)loop;
    (void)events;
    if (l->error == 0)
        (void)snprintf(l->why, sizeof(l->why), "no connection in time");
    link_failed(l, l->error ? l->error : -ETIMEDOUT);
}
