/* SPDX-License-Identifier: MIT */
/* DNS over TCP for the cell (RFC 7766): length-prefixed messages, any number of them in flight up to a limit.
 * A client that trickles, stays silent or does not read is cut off by one timer: it is set again only by a
 * whole message or by replies read to the end. */
#include <fcntl.h>

#include "proxyd/dns/cell.h"

#define ACCEPT_BATCH 8    /* connections of one cell per turn of the loop */
#define READ_BATCH   4096 /* bytes of one connection per turn; also the longest query it takes */
#define SEND_BUFFER                                                                                          \
    32768           /* what the kernel may hold of one connection's replies, before DNS_TCP_OUT_MAX counts */
#define PAUSE_S 0.1 /* no fds: accepting again after this time */

struct dns_tcp_conn {
    LIST_ENTRY(dns_tcp_conn) link;
    struct dns_cell *cell;
    int fd;
    ev_io in_io;
    ev_io out_io;
    ev_timer timer;
    unsigned waiting; /* queries under way */
    bool eof;         /* the client sends no more, but may still read */
    bool dead;        /* to be freed when the stack is unwound */
    bool busy;        /* take_messages is on the stack */
    struct buf in;
    struct buf out;
};

static void timer_again(struct dns_tcp_conn *c)
{
    ev_timer_stop(c->cell->loop, &c->timer);
    ev_timer_set(&c->timer, DNS_TCP_IDLE_MS / 1000., 0.);
    ev_timer_start(c->cell->loop, &c->timer);
}

