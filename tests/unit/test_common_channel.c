/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/socket.h>

#include "common/ipc/channel.h"
#include "tests/unit/child.h"

#define QUEUE_MAX 20

struct fixture {
    struct ev_loop *loop;
    struct channel *c;
    int peer;
    int fds_before;
    /* what the callbacks do */
    int answer;
    bool free_in_frame, free_in_gone, take_fd;
    /* what they saw */
    int frames, gone, gone_err, taken;
    bool sending, gone_while_sending;
    char last[64];
    struct frame f;
};

static int on_frame(void *self, struct frame *f)
{
    struct fixture *x = self;

    x->frames++;
    memcpy(x->last, f->data, f->len < sizeof x->last ? f->len : sizeof x->last);
    if (x->take_fd && f->nfds > 0)
        x->taken = TAKE_FD(f->fds[0]);
    if (x->free_in_frame) {
        x->c = channel_free(x->c);
        f->data[0] = 'u'; /* the frame must still be there */
    }
    return x->answer;
}

static void on_gone(void *self, int err)
{
    struct fixture *x = self;

    x->gone++;
    x->gone_err = err;
    x->gone_while_sending |= x->sending;
    if (x->free_in_gone)
        x->c = channel_free(x->c);
}

static const struct channel_ops ops = {on_frame, on_gone};

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    int s[2];

    x->fds_before = child_open_fds();
    x->loop = ev_loop_new(EVFLAG_NOENV);
    x->taken = -EBADF;
    if (!x->loop || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
        return -1;
    x->peer = s[1];
    *state = x;
    return channel_new(x->loop, s[0], QUEUE_MAX, &ops, x, &x->c);
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    int leaked;

    channel_free(x->c);
    ev_loop_destroy(x->loop);
    cleanup_closep(&x->peer);
    cleanup_closep(&x->taken);
    leaked = child_open_fds() - x->fds_before;
    if (leaked != 0)
        fprintf(stderr, "%d fds leaked\n", leaked);
    bool bad = x->gone_while_sending || x->gone > 1;
    free(x);
    return leaked == 0 && !bad ? 0 : -1;
}

/* A few turns of the loop, without waiting. */
static void turn(struct fixture *x)
{
    for (int i = 0; i < 8; i++)
        ev_run(x->loop, EVRUN_NOWAIT);
}

static int send_one(struct fixture *x, const char *s, const int *fds, size_t nfds)
{
    x->sending = true;
    int r = channel_send(x->c, s, strlen(s), fds, nfds);
    x->sending = false;
    return r;
}

static void close_peer(struct fixture *x)
{
    close(x->peer);
    x->peer = -EBADF;
}

static void test_both_ways(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(frame_send(x->peer, "ping", 4, NULL, 0), 0);
    turn(x);
    assert_int_equal(x->frames, 1);
    assert_string_equal(x->last, "ping");
    assert_int_equal(send_one(x, "pong", NULL, 0), 0);
    assert_int_equal(channel_queued(x->c), 0);
    assert_int_equal(frame_recv(x->peer, &x->f), FRAME_GOT);
    assert_memory_equal(x->f.data, "pong", 4);
}

static void test_many_frames(void **state)
{
    struct fixture *x = *state;

    for (int i = 0; i < 200; i++) {
        while (frame_send(x->peer, "many", 4, NULL, 0) == -EAGAIN)
            turn(x);
    }
    turn(x);
    assert_int_equal(x->frames, 200);
}

static void test_close_is_gone_without_error(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(frame_send(x->peer, "bye", 3, NULL, 0), 0);
    close_peer(x);
    turn(x);
    assert_int_equal(x->frames, 1);
    assert_int_equal(x->gone, 1);
    assert_int_equal(x->gone_err, 0);
    assert_int_equal(send_one(x, "late", NULL, 0), -EPIPE);
    turn(x);
    assert_int_equal(x->gone, 1);
}

static void test_refused_frame_cuts(void **state)
{
    struct fixture *x = *state;

    x->answer = -EPROTO;
    assert_int_equal(frame_send(x->peer, "one", 3, NULL, 0), 0);
    assert_int_equal(frame_send(x->peer, "two", 3, NULL, 0), 0);
    turn(x);
    assert_int_equal(x->frames, 1);
    assert_int_equal(x->gone, 1);
    assert_int_equal(x->gone_err, -EPROTO);
    assert_int_equal(frame_send(x->peer, "x", 1, NULL, 0), -EPIPE); /* the peer notices at once */
}

static void test_broken_frame_cuts(void **state)
{
    struct fixture *x = *state;

    x->free_in_gone = true;
    assert_int_equal(send(x->peer, "", 0, 0), 0);
    turn(x);
    assert_int_equal(x->frames, 0);
    assert_int_equal(x->gone_err, -EBADMSG);
    assert_null(x->c);
}

/* Sends numbers until the queue is full; the count. */
static int fill(struct fixture *x)
{
    char text[16];
    int n = 0, r;

    do {
        snprintf(text, sizeof text, "%d", n);
        r = send_one(x, text, NULL, 0);
    } while (r == 0 && ++n < 100000);
    assert_int_equal(r, -EDQUOT);
    assert_int_equal(channel_queued(x->c), QUEUE_MAX);
    return n;
}

