/* SPDX-License-Identifier: MIT */
/* A question by UDP. What makes it hard to forge an answer blindly: a fresh id and a fresh port for every
 * try, the case of the name, a cookie. Whatever looks like a forgery, or like a server that cannot do these,
 * is asked again over TCP, never believed. */
#include <sys/random.h>

#include "common/base/clock.h"
#include "proxyd/resolver/server.h"

void dns_try_udp_stop(struct dns_try *t)
{
    ev_io_stop(t->server->all->loop, &t->io);
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -EBADF;
    t->on = DNS_TRY_NONE;
}

/* A server that folds case or loses cookies: not a second detour for every question. */
static void distrust(struct dns_try *t)
{
    t->counters->strays++;
    t->server->cookie.server_len = 0; /* when it is asked by UDP again it may begin anew */
    t->server->udp_distrust_until_us = clock_boottime_us() + 1000ull * DNS_UDP_DISTRUST_MS;
    dns_try_again(t, false, true);
}

/* RFC 7873 section 5.3: once more with the server's new cookie, then over TCP. */
static void cookie_refused(struct dns_try *t)
{
    bool again = t->bad_cookie;

    t->bad_cookie = true;
    dns_try_again(t, false, again);
}

/* True when the message was what the try waited for; t may be gone then. */
static bool take(struct dns_try *t, const uint8_t *msg, size_t n, bool cut)
{
    struct dns_got got;

    switch (dns_got_read(msg, n, &t->asked, /* exact_case= */ true, &got)) {
    case DNS_FIT:
        break;
    case DNS_FIT_OTHER_CASE:
    case DNS_FIT_NO_COOKIE:
        distrust(t);
        return true;
    case DNS_FIT_STRAY:
    default:
        t->counters->strays++;
        if (++t->strays < DNS_UPSTREAM_STRAY_MAX)
            return false;
        dns_try_failed(t, -EBADMSG, "too many packets that are not the answer");
        return true;
    }
    dns_cookie_learn(&t->server->cookie, &got);
    if (got.rcode == DNS_BADCOOKIE)
        cookie_refused(t);
    else if (cut || got.truncated)
        dns_try_again(t, false, /* tcp= */ true);
    else
        dns_try_answered(t, msg, n);
    return true;
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct dns_try *t = w->data;
    uint8_t b[DNS_UDP_REPLY_MAX];

    (void)loop;
    (void)events;
    for (;;) {
        ssize_t n = recv(t->fd, b, sizeof(b), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                dns_try_failed(t, -errno, NULL); /* ECONNREFUSED: an ICMP error came back */
            return;
        }
        bool cut = (size_t)n > sizeof(b);
        if (take(t, b, cut ? sizeof(b) : (size_t)n, cut))
            return;
    }
}

/* Connected: the kernel drops what comes from any other address or port, and binds a random port of its own
 * choice. */
static int open_socket(struct dns_try *t)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&t->server->conf.addr, &ss);

    t->fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (t->fd < 0)
        return -errno;
    if (connect(t->fd, (struct sockaddr *)&ss, len) < 0)
        return -errno;
    return 0;
}

int dns_try_udp(struct dns_try *t)
{
    struct buf b;

    t->on = DNS_TRY_UDP;
    t->strays = 0;
    ev_init(&t->io, on_readable);
    t->io.data = t;
    int r = open_socket(t);
    if (r < 0)
        return r;
    t->counters->upstream++;
    if (getrandom(&t->asked.id, sizeof(t->asked.id), 0) != sizeof(t->asked.id) ||
        dns_case_mix(&t->asked.q.qname) < 0)
        return -EIO;
    buf_init(&b, 1024);
    r = dns_asked_write(&b, &t->asked);
    if (r == 0 && send(t->fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        r = -errno;
    buf_done(&b);
    if (r < 0)
        return r;
    ev_io_set(&t->io, t->fd, EV_READ);
    ev_io_start(t->server->all->loop, &t->io);
    return 0;
}
