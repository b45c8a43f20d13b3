/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>

#include "common/base/clock.h"
#include "proto/line.h"
#include "tests/unit/child.h"
#include "tests/unit/proto_wire.h"

#define RUN_ID "0190b3c4-0000-7000-8000-000000000001"

struct fixture {
    struct line l;
    struct line_msg m;
    struct wire w;
    int fds_before;
};

/* Our line is the server of the init interface, as PID 1 of a cell is. */
static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof(*x));
    int s[2];
    if (!x)
        return -1;
    x->fds_before = child_open_fds();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
        return -1;
    x->l = (struct line){.sock = s[0],
                         .iface = &iface_init,
                         .side = FROM_SERVER,
                         .role = ROLE_INIT,
                         .peer_role = ROLE_SUPERVISOR};
    line_msg_init(&x->m);
    wire_init(&x->w, s[1], &iface_init, FROM_CLIENT, ROLE_SUPERVISOR);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    line_msg_done(&x->m);
    wire_close(&x->w);
    cleanup_closep(&x->l.sock);
    int leaked = child_open_fds() - x->fds_before;
    if (leaked != 0)
        fprintf(stderr, "%d fds leaked\n", leaked);
    free(x);
    return leaked == 0 ? 0 : -1;
}

static void start(struct fixture *x, uint32_t state)
{
    struct msg m;
    assert_int_equal(wire_hello(&x->w), 0);
    assert_int_equal(line_hello(&x->l, &x->m), 0);
    assert_int_equal(x->l.state, LINE_READY);
    assert_int_equal(wire_recv(&x->w, ROLE_INIT, LINE_HELLO, &m), 0);
    assert_int_equal(m.row->id, MSG_HELLO);
    x->l.state = state;
}

static void test_hello(void **state)
{
    start(*state, LINE_READY);
}

static void check_refused(struct fixture *x, const char *interface, uint32_t version, uint32_t role)
{
    struct hello h = {str_of(interface), version, role};
    assert_int_equal(wire_send(&x->w, MSG_HELLO, 0, &h), 0);
    assert_int_equal(line_hello(&x->l, &x->m), -EPROTO);
    assert_int_equal(x->l.state, LINE_HELLO);
}

static void test_hello_interface(void **state)
{
    check_refused(*state, "zygote", 1, ROLE_SUPERVISOR);
}

static void test_hello_version(void **state)
{
    check_refused(*state, "init", 0, ROLE_SUPERVISOR);
}

static void test_hello_role(void **state)
{
    check_refused(*state, "init", 1, ROLE_CELLCTL);
}

static void test_hello_something_else(void **state)
{
    struct fixture *x = *state;
    struct empty none;
    assert_int_equal(wire_send(&x->w, MSG_INIT_GO, 1, &none), 0);
    assert_int_equal(line_hello(&x->l, &x->m), -EPROTO);
}

static void test_hello_with_fd(void **state)
{
    struct fixture *x = *state;
    struct hello h = {STR_LIT("init"), 1, ROLE_SUPERVISOR};
    assert_int_equal(wire_send_fds(&x->w, MSG_HELLO, 0, &h, 1), 0);
    assert_int_equal(line_hello(&x->l, &x->m), -EPROTO);
}

static void test_hello_peer_closes(void **state)
{
    struct fixture *x = *state;
    struct pollfd p = {.fd = x->w.sock, .events = POLLIN};
    pid_t pid = fork();
    if (pid == 0) { /* takes our hello and goes */
        CHILD_CHECK(poll(&p, 1, 5000) == 1);
        CHILD_CHECK(frame_recv(x->w.sock, &x->w.frame) == FRAME_GOT);
        _exit(0);
    }
    cleanup_closep(&x->w.sock);
    x->w.sock = -EBADF;
    assert_int_equal(line_hello(&x->l, &x->m), -ECONNRESET);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_hello_already_closed(void **state)
{
    struct fixture *x = *state;
    wire_close(&x->w);
    assert_true(line_hello(&x->l, &x->m) < 0);
}

static void test_hello_too_late(void **state)
{
    struct fixture *x = *state;
    uint64_t began = clock_boottime_us();
    assert_int_equal(line_hello(&x->l, &x->m), -EAGAIN);
    assert_in_range(clock_boottime_us() - began, (LIMIT_HELLO_MS - 100) * 1000,
                    (LIMIT_HELLO_MS + 3000) * 1000);
}

static void test_recv(void **state)
{
    struct fixture *x = *state;
    struct init_secret s = {STR_LIT("TOKEN"), STR_LIT("\0\xff binary")};
    start(x, LINE_BARRIER);
    assert_int_equal(line_recv(&x->l, &x->m, 20), -EAGAIN);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wire_send(&x->w, MSG_INIT_SECRET, 5, &s), 0);
        assert_int_equal(line_recv(&x->l, &x->m, 1000), 0);
        assert_int_equal(x->m.msg.row->id, MSG_INIT_SECRET);
        assert_true(x->m.msg.seq == 5);
        const struct init_secret *got = x->m.msg.rec;
        assert_true(str_eq(got->name, s.name) && str_eq(got->value, s.value));
    }
    wire_close(&x->w);
    assert_int_equal(line_recv(&x->l, &x->m, -1), 1);
    assert_int_equal(line_recv(&x->l, &x->m, -1), 1);
}

