/* SPDX-License-Identifier: MIT */
/* Whose is this socket: against real sockets and processes of this test. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/base/cleanup.h"
#include "supervisor/launch/who.h"

#include <cmocka.h>

struct fixture {
    struct who who;
    int proxy; /* the other end of the line */
};

static int setup(void **state)
{
    static struct fixture x;
    int pair[2], proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (proc < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    who_open(&x.who, pair[0], proc);
    close(proc);
    x.proxy = pair[1];
    *state = &x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;

    cleanup_closep(&x->who.line.sock);
    close(x->who.proc);
    close(x->who.diag);
    close(x->proxy);
    return 0;
}

static struct endpoint_addr end_of(int fd, bool peer)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct endpoint_addr e;

    assert_int_equal(peer ? getpeername(fd, (struct sockaddr *)&ss, &len)
                          : getsockname(fd, (struct sockaddr *)&ss, &len),
                     0);
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, len, &e), 0);
    return e;
}

static int bound(int family, int type, const char *addr)
{
    struct endpoint_addr e = {0};
    struct sockaddr_storage ss;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(addr_parse(str_of(addr), &e.addr), 0);
    socklen_t len = addr_to_sockaddr(&e, &ss);
    assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
    return fd;
}

static void connect_to(int fd, int family, const struct endpoint_addr *to)
{
    struct sockaddr_storage ss;
    struct endpoint_addr e = *to;
    socklen_t len;

    if (family == AF_INET6 && to->addr.family == AF_INET) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(to->port)};
        six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
        memcpy(six.sin6_addr.s6_addr + 12, to->addr.bytes, 4);
        assert_int_equal(connect(fd, (struct sockaddr *)&six, sizeof(six)), 0);
        return;
    }
    len = addr_to_sockaddr(&e, &ss);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
}

static uint64_t inode_of(int fd)
{
    char path[64], target[64];
    unsigned long long inode = 0;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    assert_true(n > 0);
    target[n] = '\0';
    assert_int_equal(sscanf(target, "socket:[%llu]", &inode), 1);
    return inode;
}

static void check_tcp(struct fixture *x, int family, const char *server)
{
    _cleanup_close_ int listener = bound(strchr(server, ':') ? AF_INET6 : AF_INET, SOCK_STREAM, server);
    _cleanup_close_ int client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(listener, 1), 0);
    struct endpoint_addr to = end_of(listener, false);
    connect_to(client, family, &to);
    _cleanup_close_ int accepted = accept(listener, NULL, NULL);
    struct endpoint_addr local = end_of(accepted, true);

    assert_int_equal(who_inode(&x->who, TRANSPORT_TCP, &local, &to), inode_of(client));
    /* the server's own socket is another one */
    assert_int_equal(who_inode(&x->who, TRANSPORT_TCP, &to, &local), inode_of(accepted));
    to.port ^= 1;
    assert_int_equal(who_inode(&x->who, TRANSPORT_TCP, &local, &to), 0);
}

static void test_tcp(void **state)
{
    check_tcp(*state, AF_INET, "127.0.0.1");
    check_tcp(*state, AF_INET6, "::1");
    check_tcp(*state, AF_INET6, "127.0.0.1"); /* an IPv6 socket that speaks IPv4 */
}

static void check_udp(struct fixture *x, int family, const char *own, const char *remote, bool connected)
{
    _cleanup_close_ int fd = bound(family, SOCK_DGRAM, own);
    struct endpoint_addr local = end_of(fd, false), to = {.port = 4711};
    assert_int_equal(addr_parse(str_of(remote), &to.addr), 0);
    if (connected)
        connect_to(fd, family, &to);
    /* the datagram's own source, as the receiver sees it */
    assert_int_equal(addr_parse(str_of(strchr(remote, ':') ? "::1" : "127.0.0.1"), &local.addr), 0);
    assert_int_equal(who_inode(&x->who, TRANSPORT_UDP, &local, &to), inode_of(fd));
    if (connected) {
        to.port = 4712;
        assert_int_equal(who_inode(&x->who, TRANSPORT_UDP, &local, &to), 0);
    }
}

static void test_udp(void **state)
{
    check_udp(*state, AF_INET, "127.0.0.1", "127.0.0.1", false);
    check_udp(*state, AF_INET, "0.0.0.0", "127.0.0.1", false);
    check_udp(*state, AF_INET, "127.0.0.1", "127.0.0.1", true);
    check_udp(*state, AF_INET6, "::", "::1", false);
    check_udp(*state, AF_INET6, "::", "127.0.0.1", false);
    check_udp(*state, AF_INET6, "::1", "::1", true);
}

