/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/forward.h"

#include <sys/random.h>

#include "common/base/clock.h"
#include "proxyd/dns/reply.h"

struct dns_forward {
    struct ev_loop *loop;
    const struct dns_resolver *resolvers;
    size_t nresolvers;
    struct dns_question q;
    struct dns_counters *counters;
    dns_forward_cb cb;
    void *data;

    size_t try;                          /* the next one; its resolver is try % nresolvers */
    const struct dns_resolver *resolver; /* of the try under way */
    bool no_edns;                        /* this resolver has refused OPT */
    bool tcp;                            /* of the try under way */
    uint16_t id;
    unsigned strays;
    int error; /* of the last failed try */
    uint64_t start_us;
    int fd;
    ev_io io;
    ev_timer timer; /* end of the try, or 0: go on with the next one from the loop */
    struct buf out; /* TCP: what is not sent yet */
    struct buf in;  /* TCP: what has come, length prefix included */
};

static void try_next(struct dns_forward *f);

static void try_stop(struct dns_forward *f)
{
    ev_io_stop(f->loop, &f->io);
    ev_timer_stop(f->loop, &f->timer);
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -EBADF;
}

static void finish(struct dns_forward *f, int error, const uint8_t *msg, size_t len)
{
    struct dns_forward_result result = {error, msg, len, f->resolver, clock_boottime_us() - f->start_us};

    try_stop(f);
    f->cb(f->data, &result); /* may free f */
}

/* The try is over without an answer; the next begins from the loop, so that no failure calls back from inside
 * a start. */
static void try_failed(struct dns_forward *f, int error)
{
    try_stop(f);
    f->error = error;
    ev_timer_set(&f->timer, 0., 0.);
    ev_timer_start(f->loop, &f->timer);
}

/* Milliseconds the try may take: its own share and what is left of all; 0 when nothing is. */
static uint64_t time_left_ms(const struct dns_forward *f)
{
    uint64_t gone_ms = (clock_boottime_us() - f->start_us) / 1000;
    uint64_t left = gone_ms < DNS_UPSTREAM_MS ? DNS_UPSTREAM_MS - gone_ms : 0;

    return left < LIMIT_DNS_TIMEOUT_MS ? left : LIMIT_DNS_TIMEOUT_MS;
}

/* Connected: the kernel drops what comes from any other address or port, and binds a random port of its own
 * choice. */
static int upstream_connect(struct dns_forward *f, int type)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&f->resolver->addr, &ss);
    _cleanup_close_ int fd = socket(ss.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
        return -errno;
    if (getrandom(&f->id, sizeof(f->id), 0) != sizeof(f->id))
        return -EIO;
    f->fd = TAKE_FD(fd);
    f->strays = 0;
    f->counters->upstream++;
    return 0;
}