static void test_recv_refused(void **state)
{
    struct fixture *x = *state;
    struct empty none;
    struct init_signal sig = {15};
    start(x, LINE_BARRIER);
    assert_int_equal(wire_send(&x->w, MSG_INIT_SIGNAL, 1, &sig), 0); /* only while running */
    assert_int_equal(line_recv(&x->l, &x->m, 1000), -EPROTO);
    assert_int_equal(wire_send(&x->w, MSG_INIT_STARTED, 1, &none), 0); /* ours */
    x->l.state = LINE_RUNNING;
    assert_int_equal(line_recv(&x->l, &x->m, 1000), -EPROTO);
    assert_int_equal(frame_send(x->w.sock, "\xc0", 1, NULL, 0), 0);
    assert_int_equal(line_recv(&x->l, &x->m, 1000), -EBADMSG);
    int before = child_open_fds();
    assert_int_equal(wire_send_fds(&x->w, MSG_INIT_SIGNAL, 1, &sig, 3), 0);
    assert_int_equal(line_recv(&x->l, &x->m, 1000), -EPROTO);
    line_msg_done(&x->m);
    assert_int_equal(child_open_fds(), before);
}

static void test_once(void **state)
{
    struct fixture *x = *state;
    struct empty none;
    start(x, LINE_BARRIER);
    assert_int_equal(wire_send(&x->w, MSG_INIT_GO, 1, &none), 0);
    assert_int_equal(wire_send(&x->w, MSG_INIT_GO, 2, &none), 0);
    assert_int_equal(line_recv(&x->l, &x->m, 1000), 0);
    assert_int_equal(line_recv(&x->l, &x->m, 1000), -EPROTO); /* though the state did not move */
}

static void test_send(void **state)
{
    struct fixture *x = *state;
    struct empty none;
    struct init_signal sig = {15};
    struct msg m;
    int fd = 0;
    start(x, LINE_RUNNING);
    assert_int_equal(line_send(&x->l, MSG_INIT_STARTED, 0, &none, NULL, 0), 0);
    assert_int_equal(wire_recv(&x->w, ROLE_INIT, LINE_RUNNING, &m), 0);
    assert_int_equal(m.row->id, MSG_INIT_STARTED);
    uint64_t first = m.seq;
    assert_int_equal(line_send(&x->l, MSG_INIT_STARTED, 0, &none, NULL, 0), 0);
    assert_int_equal(wire_recv(&x->w, ROLE_INIT, LINE_RUNNING, &m), 0);
    assert_true(m.seq == first + 1);
    assert_int_equal(line_send(&x->l, MSG_INIT_SIGNAL, 0, &sig, NULL, 0), -EINVAL); /* the other side's */
    assert_int_equal(line_send(&x->l, 999, 0, &sig, NULL, 0), -EINVAL);
    assert_int_equal(line_send(&x->l, MSG_INIT_STARTED, 0, &none, &fd, 1), -EINVAL);
    wire_close(&x->w);
    assert_int_equal(line_send(&x->l, MSG_INIT_STARTED, 0, &none, NULL, 0), -EPIPE);
}

