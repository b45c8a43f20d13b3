/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/ipc/frame.h"
#include "tests/unit/child.h"

struct pair {
    int a, b;
    int fds_before;
    struct frame f;
};

static int setup(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    int s[2];

    p->fds_before = child_open_fds();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
        return -1;
    p->a = s[0];
    p->b = s[1];
    *state = p;
    return 0;
}

/* Every test also proves that no fd leaked. */
static int teardown(void **state)
{
    struct pair *p = *state;
    int leaked;

    close(p->a);
    if (p->b >= 0)
        close(p->b);
    leaked = child_open_fds() - p->fds_before;
    free(p);
    if (leaked != 0)
        fprintf(stderr, "%d fds leaked\n", leaked);
    return leaked == 0 ? 0 : -1;
}

static void test_round_trip(void **state)
{
    struct pair *p = *state;

    assert_int_equal(frame_send(p->a, "hello", 5, NULL, 0), 0);
    assert_int_equal(frame_send(p->a, "x", 1, NULL, 0), 0);
    assert_int_equal(frame_recv(p->b, &p->f), FRAME_GOT);
    assert_int_equal(p->f.len, 5);
    assert_int_equal(p->f.nfds, 0);
    assert_memory_equal(p->f.data, "hello", 5);
    assert_int_equal(frame_recv(p->b, &p->f), FRAME_GOT);
    assert_int_equal(p->f.len, 1);
    assert_int_equal(frame_recv(p->b, &p->f), -EAGAIN);
}

static void test_largest(void **state)
{
    struct pair *p = *state;
    static uint8_t big[FRAME_MAX + 1];

    memset(big, 0x5a, sizeof big);
    assert_int_equal(frame_send(p->a, big, FRAME_MAX, NULL, 0), 0);
    assert_int_equal(frame_recv(p->b, &p->f), FRAME_GOT);
    assert_int_equal(p->f.len, FRAME_MAX);
    assert_memory_equal(p->f.data, big, FRAME_MAX);
    assert_int_equal(frame_send(p->a, big, FRAME_MAX + 1, NULL, 0), -EMSGSIZE);
    assert_int_equal(frame_send(p->a, big, 0, NULL, 0), -EMSGSIZE);
    assert_int_equal(frame_recv(p->b, &p->f), -EAGAIN);
}

static void test_all_the_fds(void **state)
{
    struct pair *p = *state;
    int fds[FRAME_FDS_MAX + 1];

    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = p->a;
    assert_int_equal(frame_send(p->a, "f", 1, fds, FRAME_FDS_MAX + 1), -EMSGSIZE);
    assert_int_equal(frame_send(p->a, "f", 1, fds, FRAME_FDS_MAX), 0);
    assert_int_equal(frame_recv(p->b, &p->f), FRAME_GOT);
    assert_int_equal(p->f.nfds, FRAME_FDS_MAX);
    for (size_t i = 0; i < p->f.nfds; i++)
        assert_int_equal(fcntl(p->f.fds[i], F_GETFD), FD_CLOEXEC);
    int mine = TAKE_FD(p->f.fds[7]);
    frame_close_fds(&p->f);
    assert_int_equal(p->f.nfds, 0);
    assert_true(fcntl(mine, F_GETFD) >= 0); /* taken: not closed with the rest */
    close(mine);
}

static void test_bad_fd_is_the_senders_error(void **state)
{
    struct pair *p = *state;
    int bad = -EBADF;

    assert_int_equal(frame_send(p->a, "f", 1, &bad, 1), -EBADF);
    assert_int_equal(frame_recv(p->b, &p->f), -EAGAIN);
}