static int udp_start(struct dns_forward *f)
{
    struct buf b;
    int r = upstream_connect(f, SOCK_DGRAM);

    if (r < 0)
        return r;
    buf_init(&b, 1024);
    r = dns_request_write(&b, f->id, &f->q, !f->no_edns);
    if (r == 0 && send(f->fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        r = -errno;
    buf_done(&b);
    ev_io_set(&f->io, f->fd, EV_READ);
    return r;
}

static int tcp_start(struct dns_forward *f)
{
    int r = upstream_connect(f, SOCK_STREAM);

    if (r < 0)
        return r;
    buf_clear(&f->in);
    buf_clear(&f->out);
    buf_put_be16(&f->out, 0);
    r = dns_request_write(&f->out, f->id, &f->q, !f->no_edns);
    if (r < 0)
        return r;
    f->out.data[0] = (uint8_t)((f->out.len - 2) >> 8);
    f->out.data[1] = (uint8_t)(f->out.len - 2);
    ev_io_set(&f->io, f->fd, EV_WRITE);
    return 0;
}

static void try_start(struct dns_forward *f, bool tcp)
{
    uint64_t ms = time_left_ms(f);

    f->tcp = tcp;
    int r = ms == 0 ? -ETIMEDOUT : tcp ? tcp_start(f) : udp_start(f);
    if (r < 0) {
        try_failed(f, r);
        return;
    }
    ev_io_start(f->loop, &f->io);
    ev_timer_set(&f->timer, (double)ms / 1000., 0.);
    ev_timer_start(f->loop, &f->timer);
}

static void try_next(struct dns_forward *f)
{
    if (f->try >= f->nresolvers * LIMIT_DNS_TRIES || time_left_ms(f) == 0) {
        finish(f, f->error, NULL, 0);
        return;
    }
    f->resolver = &f->resolvers[f->try++ % f->nresolvers];
    f->no_edns = false;
    try_start(f, f->resolver->protocol == RESOLVER_DO53_TCP);
}

/* Only answers with the right id and question come here. */
static void answered(struct dns_forward *f, const uint8_t *msg, size_t len, bool cut)
{
    uint8_t rcode = msg[3] & 0xf;
    bool truncated = cut || msg[2] & (DNS_FLAG_TC >> 8);

    if (rcode == DNS_FORMERR && !f->no_edns) {
        /* an old server that knows no OPT (RFC 6891 section 7) */
        bool tcp = f->tcp;
        try_stop(f);
        f->no_edns = true;
        try_start(f, tcp);
    } else if (!f->tcp && truncated) {
        try_stop(f);
        try_start(f, true);
    } else if ((rcode == DNS_SERVFAIL || rcode == DNS_NOTIMP || rcode == DNS_REFUSED) &&
               f->try < f->nresolvers) {
        try_failed(f, -EHOSTUNREACH);
    } else {
        finish(f, 0, msg, len);
    }
}

static void udp_readable(struct dns_forward *f)
{
    uint8_t b[DNS_UDP_REPLY_MAX];

    for (;;) {
        ssize_t n = recv(f->fd, b, sizeof(b), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                try_failed(f, -errno); /* ECONNREFUSED: an ICMP error came back */
            return;
        }
        bool cut = (size_t)n > sizeof(b);
        size_t len = cut ? sizeof(b) : (size_t)n;
        if (dns_response_matches(b, len, f->id, &f->q)) {
            answered(f, b, len, cut);
            return;
        }
        f->counters->strays++;
        if (++f->strays >= DNS_UPSTREAM_STRAY_MAX) {
            try_failed(f, -EBADMSG);
            return;
        }
    }
}

static void tcp_writable(struct dns_forward *f)
{
    ssize_t n = send(f->fd, f->out.data, f->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            try_failed(f, -errno);
        return;
    }
    buf_consume(&f->out, (size_t)n);
    if (f->out.len > 0)
        return;
    ev_io_stop(f->loop, &f->io);
    ev_io_set(&f->io, f->fd, EV_READ);
    ev_io_start(f->loop, &f->io);
}

/* How many bytes the message in f->in still lacks; -EMSGSIZE when it is too long for us. */
static ssize_t tcp_lacking(const struct dns_forward *f)
{
    if (f->in.len < 2)
        return (ssize_t)(2 - f->in.len);
    size_t len = (size_t)f->in.data[0] << 8 | f->in.data[1];
    if (len > DNS_MESSAGE_MAX)
        return -EMSGSIZE;
    return (ssize_t)(len + 2 - f->in.len);
}

static void tcp_readable(struct dns_forward *f)
{
    ssize_t want, n = 0;

    while ((want = tcp_lacking(f)) > 0) {
        uint8_t *p = buf_reserve(&f->in, (size_t)want);
        if (!p) {
            try_failed(f, -ENOMEM);
            return;
        }
        n = recv(f->fd, p, (size_t)want, MSG_DONTWAIT);
        if (n <= 0) {
            if (n == 0 || (errno != EAGAIN && errno != EINTR))
                try_failed(f, n == 0 ? -ECONNRESET : -errno);
            return;
        }
        f->in.len += (size_t)n;
    }
    if (want < 0 || !dns_response_matches(f->in.data + 2, f->in.len - 2, f->id, &f->q)) {
        f->counters->strays++;
        try_failed(f, -EBADMSG);
        return;
    }
    answered(f, f->in.data + 2, f->in.len - 2, false);
}

static void on_io(struct ev_loop *loop, ev_io *w, int events)
{
    struct dns_forward *f = w->data;

    (void)loop;
    (void)events;
    if (!f->tcp)
        udp_readable(f);
    else if (f->out.len > 0)
        tcp_writable(f);
    else
        tcp_readable(f);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_forward *f = w->data;

    (void)loop;
    (void)events;
    if (f->fd >= 0) {
        f->error = -ETIMEDOUT;
        try_stop(f);
    }
    try_next(f);
}

int dns_forward_new(struct ev_loop *loop, const struct dns_resolver *resolvers, size_t n,
                    const struct dns_question *q, struct dns_counters *counters, dns_forward_cb cb,
                    void *data, struct dns_forward **ret)
{
    struct dns_forward *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    *f = (struct dns_forward){
        .loop = loop,
        .resolvers = resolvers,
        .nresolvers = n < LIMIT_RESOLVERS ? n : LIMIT_RESOLVERS,
        .q = *q,
        .counters = counters,
        .cb = cb,
        .data = data,
        .error = -EHOSTUNREACH,
        .start_us = clock_boottime_us(),
        .fd = -EBADF,
    };
    buf_init(&f->out, 1024);
    buf_init(&f->in, DNS_MESSAGE_MAX + 2);
    ev_init(&f->io, on_io);
    ev_init(&f->timer, on_timer);
    f->io.data = f->timer.data = f;
    if (f->nresolvers > 0)
        try_next(f);
    else
        try_failed(f, -EHOSTUNREACH);
    *ret = f;
    return 0;
}

struct dns_forward *dns_forward_free(struct dns_forward *f)
{
    if (!f)
        return NULL;
    try_stop(f);
    buf_done(&f->out);
    buf_done(&f->in);
    free(f);
    return NULL;
}
