/* SPDX-License-Identifier: MIT */
/* The relay between real TCP connections on loopback, each peer in a thread of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "proxyd/relay.h"

#define MIB (1u << 20)

/* ---- peers ---- */

static uint8_t pattern(uint64_t seed, size_t i)
{
    return (uint8_t)((seed + i) * 2654435761u >> 16);
}

/* Sends `send` bytes of one pattern, then end of stream, while it expects exactly `expect` bytes of another.
 */
struct peer {
    int fd;
    uint64_t seed, expect_seed;
    size_t send, expect;
    size_t sent, got;
    bool eof, wrong, reset;
    pthread_t thread;
};

static void peer_send(struct peer *p)
{
    uint8_t b[30011];
    size_t n = p->send - p->sent < sizeof(b) ? p->send - p->sent : sizeof(b);

    for (size_t i = 0; i < n; i++)
        b[i] = pattern(p->seed, p->sent + i);
    ssize_t w = send(p->fd, b, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (w > 0)
        p->sent += (size_t)w;
    if (p->sent == p->send)
        shutdown(p->fd, SHUT_WR);
}

static void peer_recv(struct peer *p)
{
    uint8_t b[40009];
    ssize_t n = recv(p->fd, b, sizeof(b), MSG_DONTWAIT);

    if (n == 0)
        p->eof = true;
    p->reset |= n < 0 && errno == ECONNRESET;
    for (ssize_t i = 0; i < n; i++)
        p->wrong |= b[i] != pattern(p->expect_seed, p->got + (size_t)i);
    if (n > 0)
        p->got += (size_t)n;
}

static void *peer_run(void *arg)
{
    struct peer *p = arg;

    if (p->send == 0)
        shutdown(p->fd, SHUT_WR);
    while (!(p->eof && p->sent == p->send) && !p->reset) {
        struct pollfd f = {p->fd, p->eof ? 0 : POLLIN, 0};
        if (p->sent < p->send)
            f.events |= POLLOUT;
        if (poll(&f, 1, 10000) <= 0)
            break;
        if (!p->eof && (f.revents & (POLLIN | POLLHUP | POLLERR)))
            peer_recv(p);
        if ((f.revents & POLLOUT) && p->sent < p->send)
            peer_send(p);
    }
    return NULL;
}

static void peer_start(struct peer *p)
{
    assert_int_equal(pthread_create(&p->thread, NULL, peer_run, p), 0);
}

/* ---- the relay under test ---- */

struct rig {
    struct ev_loop *loop;
    struct relay_pool pool;
    struct relay *relay;
    int client, upstream; /* the relay's ends */
    struct peer c, u;     /* the others */
    unsigned done;
    enum relay_end end;
    struct quota *quota;
    struct ev_timer guard;
};

static void tcp_pair(int *a, int *b)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    _cleanup_close_ int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(l, 1), 0);
    assert_int_equal(getsockname(l, (struct sockaddr *)&sa, &len), 0);
    *a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(*a, (struct sockaddr *)&sa, len), 0);
    *b = accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(*b >= 0);
}

static void on_done(void *self, enum relay_end end)
{
    struct rig *r = self;
    r->done++;
    r->end = end;
    if (end == RELAY_CLEAN) { /* as the owner's close does */
        shutdown(r->client, SHUT_WR);
        shutdown(r->upstream, SHUT_WR);
    }
    ev_break(r->loop, EVBREAK_ALL);
}

static void on_guard(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)w;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void rig_open(struct rig *r, size_t pipes)
{
    *r = (struct rig){.loop = ev_loop_new(EVFLAG_AUTO)};
    assert_int_equal(relay_pool_init(&r->pool, pipes), 0);
    tcp_pair(&r->c.fd, &r->client);
    tcp_pair(&r->u.fd, &r->upstream);
    r->c.seed = r->u.expect_seed = 7;
    r->u.seed = r->c.expect_seed = 1234567;
    ev_timer_init(&r->guard, on_guard, 20, 0);
}

