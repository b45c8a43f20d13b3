/* SPDX-License-Identifier: MIT */
/* Two scripted resolvers on loopback, by UDP and TCP, on the loop of the one who asks them. */
#pragma once

#include "tests/unit/proxyd_upstream.h"

#define FAKE_CONNS 64

struct fake;

struct fake_conn {
    struct fake *f;
    int fd;
    ev_io io;
    struct buf in;
    unsigned asked;
};

/* A server on loopback. conn NULL: the question came by UDP. */
struct fake {
    struct asker *a;
    int udp, tcp;
    uint16_t port;
    ev_io udp_io, tcp_io;
    struct sockaddr_in peer;
    unsigned udp_seen, tcp_seen, accepted;
    struct fake_conn conns[FAKE_CONNS];
    void (*script)(struct fake *f, struct fake_conn *c, const struct dns_ask *ask);
    uint8_t raw[DNS_UDP_QUERY_MAX]; /* the newest question */
    size_t raw_len;
    int arg;
    struct dns_ask kept[4];
    unsigned nkept;
};

UNUSED static void fake_close(struct fake_conn *c)
{
    ev_io_stop(c->f->a->loop, &c->io);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_done(&c->in);
}

UNUSED static void fake_send(struct fake *f, struct fake_conn *c, const void *p, size_t n)
{
    uint8_t length[2] = {(uint8_t)(n >> 8), (uint8_t)n};

    if (!c) {
        assert_int_equal(sendto(f->udp, p, n, 0, (struct sockaddr *)&f->peer, sizeof(f->peer)), n);
        return;
    }
    assert_int_equal(send(c->fd, length, 2, MSG_NOSIGNAL), 2);
    assert_int_equal(send(c->fd, p, n, MSG_NOSIGNAL), n);
}

UNUSED static void put_head(struct buf *b, const struct dns_ask *ask, unsigned flags, uint16_t an,
                            uint16_t ar)
{
    buf_init(b, 65536);
    buf_put_be16(b, ask->id);
    buf_put_be16(b, (uint16_t)flags);
    buf_put_be16(b, 1);
    buf_put_be16(b, an);
    buf_put_be16(b, 0);
    buf_put_be16(b, ar);
    buf_put(b, ask->q.qname.b, ask->q.qname.len);
    buf_put_be16(b, ask->q.qtype);
    buf_put_be16(b, ask->q.qclass);
}

UNUSED static void put_a(struct buf *b, const uint8_t addr[4])
{
    buf_put(b, "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4", 12);
    buf_put(b, addr, 4);
}

/* 192.0.2.<first byte of the name - 'a'> */
UNUSED static void answer(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    uint8_t addr[4] = {192, 0, 2, (uint8_t)((ask->q.qname.b[1] | 0x20) - 'a')};
    struct buf b;

    put_head(&b, ask, 0x8180, 1, 0);
    put_a(&b, addr);
    fake_send(f, c, b.data, b.len);
    buf_done(&b);
}

UNUSED static void answer_code(struct fake *f, struct fake_conn *c, const struct dns_ask *ask, unsigned flags)
{
    struct buf b;

    put_head(&b, ask, 0x8180 | flags, 0, 0);
    fake_send(f, c, b.data, b.len);
    buf_done(&b);
}

static void take(struct fake *f, struct fake_conn *c, const uint8_t *msg, size_t n)
{
    struct dns_ask ask;

    assert_true(n <= sizeof(f->raw));
    memcpy(f->raw, msg, n);
    f->raw_len = n;
    assert_int_equal(dns_ask_read(msg, n, &ask), 0);
    assert_true(ask.rd);
    if (f->script)
        f->script(f, c, &ask);
}

static void fake_on_udp(struct ev_loop *loop, ev_io *w, int events)
{
    struct fake *f = w->data;
    socklen_t len = sizeof(f->peer);
    uint8_t msg[4096];

    (void)loop;
    (void)events;
    ssize_t n = recvfrom(f->udp, msg, sizeof(msg), 0, (struct sockaddr *)&f->peer, &len);
    assert_true(n > 0);
    f->udp_seen++;
    take(f, NULL, msg, (size_t)n);
}