static void test_queue_is_bounded_and_in_order(void **state)
{
    struct fixture *x = *state;
    int n = fill(x), got = 0;

    assert_true(n > QUEUE_MAX);
    for (int i = 0; i < 1000 && got < n; i++) {
        turn(x);
        while (frame_recv(x->peer, &x->f) == FRAME_GOT) {
            char want[16];
            int len = snprintf(want, sizeof want, "%d", got++);
            assert_int_equal(x->f.len, len);
            assert_memory_equal(x->f.data, want, (size_t)len);
        }
    }
    assert_int_equal(got, n);
    assert_int_equal(channel_queued(x->c), 0);
    assert_int_equal(send_one(x, "again", NULL, 0), 0);
    assert_int_equal(frame_recv(x->peer, &x->f), FRAME_GOT);
}

static void test_queued_fds_are_duplicates(void **state)
{
    struct fixture *x = *state;
    int pipes[2], r;

    while ((r = send_one(x, "fill", NULL, 0)) == 0 && channel_queued(x->c) == 0)
        ;
    assert_int_equal(r, 0);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(send_one(x, "pipe", &pipes[1], 1), 0);
    close(pipes[1]); /* ours: the queue has its own */
    do
        turn(x);
    while (frame_recv(x->peer, &x->f) == FRAME_GOT && x->f.nfds == 0);
    assert_int_equal(x->f.nfds, 1);
    assert_int_equal(write(x->f.fds[0], "!", 1), 1);
    frame_close_fds(&x->f);
    char got[4];
    assert_int_equal(read(pipes[0], got, sizeof got), 1);
    assert_int_equal(read(pipes[0], got, sizeof got), 0); /* nobody else holds the other end */
    close(pipes[0]);
}

static void test_free_closes_queued_fds(void **state)
{
    struct fixture *x = *state;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    while (channel_queued(x->c) < QUEUE_MAX / 2)
        assert_int_equal(send_one(x, "fd", &null, 1), 0);
    close(null);
    close_peer(x); /* also those in flight */
    x->c = channel_free(x->c);
    assert_int_equal(x->gone, 0);
}

static void test_bad_fd_does_not_queue(void **state)
{
    struct fixture *x = *state;
    int bad[2] = {0, -EBADF};

    assert_int_equal(send_one(x, "bad", bad, 2), -EBADF);
    while (channel_queued(x->c) == 0)
        assert_int_equal(send_one(x, "fill", NULL, 0), 0);
    assert_int_equal(send_one(x, "bad", bad, 2), -EBADF);
    assert_int_equal(channel_queued(x->c), 1);
    assert_int_equal(send_one(x, "", NULL, 0), -EMSGSIZE);
}

static void test_dead_peer_in_send(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(frame_send(x->peer, "last words", 10, NULL, 0), 0);
    close_peer(x);
    assert_int_equal(send_one(x, "x", NULL, 0), -EPIPE);
    assert_int_equal(send_one(x, "x", NULL, 0), -EPIPE);
    assert_int_equal(x->gone, 0); /* never from inside send */
    turn(x);
    assert_int_equal(x->frames, 1); /* what it had said is heard first */
    assert_string_equal(x->last, "last words");
    assert_int_equal(x->gone, 1);
}

/* The peer only stopped reading: there is no end of file, yet the channel is dead. */
static void test_peer_that_stops_reading(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(shutdown(x->peer, SHUT_RD), 0);
    assert_int_equal(send_one(x, "x", NULL, 0), -EPIPE);
    assert_int_equal(x->gone, 0);
    turn(x);
    assert_int_equal(x->gone, 1);
    assert_int_equal(x->gone_err, -EPIPE);
}

static void test_peer_that_dies_with_a_queue(void **state)
{
    struct fixture *x = *state;

    fill(x);
    close_peer(x);
    turn(x);
    assert_int_equal(x->gone, 1);
    assert_int_equal(channel_queued(x->c), 0);
}

static void test_free_in_frame(void **state)
{
    struct fixture *x = *state;

    x->free_in_frame = true;
    x->answer = -EPROTO;
    assert_int_equal(frame_send(x->peer, "one", 3, &x->peer, 1), 0);
    assert_int_equal(frame_send(x->peer, "two", 3, NULL, 0), 0);
    turn(x);
    assert_int_equal(x->frames, 1);
    assert_int_equal(x->gone, 0);
    assert_null(x->c);
}

static void test_fds_taken_and_not(void **state)
{
    struct fixture *x = *state;
    int fds[3] = {x->peer, x->peer, x->peer};
    int before = child_open_fds();

    x->take_fd = true;
    assert_int_equal(frame_send(x->peer, "fds", 3, fds, 3), 0);
    turn(x);
    assert_true(fcntl(x->taken, F_GETFD) >= 0);
    assert_int_equal(child_open_fds(), before + 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_both_ways),
        T(test_many_frames),
        T(test_close_is_gone_without_error),
        T(test_refused_frame_cuts),
        T(test_broken_frame_cuts),
        T(test_queue_is_bounded_and_in_order),
        T(test_queued_fds_are_duplicates),
        T(test_free_closes_queued_fds),
        T(test_bad_fd_does_not_queue),
        T(test_dead_peer_in_send),
        T(test_peer_that_stops_reading),
        T(test_peer_that_dies_with_a_queue),
        T(test_free_in_frame),
        T(test_fds_taken_and_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