static void test_fail(void **state)
{
    struct fixture *x = *state;
    struct msg m;
    char big[2 * LIMIT_ERROR_TEXT];
    start(x, LINE_READY);
    assert_int_equal(line_fail(&x->l, 77, FAIL_BAD_FD, "fd 1 is no \xff"), 0);
    assert_int_equal(wire_recv(&x->w, ROLE_INIT, LINE_READY, &m), 0);
    assert_true(m.seq == 77);
    const struct error *e = m.rec;
    assert_int_equal(e->fail, FAIL_BAD_FD);
    assert_true(str_is(e->text, "fd 1 is no \\xff"));
    memset(big, 0, sizeof(big));
    for (size_t i = 0; i + 2 < sizeof(big); i += 2)
        memcpy(big + 1 + i, "\xc3\xa9", 2);
    big[0] = 'x';
    assert_int_equal(line_fail(&x->l, 77, FAIL_BAD_FD, big), 0); /* cut, but still text */
    assert_int_equal(wire_recv(&x->w, ROLE_INIT, LINE_READY, &m), 0);
}

/* The peer reads late: the send waits for room. */
static void test_send_waits(void **state)
{
    struct fixture *x = *state;
    struct empty none;
    start(x, LINE_RUNNING);
    pid_t pid = fork();
    if (pid == 0) {
        struct pollfd p = {.fd = x->w.sock, .events = POLLIN};
        close(x->l.sock);
        usleep(200000);
        for (int i = 0; i < 2000; i++) {
            struct msg m;
            CHILD_CHECK(poll(&p, 1, 5000) == 1);
            CHILD_CHECK(wire_recv(&x->w, ROLE_INIT, LINE_RUNNING, &m) == 0);
        }
        _exit(0);
    }
    for (int i = 0; i < 2000; i++)
        assert_int_equal(line_send(&x->l, MSG_INIT_STARTED, 0, &none, NULL, 0), 0);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Both ends of a line that carries fds: the zygote's answer. */
static void test_fds(void **state)
{
    struct fixture *x = *state;
    struct zygote_spawn_req req = {STR_LIT(RUN_ID), STR_LIT("12345678901234567890123456789012")};
    struct zygote_spawn_rep rep = {4711};
    struct msg m;
    x->l.iface = &iface_zygote;
    x->l.role = ROLE_ZYGOTE;
    wire_init(&x->w, x->w.sock, &iface_zygote, FROM_CLIENT, ROLE_SUPERVISOR);
    assert_int_equal(wire_hello(&x->w), 0);
    assert_int_equal(line_hello(&x->l, &x->m), 0);
    assert_int_equal(wire_recv(&x->w, ROLE_ZYGOTE, LINE_HELLO, &m), 0);

    int before = child_open_fds();
    assert_int_equal(wire_send_fds(&x->w, MSG_ZYGOTE_SPAWN_REQ, 9, &req, 6), 0);
    assert_int_equal(line_recv(&x->l, &x->m, 1000), 0);
    assert_int_equal(x->m.frame.nfds, 6);
    assert_int_equal(child_open_fds(), before + 6);
    int taken[3] = {TAKE_FD(x->m.frame.fds[0]), TAKE_FD(x->m.frame.fds[2]), TAKE_FD(x->m.frame.fds[4])};
    line_msg_done(&x->m); /* the three others */
    assert_int_equal(child_open_fds(), before + 3);
    assert_int_equal(line_send(&x->l, MSG_ZYGOTE_SPAWN_REP, 9, &rep, taken, 3), 0);
    for (int i = 0; i < 3; i++)
        close(taken[i]); /* still ours */
    assert_int_equal(wire_recv(&x->w, ROLE_ZYGOTE, LINE_READY, &m), 0);
    assert_true(m.seq == 9);
    assert_int_equal(x->w.frame.nfds, 3);
    frame_close_fds(&x->w.frame);
    assert_int_equal(child_open_fds(), before);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hello),
        TEST(test_hello_interface),
        TEST(test_hello_version),
        TEST(test_hello_role),
        TEST(test_hello_something_else),
        TEST(test_hello_with_fd),
        TEST(test_hello_peer_closes),
        TEST(test_hello_already_closed),
        TEST(test_hello_too_late),
        TEST(test_recv),
        TEST(test_recv_refused),
        TEST(test_once),
        TEST(test_send),
        TEST(test_fail),
        TEST(test_send_waits),
        TEST(test_fds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
