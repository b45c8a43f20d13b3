/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/feed.h"

/* One question of libunbound. */
struct fed {
    LIST_ENTRY(fed) link;
    struct dns_feed *f;
    struct sockaddr_in peer;
    uint16_t id;
    struct dns_question q; /* in its own case */
    struct dns_try *try;
};

struct dns_feed {
    struct dns_server *server;
    const struct ubevent_base *base;
    struct dns_counters counters; /* a cell's count its own questions */
    int fd;
    uint16_t port;
    ev_io io;
    unsigned n;
    LIST_HEAD(feds, fed) all;
};

static void fed_free(struct fed *d)
{
    dns_try_free(d->try);
    LIST_REMOVE(d, link);
    d->f->n--;
    free(d);
}

/* The answer with libunbound's own id and question: the resolver saw others. */
static void reply(const struct fed *d, const uint8_t *msg, size_t len)
{
    uint8_t b[DNS_MESSAGE_MAX];

    memcpy(b, msg, len);
    b[0] = (uint8_t)(d->id >> 8);
    b[1] = (uint8_t)d->id;
    /* a first name has nothing before it to point to, so it lies there whole */
    memcpy(b + DNS_HEADER_LEN, d->q.qname.b, d->q.qname.len);
    (void)sendto(d->f->fd, b, len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&d->peer,
                 sizeof(d->peer));
}

static void reply_servfail(const struct fed *d)
{
    struct buf b;

    buf_init(&b, 512);
    buf_put_be16(&b, d->id);
    buf_put_be16(&b, DNS_FLAG_QR | DNS_FLAG_RD | DNS_FLAG_RA | DNS_SERVFAIL);
    buf_put_be16(&b, 1);
    buf_put_be16(&b, 0);
    buf_put_be32(&b, 0);
    buf_put(&b, d->q.qname.b, d->q.qname.len);
    buf_put_be16(&b, d->q.qtype);
    buf_put_be16(&b, d->q.qclass);
    if (b.err == 0)
        reply(d, b.data, b.len);
    buf_done(&b);
}

static void on_try(void *data, const struct dns_try_result *r)
{
    struct fed *d = data;

    if (r->error == 0 && r->len <= DNS_MESSAGE_MAX && r->len >= (size_t)DNS_HEADER_LEN + d->q.qname.len)
        reply(d, r->msg, r->len);
    else
        reply_servfail(d);
    fed_free(d);
}

static bool is_name_of(void *data, int fd)
{
    const struct sockaddr_in *peer = data;
    struct sockaddr_in self = {.sin_family = AF_UNSPEC};
    socklen_t len = sizeof(self);

    return getsockname(fd, (struct sockaddr *)&self, &len) == 0 && self.sin_family == AF_INET &&
           self.sin_port == peer->sin_port;
}

/* Nobody else can have bound this port of 127.0.0.1 while libunbound's own socket has it. */
static bool from_libunbound(const struct dns_feed *f, struct sockaddr_in *peer, socklen_t len)
{
    return len == sizeof(*peer) && peer->sin_family == AF_INET &&
           peer->sin_addr.s_addr == htonl(INADDR_LOOPBACK) && ubevent_any_fd(f->base, is_name_of, peer);
}

static void take(struct dns_feed *f, const struct sockaddr_in *peer, const uint8_t *msg, size_t n)
{
    struct dns_ask ask;
    struct fed *d;

    if (dns_ask_read(msg, n, &ask) < 0)
        return;
    d = calloc(1, sizeof(*d));
    if (!d)
        return;
    *d = (struct fed){.f = f, .peer = *peer, .id = ask.id, .q = ask.q};
    LIST_INSERT_HEAD(&f->all, d, link);
    if (++f->n > DNS_FEED_MAX || dns_try_new(f->server, &d->q, /* dnssec= */ true, LIMIT_DNS_TIMEOUT_MS,
                                             &f->counters, on_try, d, &d->try) < 0) {
        reply_servfail(d);
        fed_free(d);
    }
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct dns_feed *f = w->data;
    uint8_t b[DNS_UDP_QUERY_MAX];
    struct sockaddr_in peer = {.sin_family = AF_UNSPEC};
    socklen_t len;
    ssize_t n;

    (void)loop;
    (void)events;
    for (;;) {
        len = sizeof(peer);
        n = recvfrom(f->fd, b, sizeof(b), MSG_DONTWAIT, (struct sockaddr *)&peer, &len);
        if (n < 0)
            return; /* also an ICMP error of a socket that libunbound has closed */
        if (from_libunbound(f, &peer, len))
            take(f, &peer, b, (size_t)n);
    }
}

static int open_socket(struct dns_feed *f)
{
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(self);

    f->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (f->fd < 0 || bind(f->fd, (struct sockaddr *)&self, len) < 0 ||
        getsockname(f->fd, (struct sockaddr *)&self, &len) < 0)
        return -errno;
    f->port = ntohs(self.sin_port);
    return 0;
}

int dns_feed_new(struct dns_server *s, const struct ubevent_base *base, struct dns_feed **ret)
{
    struct dns_feed *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->server = s;
    f->base = base;
    f->fd = -EBADF;
    LIST_INIT(&f->all);
    ev_init(&f->io, on_readable);
    f->io.data = f;
    int r = open_socket(f);
    if (r < 0) {
        dns_feed_free(f);
        return r;
    }
    ev_io_set(&f->io, f->fd, EV_READ);
    ev_io_start(s->all->loop, &f->io);
    *ret = f;
    return 0;
}

struct dns_feed *dns_feed_free(struct dns_feed *f)
{
    if (!f)
        return NULL;
    while (!LIST_EMPTY(&f->all))
        fed_free(LIST_FIRST(&f->all));
    ev_io_stop(f->server->all->loop, &f->io);
    if (f->fd >= 0)
        close(f->fd);
    free(f);
    return NULL;
}

uint16_t dns_feed_port(const struct dns_feed *f)
{
    return f->port;
}