static void rig_relay(struct rig *r, unsigned idle_ms, const char *head)
{
    struct relay_config cfg = {.loop = r->loop,
                               .pool = &r->pool,
                               .client = r->client,
                               .upstream = r->upstream,
                               .idle_ms = idle_ms,
                               .quota = r->quota,
                               .done = on_done,
                               .self = r};
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, 4096);
    if (head)
        buf_puts(&b, head);
    assert_int_equal(relay_new(&cfg, &b, &r->relay), 0);
    assert_int_equal(b.len, 0);
}

static void rig_run(struct rig *r, double guard_s)
{
    ev_now_update(r->loop);
    ev_timer_set(&r->guard, guard_s, 0);
    ev_timer_start(r->loop, &r->guard);
    ev_run(r->loop, 0);
    ev_timer_stop(r->loop, &r->guard);
}

static void rig_close(struct rig *r)
{
    relay_free(r->relay);
    quota_free(r->quota);
    close(r->client);
    close(r->upstream);
    if (r->c.thread)
        pthread_join(r->c.thread, NULL);
    if (r->u.thread)
        pthread_join(r->u.thread, NULL);
    close(r->c.fd);
    close(r->u.fd);
    assert_int_equal(r->pool.pipes.open, r->pool.pipes.nidle); /* none is lost */
    relay_pool_done(&r->pool);
    ev_loop_destroy(r->loop);
}

static void both_ways(size_t pipes, size_t up, size_t down)
{
    struct rig r;
    rig_open(&r, pipes);
    r.c.send = r.u.expect = up;
    r.u.send = r.c.expect = down;
    rig_relay(&r, 10000, NULL);
    peer_start(&r.c);
    peer_start(&r.u);
    rig_run(&r, 20);
    assert_int_equal(r.done, 1);
    assert_int_equal(r.end, RELAY_CLEAN);
    assert_int_equal(relay_bytes_up(r.relay), up);
    assert_int_equal(relay_bytes_down(r.relay), down);
    pthread_join(r.c.thread, NULL);
    pthread_join(r.u.thread, NULL);
    assert_int_equal(r.u.got, up);
    assert_int_equal(r.c.got, down);
    assert_false(r.c.wrong);
    assert_false(r.u.wrong);
    assert_false(r.c.reset);
    assert_false(r.u.reset);
    r.c.thread = r.u.thread = 0;
    rig_close(&r);
}

static void test_splice(void **state)
{
    (void)state;
    both_ways(4, 10 * MIB, 10 * MIB + 3);
}

static void test_without_pipes(void **state)
{
    (void)state;
    both_ways(0, 10 * MIB, 10 * MIB + 3);
}

static void test_one_pipe(void **state)
{
    (void)state;
    both_ways(1, 10 * MIB, 10 * MIB); /* one direction splices, the other copies, and they swap */
}

static void test_half_close(void **state)
{
    (void)state;
    both_ways(4, 0, 3 * MIB); /* the client says end of stream first and hears everything */
    both_ways(4, 3 * MIB, 0);
    both_ways(4, 0, 0);
}

static void test_head_first(void **state)
{
    struct rig r;
    char got[64] = {0};

    (void)state;
    rig_open(&r, 4);
    rig_relay(&r, 10000, "first ");
    assert_int_equal(send(r.c.fd, "second", 6, 0), 6);
    shutdown(r.c.fd, SHUT_WR);
    shutdown(r.u.fd, SHUT_WR);
    rig_run(&r, 5);
    assert_int_equal(r.done, 1);
    assert_int_equal(r.end, RELAY_CLEAN);
    assert_int_equal(recv(r.u.fd, got, sizeof(got), MSG_WAITALL), 12);
    assert_string_equal(got, "first second");
    rig_close(&r);
}