/* Two sockets could have sent it: nobody is named. */
static void test_udp_ambiguous(void **state)
{
    struct fixture *x = *state;
    int one = 1;
    _cleanup_close_ int a = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    _cleanup_close_ int b = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct endpoint_addr to = {.port = 9};

    assert_int_equal(setsockopt(a, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
    assert_int_equal(setsockopt(b, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
    assert_int_equal(bind(a, (struct sockaddr *)&any, sizeof(any)), 0);
    struct endpoint_addr local = end_of(a, false);
    any.sin_port = htons(local.port);
    assert_int_equal(bind(b, (struct sockaddr *)&any, sizeof(any)), 0);
    assert_int_equal(addr_parse(STR_LIT("127.0.0.1"), &local.addr), 0);
    assert_int_equal(addr_parse(STR_LIT("127.0.0.1"), &to.addr), 0);
    assert_int_equal(who_inode(&x->who, TRANSPORT_UDP, &local, &to), 0);
}

static void test_holder(void **state)
{
    struct fixture *x = *state;
    char self[LIMIT_EXE + 1] = "";
    struct who_process p;
    _cleanup_close_ int fd = bound(AF_INET, SOCK_DGRAM, "127.0.0.1");

    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    assert_int_equal(who_holder(x->who.proc, inode_of(fd), &p), 0);
    assert_int_equal(p.pid, getpid());
    assert_string_equal(p.exe, self);
    assert_int_equal(who_holder(x->who.proc, UINT64_MAX, &p), -ENOENT);
}

/* A socket that two processes hold is nobody's. */
static void test_holder_shared(void **state)
{
    struct fixture *x = *state;
    struct who_process p;
    _cleanup_close_ int fd = bound(AF_INET, SOCK_DGRAM, "127.0.0.1");
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0)
        for (;;)
            pause();
    assert_int_equal(who_holder(x->who.proc, inode_of(fd), &p), -ENOENT);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(who_holder(x->who.proc, inode_of(fd), &p), 0);
}

/* ---- the line ---- */

static void test_line(void **state)
{
    struct fixture *x = *state;
    struct line proxy = {.sock = x->proxy,
                         .iface = &iface_who,
                         .side = FROM_CLIENT,
                         .role = ROLE_PROXYD,
                         .peer_role = ROLE_INIT,
                         .state = LINE_HELLO,
                         .next_seq = 1};
    struct hello hello = {STR_LIT("who"), 1, ROLE_PROXYD};
    _cleanup_close_ int fd = bound(AF_INET, SOCK_DGRAM, "127.0.0.1");
    struct endpoint_addr local = end_of(fd, false);
    char text[ADDR_ENDPOINT_MAX];
    struct who_who_req q = {TRANSPORT_UDP, str_of(addr_endpoint_format(&local, text)),
                            STR_LIT("127.0.0.1:9")};
    static struct line_msg ours, theirs;

    line_msg_init(&ours);
    line_msg_init(&theirs);
    assert_int_equal(line_send(&proxy, MSG_HELLO, 0, &hello, NULL, 0), 0);
    who_serve(&x->who, &theirs);
    assert_int_equal(line_recv(&proxy, &ours, 1000), 0);
    proxy.state = LINE_READY;
    assert_int_equal(line_send(&proxy, MSG_WHO_WHO_REQ, 7, &q, NULL, 0), 0);
    who_serve(&x->who, &theirs);
    assert_int_equal(line_recv(&proxy, &ours, 1000), 0);
    assert_int_equal(ours.msg.row->id, MSG_WHO_WHO_REP);
    assert_int_equal(ours.msg.seq, 7);
    const struct who_who_rep *rep = ours.msg.rec;
    assert_non_null(rep->process);
    assert_int_equal(rep->process->pid, getpid());
    q.local = STR_LIT("nonsense"); /* breaks the protocol: the line ends, and only the line */
    assert_int_equal(line_send(&proxy, MSG_WHO_WHO_REQ, 8, &q, NULL, 0), 0);
    who_serve(&x->who, &theirs);
    assert_int_equal(x->who.line.sock, -EBADF);
    assert_int_equal(line_recv(&proxy, &ours, 1000), 1);
    line_msg_done(&ours);
    line_msg_done(&theirs);
}

/* A proxyd that does not read its answers is waited for by nobody. */
static void test_line_unread(void **state)
{
    struct fixture *x = *state;
    struct line proxy = {.sock = x->proxy,
                         .iface = &iface_who,
                         .side = FROM_CLIENT,
                         .role = ROLE_PROXYD,
                         .peer_role = ROLE_INIT,
                         .state = LINE_HELLO,
                         .next_seq = 1};
    struct hello hello = {STR_LIT("who"), 1, ROLE_PROXYD};
    struct who_who_req q = {TRANSPORT_UDP, STR_LIT("127.0.0.1:1"), STR_LIT("127.0.0.1:9")};
    static struct line_msg m;

    line_msg_init(&m);
    assert_int_equal(line_send(&proxy, MSG_HELLO, 0, &hello, NULL, 0), 0);
    who_serve(&x->who, &m);
    proxy.state = LINE_READY;
    for (int i = 0; i < 100000 && x->who.line.sock >= 0; i++) {
        if (line_send(&proxy, MSG_WHO_WHO_REQ, 0, &q, NULL, 0) < 0)
            break;
        who_serve(&x->who, &m);
    }
    assert_int_equal(x->who.line.sock, -EBADF);
    line_msg_done(&m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {T(test_tcp),        T(test_udp),           T(test_udp_ambiguous),
                                       T(test_holder),     T(test_holder_shared), T(test_line),
                                       T(test_line_unread)};

    return cmocka_run_group_tests_name("supervisor_who", tests, NULL, NULL);
}