static void send_raw(int sock, size_t n, const int *fds, size_t nfds)
{
    static char bytes[FRAME_MAX * 2];
    char control[CMSG_SPACE(sizeof(int) * 8)] = {0};
    struct iovec iov = {bytes, n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (nfds > 0) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){CMSG_LEN(sizeof(int) * nfds), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    assert_int_equal(sendmsg(sock, &m, MSG_DONTWAIT), n);
}

static void test_empty_datagram(void **state)
{
    struct pair *p = *state;

    send_raw(p->a, 0, NULL, 0);
    assert_int_equal(frame_send(p->a, "after", 5, NULL, 0), 0);
    assert_int_equal(frame_recv(p->b, &p->f), -EBADMSG); /* and not an end of file */
    assert_int_equal(frame_recv(p->b, &p->f), FRAME_GOT);
    send_raw(p->a, 0, &p->a, 1);
    assert_int_equal(frame_recv(p->b, &p->f), -EBADMSG);
    assert_int_equal(p->f.nfds, 0);
}

static void test_truncated(void **state)
{
    struct pair *p = *state;
    int fds[3] = {p->a, p->a, p->b};
    int before = child_open_fds();

    send_raw(p->a, FRAME_MAX + 1, fds, 3);
    assert_int_equal(frame_recv(p->b, &p->f), -EBADMSG);
    assert_int_equal(p->f.nfds, 0);
    assert_int_equal(child_open_fds(), before);
}

/* The receiver has no room in its fd table for all: the kernel installs some, drops the rest and sets
 * MSG_CTRUNC. */
static void test_control_truncated(void **state)
{
    struct pair *p = *state;
    int fds[4] = {p->a, p->a, p->a, p->a};
    int before = child_open_fds();
    struct rlimit old, low;
    int top = dup(0);

    close(top);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = (struct rlimit){(rlim_t)top + 2, old.rlim_max};
    assert_int_equal(frame_send(p->a, "f", 1, fds, 4), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int r = frame_recv(p->b, &p->f);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(r, -EBADMSG);
    assert_int_equal(p->f.nfds, 0);
    assert_int_equal(child_open_fds(), before);
}

/* With SO_PASSCRED the kernel adds a control message of another type. */
static void test_foreign_control_message(void **state)
{
    struct pair *p = *state;
    int one = 1, before = child_open_fds();

    assert_int_equal(setsockopt(p->b, SOL_SOCKET, SO_PASSCRED, &one, sizeof one), 0);
    assert_int_equal(frame_send(p->a, "c", 1, NULL, 0), 0);
    assert_int_equal(frame_recv(p->b, &p->f), -EBADMSG);
    assert_int_equal(frame_send(p->a, "c", 1, &p->a, 1), 0);
    assert_int_equal(frame_recv(p->b, &p->f), -EBADMSG);
    assert_int_equal(child_open_fds(), before);
}

static void close_b(struct pair *p)
{
    close(p->b);
    p->b = -EBADF;
}

static void test_end(void **state)
{
    struct pair *p = *state;

    assert_int_equal(frame_send(p->b, "last", 4, NULL, 0), 0);
    close_b(p);
    assert_int_equal(frame_recv(p->a, &p->f), FRAME_GOT);
    assert_int_equal(p->f.len, 4);
    assert_int_equal(frame_recv(p->a, &p->f), FRAME_EOF);
    assert_int_equal(frame_recv(p->a, &p->f), FRAME_EOF);
    assert_int_equal(frame_send(p->a, "x", 1, NULL, 0), -EPIPE);
}

/* A peer that died with a frame of ours unread (the kernel says ECONNRESET first): what it had sent still
 * counts. */
static void test_end_with_frames_unread(void **state)
{
    struct pair *p = *state;

    assert_int_equal(frame_send(p->a, "unread", 6, NULL, 0), 0);
    assert_int_equal(frame_send(p->b, "last", 4, NULL, 0), 0);
    close_b(p);
    assert_int_equal(frame_recv(p->a, &p->f), FRAME_GOT);
    assert_memory_equal(p->f.data, "last", 4);
    assert_int_equal(frame_recv(p->a, &p->f), FRAME_EOF);
}

static void test_full(void **state)
{
    struct pair *p = *state;
    int n = 0, r;

    while ((r = frame_send(p->a, "q", 1, NULL, 0)) == 0 && n < 100000)
        n++;
    assert_int_equal(r, -EAGAIN);
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        assert_int_equal(frame_recv(p->b, &p->f), FRAME_GOT);
    assert_int_equal(frame_recv(p->b, &p->f), -EAGAIN);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_round_trip),
        T(test_largest),
        T(test_all_the_fds),
        T(test_bad_fd_is_the_senders_error),
        T(test_empty_datagram),
        T(test_truncated),
        T(test_control_truncated),
        T(test_foreign_control_message),
        T(test_end),
        T(test_end_with_frames_unread),
        T(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