/* How much a sender can put in before it blocks for good: what the two sockets and the relay hold. */
static void never_reads(size_t pipes)
{
    struct rig r;
    static uint8_t block[65536];
    size_t total = 0, last = 1;

    rig_open(&r, pipes);
    rig_relay(&r, 1500, NULL);
    fcntl(r.c.fd, F_SETFL, O_NONBLOCK);
    while (total != last) { /* the upstream never reads */
        last = total;
        for (ssize_t n; (n = send(r.c.fd, block, sizeof(block), MSG_NOSIGNAL)) > 0;)
            total += (size_t)n;
        rig_run(&r, 0.2);
        assert_int_equal(r.done, 0);
    }
    assert_true(total <
                32 * MIB); /* the kernel's socket buffers bound it; the relay itself holds one block: */
    int unread = 0, unsent = 0;
    assert_int_equal(ioctl(r.client, FIONREAD, &unread), 0);
    assert_int_equal(ioctl(r.c.fd, TIOCOUTQ, &unsent), 0);
    size_t taken = total - (size_t)unread - (size_t)unsent;
    assert_in_range(taken - relay_bytes_up(r.relay), 1, PIPE_BYTES);
    assert_true(r.pool.pipes.open <= 1);
    rig_run(&r, 5); /* nobody moves: the time runs out */
    assert_int_equal(r.done, 1);
    assert_int_equal(r.end, RELAY_IDLE);
    rig_close(&r);
}

static void test_never_reading_peer(void **state)
{
    (void)state;
    never_reads(4);
    never_reads(0);
}