static void conn_free(struct dns_tcp_conn *c)
{
    struct dns_cell *cell = c->cell;

    if (c->busy) {
        c->dead = true;
        return;
    }
    dns_flight_forget(cell, c);
    ev_io_stop(cell->loop, &c->in_io);
    ev_io_stop(cell->loop, &c->out_io);
    ev_timer_stop(cell->loop, &c->timer);
    close(c->fd);
    LIST_REMOVE(c, link);
    cell->tcp_open--;
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

/* Frees a connection whose client has sent everything and got everything. */
static void conn_settle(struct dns_tcp_conn *c)
{
    if (c->eof && c->waiting == 0 && c->out.len == 0)
        conn_free(c);
    else if (!c->eof && c->waiting < DNS_TCP_PIPELINE_MAX)
        ev_io_start(c->cell->loop, &c->in_io);
}

/* The length of the first message in the buffer when it is whole, 0 when it is not, -EMSGSIZE. */
static int message_ready(const struct dns_tcp_conn *c)
{
    if (c->in.len < 2)
        return 0;
    int len = c->in.data[0] << 8 | c->in.data[1];
    if (len == 0 || len + 2 > READ_BATCH)
        return -EMSGSIZE;
    return c->in.len >= (size_t)len + 2 ? len : 0;
}

/* Takes what is whole, as far as the pipeline has room; the rest stays in the buffer until answers have gone
 * out. */
static void take_messages(struct dns_tcp_conn *c)
{
    struct dns_origin origin = {.kind = DNS_FROM_TCP, .tcp = c};
    int len = 0;

    /* an answer may come from inside dns_query_take, but it must neither free c nor come here again */
    c->busy = true;
    while (!c->dead && c->waiting < DNS_TCP_PIPELINE_MAX && (len = message_ready(c)) > 0) {
        timer_again(c);
        dns_query_take(c->cell, &origin, c->in.data + 2, (size_t)len);
        buf_consume(&c->in, (size_t)len + 2);
    }
    c->busy = false;
    if (len < 0) {
        /* no message can be that long or empty: what follows has no borders */
        dns_query_take(c->cell, &(struct dns_origin){.kind = DNS_FROM_NOBODY}, c->in.data, 0);
        c->dead = true;
    }
    if (c->dead) {
        conn_free(c);
        return;
    }
    if (c->waiting >= DNS_TCP_PIPELINE_MAX)
        ev_io_stop(c->cell->loop, &c->in_io);
    conn_settle(c);
}

static void on_in(struct ev_loop *loop, ev_io *w, int events)
{
    struct dns_tcp_conn *c = w->data;
    size_t room = READ_BATCH - c->in.len;
    uint8_t *p = buf_reserve(&c->in, room);

    (void)events;
    if (!p) {
        conn_free(c);
        return;
    }
    ssize_t n = recv(c->fd, p, room, MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            conn_free(c);
        return;
    }
    if (n == 0) {
        c->eof = true;
        ev_io_stop(loop, &c->in_io);
        conn_settle(c);
        return;
    }
    c->in.len += (size_t)n;
    take_messages(c);
}

/* 0, or -errno when the connection is of no use any more. */
static int flush_out(struct dns_tcp_conn *c)
{
    ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    buf_consume(&c->out, (size_t)n);
    if (c->out.len > 0)
        return 0;
    ev_io_stop(c->cell->loop, &c->out_io);
    timer_again(c);
    return 0;
}

static void on_out(struct ev_loop *loop, ev_io *w, int events)
{
    struct dns_tcp_conn *c = w->data;

    (void)loop;
    (void)events;
    if (flush_out(c) < 0)
        conn_free(c);
    else
        conn_settle(c);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_tcp_conn *c = w->data;

    (void)loop;
    (void)events;
    /* the client waits for us, not we for it: queries have deadlines of their own */
    if (c->waiting > 0 && c->out.len == 0)
        timer_again(c);
    else
        conn_free(c);
}

void dns_tcp_waits(struct dns_tcp_conn *c)
{
    c->waiting++;
}

void dns_tcp_send(struct dns_tcp_conn *c, const struct buf *msg, bool waited)
{
    bool idle = c->out.len == 0;

    if (waited)
        c->waiting--;
    if (msg) {
        buf_put_be16(&c->out, (uint16_t)msg->len);
        buf_put(&c->out, msg->data, msg->len);
    }
    if (c->out.err < 0 || (idle && c->out.len > 0 && flush_out(c) < 0)) {
        conn_free(c);
        return;
    }
    if (c->out.len > 0)
        ev_io_start(c->cell->loop, &c->out_io);
    if (!c->busy)
        take_messages(c); /* what had to wait for room in the pipeline */
}

static int conn_new(struct dns_cell *cell, int fd)
{
    struct dns_tcp_conn *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->cell = cell;
    c->fd = fd;
    buf_init(&c->in, READ_BATCH);
    buf_init(&c->out, DNS_TCP_OUT_MAX);
    ev_io_init(&c->in_io, on_in, fd, EV_READ);
    ev_io_init(&c->out_io, on_out, fd, EV_WRITE);
    ev_init(&c->timer, on_timer);
    c->in_io.data = c->out_io.data = c->timer.data = c;
    LIST_INSERT_HEAD(&cell->conns, c, link);
    cell->tcp_open++;
    ev_io_start(cell->loop, &c->in_io);
    timer_again(c);
    return 0;
}

static void on_acceptable(struct ev_loop *loop, ev_io *w, int events)
{
    struct dns_cell *cell = w->data;

    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        _cleanup_close_ int fd = accept4(cell->tcp_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            ev_io_stop(loop, &cell->tcp_io);
            ev_timer_set(&cell->tcp_pause, PAUSE_S, 0.);
            ev_timer_start(loop, &cell->tcp_pause);
        }
        if (fd < 0)
            return;
        if (cell->tcp_open >= LIMIT_DNS_TCP_CONNS || conn_new(cell, fd) < 0)
            dns_evidence_limited(cell);
        else
            (void)TAKE_FD(fd);
    }
}

static void on_pause_over(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_cell *cell = w->data;

    (void)events;
    ev_io_start(loop, &cell->tcp_io);
}

int dns_tcp_init(struct dns_cell *cell, int fd)
{
    ev_init(&cell->tcp_io, on_acceptable);
    ev_init(&cell->tcp_pause, on_pause_over);
    cell->tcp_io.data = cell->tcp_pause.data = cell;
    if (fd < 0)
        return 0;
    /* a connection that is gone before accept4 must not make it wait */
    const int buffer = SEND_BUFFER;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    /* connections inherit it */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)) < 0)
        return -errno;
    cell->tcp_fd = fd;
    ev_io_set(&cell->tcp_io, fd, EV_READ);
    ev_io_start(cell->loop, &cell->tcp_io);
    return 0;
}

void dns_tcp_done(struct dns_cell *cell)
{
    struct dns_tcp_conn *c, *next;

    for (c = LIST_FIRST(&cell->conns); c; c = next) {
        next = LIST_NEXT(c, link);
        conn_free(c);
    }
    ev_io_stop(cell->loop, &cell->tcp_io);
    ev_timer_stop(cell->loop, &cell->tcp_pause);
    if (cell->tcp_fd >= 0)
        close(cell->tcp_fd);
    cell->tcp_fd = -EBADF;
}
