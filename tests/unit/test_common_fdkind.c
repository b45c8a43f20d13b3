/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/base/cleanup.h"
#include "common/ipc/peer.h"
#include "common/priv/fdkind.h"
#include "tests/unit/child.h"

#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* One fd of each kind. */
enum {
    NETNS,
    UTSNS,
    MEMFD,
    SEALED,
    HALF_SEALED,
    DIRECTORY,
    FILE_,
    PIDFD,
    PROC_PID_DIR,
    NULL_DEVICE,
    EVENTFD,
    EPOLL,
    SEQPACKET,
    TCP,
    TCP_LISTEN,
    UDP6,
    RAW_UNIX, /* connected to nothing */
    _KINDS_MAX,
};

static int fds[_KINDS_MAX];
static int other_end;

static int memfd(unsigned seals)
{
    int fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static int setup(void **state)
{
    int s[2];

    (void)state;
    fds[NETNS] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    fds[UTSNS] = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
    fds[MEMFD] = memfd(0);
    fds[SEALED] = memfd(ALL_SEALS);
    fds[HALF_SEALED] = memfd(ALL_SEALS & ~F_SEAL_WRITE);
    fds[DIRECTORY] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fds[FILE_] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    fds[PIDFD] = (int)syscall(SYS_pidfd_open, getpid(), 0);
    fds[PROC_PID_DIR] = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fds[NULL_DEVICE] = open("/dev/null", O_RDWR | O_CLOEXEC);
    fds[EVENTFD] = eventfd(0, EFD_CLOEXEC);
    fds[EPOLL] = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
    fds[SEQPACKET] = s[0];
    other_end = s[1];
    fds[TCP] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[TCP_LISTEN] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(fds[TCP_LISTEN], 1), 0);
    fds[UDP6] = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    fds[RAW_UNIX] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    for (size_t i = 0; i < _KINDS_MAX; i++)
        assert_true(fds[i] >= 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < _KINDS_MAX; i++)
        close(fds[i]);
    close(other_end);
    return 0;
}

/* fn accepts exactly the fds of the given kinds, and refuses all others with -EBADMSG. */
static void only(int (*fn)(int fd), unsigned accepted)
{
    for (unsigned i = 0; i < _KINDS_MAX; i++) {
        int r = fn(fds[i]);
        if (r != ((accepted >> i) & 1 ? 0 : -EBADMSG))
            fail_msg("fd of kind %u: %d", i, r);
    }
    assert_int_equal(fn(-EBADF), -EBADF);
}

static int is_netns(int fd)
{
    return fdkind_namespace(fd, CLONE_NEWNET);
}

static int is_channel(int fd)
{
    return fdkind_socket(fd, AF_UNIX, SOCK_SEQPACKET, 0, false);
}

static int is_tcp(int fd)
{
    return fdkind_socket(fd, AF_INET, SOCK_STREAM, IPPROTO_TCP, false);
}

static int is_tcp_listener(int fd)
{
    return fdkind_socket(fd, AF_INET, SOCK_STREAM, IPPROTO_TCP, true);
}

static int is_udp6(int fd)
{
    return fdkind_socket(fd, AF_INET6, SOCK_DGRAM, IPPROTO_UDP, false);
}

static void test_kinds(void **state)
{
    (void)state;
    only(is_netns, 1U << NETNS);
    only(is_channel, 1U << SEQPACKET | 1U << RAW_UNIX);
    only(is_tcp, 1U << TCP);
    only(is_tcp_listener, 1U << TCP_LISTEN);
    only(is_udp6, 1U << UDP6);
    only(fdkind_connected, 1U << SEQPACKET);
    only(fdkind_sealed_memfd, 1U << SEALED);
    only(fdkind_directory, 1U << DIRECTORY | 1U << PROC_PID_DIR);
    only(fdkind_pidfd, 1U << PIDFD);
}

static void test_socket_protocol(void **state)
{
    (void)state;
    assert_int_equal(fdkind_socket(fds[TCP], AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */, false), -EBADMSG);
    assert_int_equal(fdkind_socket(fds[TCP], AF_INET6, SOCK_STREAM, IPPROTO_TCP, false), -EBADMSG);
    assert_int_equal(fdkind_socket(fds[TCP], AF_INET, SOCK_DGRAM, IPPROTO_TCP, false), -EBADMSG);
}

static void test_pidfd_of_the_dead(void **state)
{
    pid_t pid = fork();
    int fd;

    (void)state;
    if (pid == 0)
        _exit(0);
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(fdkind_pidfd(fd), 0);
    close(fd);
}

static void not_mine(void)
{
    child_become_ordinary();
    CHILD_CHECK(fdkind_pidfd(fds[PIDFD]) == 0); /* EPERM for the signal, but a pidfd */
    CHILD_CHECK(fdkind_pidfd(fds[EVENTFD]) == -EBADMSG);
}

static void test_pidfd_without_permission(void **state)
{
    (void)state;
    assert_int_equal(child_run(not_mine), CHILD_OK);
}

static void test_peer_cred(void **state)
{
    struct peer p = {0};

    (void)state;
    assert_int_equal(peer_cred(fds[SEQPACKET], &p), 0);
    assert_int_equal(p.uid, getuid());
    assert_int_equal(p.gid, getgid());
    assert_int_equal(p.pid, getpid());
    assert_int_equal(peer_cred(fds[RAW_UNIX], &p), -ENODATA);
    assert_int_equal(peer_cred(fds[NULL_DEVICE], &p), -ENOTSOCK);
}

static void test_peer_pidfd(void **state)
{
    int fd = -EBADF;
    int r = peer_pidfd(fds[SEQPACKET], &fd);

    (void)state;
    if (r == PEER_E_OLD_KERNEL)
        skip();
    assert_int_equal(r, PEER_GOT);
    assert_int_equal(fdkind_pidfd(fd), 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    fd = -1;
    assert_int_equal(peer_pidfd(fds[RAW_UNIX], &fd), PEER_E_NO_PEER);
    assert_int_equal(fd, -1);
    assert_int_equal(peer_pidfd(fds[NULL_DEVICE], &fd), -ENOTSOCK);
}

/* A peer that connected and died: its pid may be anybody's now. Newer kernels still give a pidfd, of the dead
 * one. */
static void test_peer_that_died(void **state)
{
    struct sockaddr addr[2] = {{.sa_family = AF_UNIX}};
    socklen_t n = sizeof addr;
    int server = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), sock, fd = -EBADF, r;
    pid_t pid;

    (void)state;
    assert_int_equal(bind(server, addr, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(server, 1), 0);
    assert_int_equal(getsockname(server, addr, &n), 0);
    pid = fork();
    if (pid == 0)
        _exit(connect(socket(AF_UNIX, SOCK_SEQPACKET, 0), addr, n) == 0 ? 0 : 1);
    assert_int_equal(waitpid(pid, &r, 0), pid);
    assert_int_equal(r, 0);
    sock = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    assert_true(sock >= 0);
    r = peer_pidfd(sock, &fd);
    if (r == PEER_GOT) {
        assert_int_equal(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), -1);
        assert_int_equal(errno, ESRCH);
        close(fd);
    } else {
        assert_true(r == PEER_E_REAPED || r == PEER_E_OLD_KERNEL);
    }
    close(sock);
    close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_socket_protocol),
        cmocka_unit_test(test_pidfd_of_the_dead),
        cmocka_unit_test(test_pidfd_without_permission),
        cmocka_unit_test(test_peer_cred),
        cmocka_unit_test(test_peer_pidfd),
        cmocka_unit_test(test_peer_that_died),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