/* A slow reader gets everything. */
static void test_back_pressure(void **state)
{
    struct rig r;
    (void)state;
    rig_open(&r, 4);
    int small = 65536;
    assert_int_equal(setsockopt(r.u.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    r.c.send = r.u.expect = 2 * MIB;
    rig_relay(&r, 10000, NULL);
    peer_start(&r.c);
    rig_run(&r, 0.3); /* the upstream sleeps */
    assert_int_equal(r.done, 0);
    peer_start(&r.u);
    rig_run(&r, 20);
    assert_int_equal(r.done, 1);
    assert_int_equal(r.end, RELAY_CLEAN);
    pthread_join(r.u.thread, NULL);
    pthread_join(r.c.thread, NULL);
    r.c.thread = r.u.thread = 0;
    assert_int_equal(r.u.got, 2 * MIB);
    assert_false(r.u.wrong);
    rig_close(&r);
}

static void test_reset(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct rig r;
        struct linger now = {1, 0};
        rig_open(&r, 4);
        rig_relay(&r, 10000, NULL);
        int *fd = side ? &r.u.fd : &r.c.fd;
        assert_int_equal(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
        close(*fd);
        *fd = -EBADF;
        rig_run(&r, 5);
        assert_int_equal(r.done, 1);
        assert_int_equal(r.end, RELAY_BROKEN);
        rig_close(&r);
    }
}

static void test_idle(void **state)
{
    struct rig r;
    (void)state;
    rig_open(&r, 4);
    rig_relay(&r, 300, NULL);
    for (int i = 0; i < 4; i++) { /* something moves: the time starts again */
        assert_int_equal(send(r.c.fd, "x", 1, 0), 1);
        rig_run(&r, 0.15);
        assert_int_equal(r.done, 0);
    }
    rig_run(&r, 5);
    assert_int_equal(r.done, 1);
    assert_int_equal(r.end, RELAY_IDLE);
    rig_close(&r);
}

/* The bytes are counted both ways, and the first one beyond the quota ends it. */
static void test_quota_bytes(void **state)
{
    struct policy_quota limits = {.max_connections = 1, .max_bytes = OPT_UINT(1000)};
    struct rig r;
    char got[2000];
    (void)state;
    rig_open(&r, 4);
    assert_int_equal(quota_new(r.loop, &limits, &r.quota), 0);
    rig_relay(&r, 10000, NULL);
    memset(got, 'x', sizeof(got));
    assert_int_equal(send(r.c.fd, got, 600, 0), 600);
    rig_run(&r, 0.1);
    assert_int_equal(send(r.u.fd, got, 400, 0), 400);
    rig_run(&r, 0.1);
    assert_int_equal(r.done, 0);
    assert_false(quota_left(r.quota));
    assert_int_equal(quota_bytes(r.quota, QUOTA_SENT), 600);
    assert_int_equal(quota_bytes(r.quota, QUOTA_RECEIVED), 400);
    assert_int_equal(recv(r.u.fd, got, sizeof(got), 0), 600);
    assert_int_equal(send(r.u.fd, got, 1, 0), 1);
    rig_run(&r, 5);
    assert_int_equal(r.done, 1);
    assert_int_equal(r.end, RELAY_QUOTA);
    rig_close(&r);
}

/* A slow cell: everything arrives, nothing is lost, and the sender is held back meanwhile. */
static void test_quota_rate(void **state)
{
    struct policy_quota limits = {.max_connections = 1, .max_bytes_per_second = OPT_UINT(MIB)};
    struct rig r;
    (void)state;
    rig_open(&r, 4);
    assert_int_equal(quota_new(r.loop, &limits, &r.quota), 0);
    r.c.send = r.u.expect = MIB;
    r.u.send = r.c.expect = MIB;
    rig_relay(&r, 10000, NULL);
    peer_start(&r.c);
    peer_start(&r.u);
    rig_run(&r, 0.3);
    assert_int_equal(r.done, 0); /* two seconds' bytes: the bucket of the first one is empty by now */
    assert_true(quota_bytes(r.quota, QUOTA_SENT) + quota_bytes(r.quota, QUOTA_RECEIVED) < 2 * MIB);
    rig_run(&r, 20);
    assert_int_equal(r.done, 1);
    assert_int_equal(r.end, RELAY_CLEAN);
    pthread_join(r.u.thread, NULL);
    pthread_join(r.c.thread, NULL);
    r.c.thread = r.u.thread = 0;
    assert_int_equal(r.u.got, MIB);
    assert_int_equal(r.c.got, MIB);
    assert_false(r.u.wrong || r.c.wrong);
    rig_close(&r);
}

static void test_pipes(void **state)
{
    struct pipes p;
    struct pipe_pair a = PIPE_NONE, b = PIPE_NONE, c = PIPE_NONE;
    (void)state;
    assert_int_equal(pipes_init(&p, 2), 0);
    assert_true(pipes_get(&p, &a));
    assert_true(pipes_get(&p, &b));
    assert_false(pipes_get(&p, &c)); /* the limit */
    int r = a.r;
    pipes_put(&p, &a, true);
    assert_int_equal(a.r, -EBADF);
    assert_true(pipes_get(&p, &c));
    assert_int_equal(c.r, r); /* used again */
    assert_int_equal(write(c.w, "x", 1), 1);
    pipes_put(&p, &c, false);
    assert_int_equal(fcntl(r, F_GETFD), -1); /* what is in it is nobody else's */
    assert_int_equal(p.open, 1);
    pipes_put(&p, &b, true);
    pipes_put(&p, &b, true); /* nothing held: nothing happens */
    assert_int_equal(p.nidle, 1);
    pipes_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splice),        cmocka_unit_test(test_without_pipes),
        cmocka_unit_test(test_one_pipe),      cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_head_first),    cmocka_unit_test(test_never_reading_peer),
        cmocka_unit_test(test_back_pressure), cmocka_unit_test(test_reset),
        cmocka_unit_test(test_idle),          cmocka_unit_test(test_quota_bytes),
        cmocka_unit_test(test_quota_rate),    cmocka_unit_test(test_pipes),
    };
    signal(SIGPIPE, SIG_IGN); /* as main does: splice(2) has no MSG_NOSIGNAL */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