static void fake_on_conn(struct ev_loop *loop, ev_io *w, int events)
{
    struct fake_conn *c = w->data;
    uint8_t *p = buf_reserve(&c->in, 4096);

    (void)loop;
    (void)events;
    assert_non_null(p);
    ssize_t n = recv(c->fd, p, 4096, 0);
    if (n <= 0) {
        fake_close(c);
        return;
    }
    c->in.len += (size_t)n;
    while (c->fd >= 0 && c->in.len >= 2) {
        size_t len = (size_t)c->in.data[0] << 8 | c->in.data[1];
        if (c->in.len < len + 2)
            return;
        uint8_t msg[DNS_UDP_QUERY_MAX];
        assert_true(len <= sizeof(msg));
        memcpy(msg, c->in.data + 2, len);
        buf_consume(&c->in, len + 2);
        c->f->tcp_seen++;
        c->asked++;
        take(c->f, c, msg, len);
    }
}

static void fake_on_accept(struct ev_loop *loop, ev_io *w, int events)
{
    struct fake *f = w->data;
    struct fake_conn *c = &f->conns[f->accepted++];

    (void)events;
    assert_true(f->accepted <= FAKE_CONNS);
    c->f = f;
    c->fd = accept4(f->tcp, NULL, NULL, SOCK_CLOEXEC);
    assert_true(c->fd >= 0);
    buf_init(&c->in, 65536);
    ev_io_init(&c->io, fake_on_conn, c->fd, EV_READ);
    c->io.data = c;
    ev_io_start(loop, &c->io);
}

static int bound(int type, uint16_t *port)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (bind(fd, (struct sockaddr *)&in, len) < 0 || getsockname(fd, (struct sockaddr *)&in, &len) < 0 ||
        (type == SOCK_STREAM && listen(fd, 64) < 0)) {
        close(fd);
        return -1;
    }
    *port = ntohs(in.sin_port);
    return fd;
}

static void fake_open(struct fake *f, struct asker *a)
{
    memset(f, 0, sizeof(*f));
    f->a = a;
    for (int i = 0; i < 50; i++) {
        f->port = 0;
        f->udp = bound(SOCK_DGRAM, &f->port);
        f->tcp = bound(SOCK_STREAM, &f->port);
        if (f->tcp >= 0)
            break;
        close(f->udp);
    }
    assert_true(f->udp >= 0 && f->tcp >= 0);
    for (size_t i = 0; i < FAKE_CONNS; i++)
        f->conns[i].fd = -1;
    ev_io_init(&f->udp_io, fake_on_udp, f->udp, EV_READ);
    ev_io_init(&f->tcp_io, fake_on_accept, f->tcp, EV_READ);
    f->udp_io.data = f->tcp_io.data = f;
    ev_io_start(a->loop, &f->udp_io);
    ev_io_start(a->loop, &f->tcp_io);
}

static void fake_done(struct fake *f)
{
    ev_io_stop(f->a->loop, &f->udp_io);
    ev_io_stop(f->a->loop, &f->tcp_io);
    for (size_t i = 0; i < f->accepted; i++)
        fake_close(&f->conns[i]);
    close(f->udp);
    close(f->tcp);
}

/* Two servers; the asker knows the first by protocol until a test says else. */
struct world {
    struct asker a;
    struct fake one, two;
};

UNUSED static void know(struct world *w, enum resolver_protocol protocol, size_t n)
{
    struct dns_resolver v[2] = {{.id = "one", .protocol = protocol, .addr = local(w->one.port)},
                                {.id = "two", .protocol = protocol, .addr = local(w->two.port)}};

    asker_resolvers(&w->a, v, n);
}

UNUSED static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    asker_open(&w->a);
    fake_open(&w->one, &w->a);
    fake_open(&w->two, &w->a);
    w->one.script = w->two.script = answer;
    know(w, RESOLVER_DO53_UDP, 1);
    *state = w;
    return 0;
}

UNUSED static int teardown(void **state)
{
    struct world *w = *state;

    w->a.all = dns_upstreams_free(w->a.all);
    fake_done(&w->one);
    fake_done(&w->two);
    asker_close(&w->a);
    free(w);
    return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
