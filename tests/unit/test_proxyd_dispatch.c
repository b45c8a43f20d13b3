/* SPDX-License-Identifier: MIT */
/* proxyd as its two peers see it; and, confined as the daemon is, the whole way of a cell under its own
 * filter. */
#include "tests/unit/proxyd_suite.h"

#include <sys/mman.h>

#include "common/priv/seccomp.h"

#define CLOSE MSG_PROXY_CELL_CLOSE_REQ

static const struct suite_host hosts[] = {
    {"www.example", {"127.0.0.1"}},
    {"six.example", {"::1"}},
    {NULL, {NULL}},
};
static const struct policy_egress egress[] = {
    {STR_LIT("www.example"), SUITE_PORT, SUITE_PORT, EGRESS_ANY},
    {STR_LIT("six.example"), SUITE_PORT, SUITE_PORT, EGRESS_ANY},
};
static const struct policy_answer answers[] = {
    {STR_LIT("www.example"), STR_LIT("127.0.0.1")},
    {STR_LIT("six.example"), STR_LIT("::1")},
};
static const struct str names[] = {STR_LIT("www.example")};

static struct policy policy_good(void)
{
    struct policy doc = {.evidence = EVIDENCE_STRICT, .dns_names = {names, 1}};
    doc.egress.v = egress;
    doc.egress.n = ARRAY_LEN(egress);
    doc.answers.v = answers;
    doc.answers.n = ARRAY_LEN(answers);
    return doc;
}

static struct suite *start(void)
{
    struct suite *s = suite_start(hosts);
    suite_sockets(s, SUITE_PORT);
    return s;
}

static void test_open_and_close(void **state)
{
    (void)state;
    struct suite *s = start();
    struct policy doc = policy_good();
    assert_int_equal(suite_open(s, &doc), 0);
    assert_int_equal(s->proxy->ncells, 1);
    assert_int_equal(suite_open(s, &doc), FAIL_EXISTS);
    assert_int_equal(suite_close(s), 0);
    assert_int_equal(s->proxy->ncells, 0);
    assert_int_equal(suite_close(s), FAIL_UNKNOWN);
    assert_int_equal(suite_open(s, &doc), 0); /* the same sockets serve again: ours are copies */
    assert_int_equal(suite_close(s), 0);
    assert_int_equal(s->summary.connections_allowed, 0);
    assert_int_equal(s->summary.rules.n, 0);
    assert_false(s->cut);
    suite_stop(s);
}

/* Every fd in every wrong place. */
static void test_wrong_fds(void **state)
{
    (void)state;
    struct suite *s = start();
    struct policy doc = policy_good();
    assert_int_equal(suite_open(s, &doc), 0); /* makes the document */
    assert_int_equal(suite_close(s), 0);
    int good[_CELL_FD_MAX];
    memcpy(good, s->sockets, sizeof(good));
    for (size_t i = CELL_FD_DNS_UDP; i < _CELL_FD_MAX; i++)
        for (size_t k = 0; k < _CELL_FD_MAX; k++) {
            bool same = k == i || (i == CELL_FD_DNS_UDP && k == CELL_FD_UDP) ||
                        (i == CELL_FD_UDP && k == CELL_FD_DNS_UDP) ||
                        (i == CELL_FD_DNS_TCP && k == CELL_FD_TCP) ||
                        (i == CELL_FD_TCP && k == CELL_FD_DNS_TCP);
            if (same)
                continue;
            s->sockets[i] = good[k];
            struct policy again = policy_good();
            assert_int_equal(suite_open(s, &again), FAIL_BAD_FD);
            close(s->sockets[CELL_FD_POLICY]);
            memcpy(s->sockets, good, sizeof(good));
        }
    assert_int_equal(s->proxy->ncells, 0);
    assert_false(s->cut);
    suite_stop(s);
}

static void test_wrong_documents(void **state)
{
    (void)state;
    struct suite *s = start();
    struct policy doc = policy_good();
    uint8_t sha256[32];

    suite_policy_complete(&doc);
    suite_who(s);
    s->sockets[CELL_FD_POLICY] = codec_to_memfd(&schema_policy, &doc, LIMIT_POLICY_DOC, sha256);
    sha256[5] ^= 1; /* another digest */
    assert_int_equal(suite_open_raw(s, sha256), FAIL_INVALID);
    close(s->sockets[CELL_FD_POLICY]);

    int open_memfd = memfd_create("unsealed", MFD_CLOEXEC);
    s->sockets[CELL_FD_POLICY] = open_memfd;
    assert_int_equal(suite_open_raw(s, sha256), FAIL_INVALID);
    close(open_memfd);
    s->sockets[CELL_FD_POLICY] = s->sockets[CELL_FD_UDP]; /* no memfd at all */
    assert_int_not_equal(suite_open_raw(s, sha256), 0);
    s->sockets[CELL_FD_POLICY] = -EBADF;

    static const struct policy_egress bad[] = {{STR_LIT("a b"), 1, 2, EGRESS_TLS}};
    doc.egress.v = bad;
    doc.egress.n = 1;
    assert_int_equal(suite_open(s, &doc), FAIL_INVALID);
    close(s->sockets[CELL_FD_POLICY]);
    doc = policy_good();
    strcpy(s->run_id, "not-a-run-id"); /* the codec bounds its length, the handler its form */
    assert_int_equal(suite_open(s, &doc), FAIL_INVALID);
    assert_int_equal(s->proxy->ncells, 0);
    assert_false(s->cut);
    suite_stop(s);
}

static void on_ignored(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)error;
    (void)rec;
    (void)fds;
    (void)nfds;
    (*(unsigned *)data)++;
}

/* A second close while the first one waits for evidence. */
static void test_close_twice(void **state)
{
    (void)state;
    struct suite *s = start();
    struct policy doc = policy_good();
    unsigned first = 0;
    assert_int_equal(suite_open(s, &doc), 0);
    s->hold = true;
    int c = net_connect(net_cell, SOCK_STREAM, "8.8.8.8", SUITE_PORT);
    assert_int_equal(send(c, "nonsense\r\n", 10, 0), 10);
    SUITE_UNTIL(s, s->nclaims == 1);
    struct proxy_cell_close_req req = {str_of(s->run_id)};
    assert_int_equal(endpoint_call(s->supervisor, CLOSE, &req, NULL, 0, 10000, on_ignored, &first), 0);
    assert_int_equal(suite_close(s), FAIL_STATE);
    assert_int_equal(first, 0);
    suite_release(s);
    SUITE_UNTIL(s, first == 1);
    assert_int_equal(s->proxy->ncells, 0);
    close(c);
    suite_stop(s);
}

/* signerd dies: what is under way is refused, and the cell still closes. */
static void test_signerd_gone(void **state)
{
    (void)state;
    struct suite *s = start();
    struct policy doc = policy_good();
    char got[16];
    assert_int_equal(suite_open(s, &doc), 0);
    int server = net_server(SOCK_STREAM, "127.0.0.1", SUITE_PORT);
    fcntl(server, F_SETFL, O_NONBLOCK);
    s->hold = true;
    static const char request[] = "GET / HTTP/1.1\r\nHost: www.example\r\n\r\n";
    int c = net_connect(net_cell, SOCK_STREAM, "8.8.8.8", SUITE_PORT);
    assert_int_equal(send(c, request, sizeof(request) - 1, 0), sizeof(request) - 1);
    SUITE_UNTIL(s, s->nclaims > 0);
    s->signerd = endpoint_free(s->signerd);
    ssize_t n = 0;
    SUITE_UNTIL(s, (n = recv(c, got, sizeof(got), MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
    assert_int_equal(accept4(server, NULL, NULL, 0), -1); /* nothing was dialed */
    assert_int_equal(suite_close(s), 0);
    close(c);
    close(server);
    suite_stop(s);
}

/* A frame that the table does not allow ends the line. */
static void send_broken(const void *p, size_t n)
{
    struct suite *s = suite_start(hosts);
    int sup[2];
    struct proxy *other = NULL;
    int sig[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sup), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sig), 0);
    assert_int_equal(proxy_new(s->loop, sup[1], sig[1], &other), 0);
    static const uint8_t hello[] = "\x95\x00\x00\xa5proxy\x01\x01";
    assert_int_equal(send(sup[0], hello, sizeof(hello) - 1, 0), sizeof(hello) - 1);
    suite_run(s, NULL, 20);
    assert_false(other->failed);
    assert_int_equal(send(sup[0], p, n, 0), n);
    suite_run(s, NULL, 20);
    assert_true(other->failed);
    proxy_free(other);
    close(sup[0]);
    close(sig[0]);
    suite_stop(s);
}

static void test_broken_frames(void **state)
{
    (void)state;
    send_broken("\x93\x08\x01\xa1x", 5);              /* no such message */
    send_broken("\x93\x04\x01\xc0", 4);               /* a close request without a runId */
    send_broken("\x92\x03\x01", 3);                   /* a reply to nothing */
    send_broken("\x95\x00\x00\xa5proxy\x01\x01", 11); /* hello twice */
    send_broken("x", 1);
    send_broken("\x95\x02\x01\xa1x\xa1y\xc4\x01z", 10); /* an open request without fds */
}

/* ---- confined ---- */

static void echo_pass(struct suite *s, int c, int server_fd)
{
    enum { BYTES = 1 << 20 };
    static uint8_t out[BYTES], in[BYTES];
    size_t sent = 0, moved = 0, got = 0, tail = 0;
    static uint8_t between[1 << 16];
    for (size_t i = 0; i < BYTES; i++)
        out[i] = (uint8_t)(i * 7 >> 3);
    while (got < BYTES) { /* the server sends everything back */
        ssize_t n = sent < BYTES ? send(c, out + sent, BYTES - sent, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        sent += n > 0 ? (size_t)n : 0;
        if (moved == tail) {
            n = recv(server_fd, between, sizeof(between), MSG_DONTWAIT);
            moved = 0;
            tail = n > 0 ? (size_t)n : 0;
        }
        n = moved < tail ? send(server_fd, between + moved, tail - moved, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        moved += n > 0 ? (size_t)n : 0;
        n = recv(c, in + got, BYTES - got, MSG_DONTWAIT);
        assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        got += n > 0 ? (size_t)n : 0;
        suite_run(s, NULL, 0);
    }
    assert_memory_equal(in, out, BYTES);
}

static int accept_one(struct suite *s, int server)
{
    int fd = -EBADF;
    SUITE_UNTIL(s, (fd = accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    return fd;
}

static size_t hello_bytes(uint8_t dst[8192], const char *host)
{
    /* the smallest ClientHello there is, for this host */
    size_t n = strlen(host), at = 0;
    static const uint8_t begin[] = {22, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3};
    memcpy(dst, begin, sizeof(begin));
    at = sizeof(begin);
    memset(dst + at, 9, 32);
    at += 32;
    memcpy(dst + at, "\x00\x00\x02\x13\x01\x01\x00", 7);
    at += 7;
    const uint8_t ext[] = {0, (uint8_t)(n + 9), 0, 0, 0,         (uint8_t)(n + 5),
                           0, (uint8_t)(n + 3), 0, 0, (uint8_t)n};
    memcpy(dst + at, ext, sizeof(ext));
    at += sizeof(ext);
    memcpy(dst + at, host, n);
    at += n;
    dst[4] = (uint8_t)(at - 5);
    dst[8] = (uint8_t)(at - 9);
    return at;
}

static void dns_ask(struct suite *s)
{
    static const uint8_t query[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07"
                                   "example\x00\x00\x01\x00\x01";
    uint8_t got[512];
    ssize_t n = 0;
    int c = net_connect(net_cell, SOCK_DGRAM, "9.9.9.9", 53);
    assert_int_equal(send(c, query, sizeof(query) - 1, 0), sizeof(query) - 1);
    SUITE_UNTIL(s, (n = recv(c, got, sizeof(got), MSG_DONTWAIT)) > 0);
    assert_true(n > 12);
    assert_memory_equal(got, "\x12\x34", 2);
    assert_int_equal(got[3] & 15, 0);
    assert_memory_equal(got + n - 4, "\x7f\0\0\1", 4);
    close(c);
}

static void one_connection(struct suite *s, int server, const char *to, const char *host)
{
    uint8_t hello[8192], got[8192];
    size_t n = hello_bytes(hello, host);
    int c = net_connect(net_cell, SOCK_STREAM, to, SUITE_PORT);
    assert_int_equal(send(c, hello, n, 0), n);
    int fd = accept_one(s, server);
    SUITE_UNTIL(s, recv(fd, got, sizeof(got), MSG_DONTWAIT | MSG_PEEK) == (ssize_t)n);
    assert_int_equal(recv(fd, got, sizeof(got), 0), n);
    assert_memory_equal(got, hello, n);
    echo_pass(s, c, fd);
    close(c);
    close(fd);
}

static void test_confined(void **state)
{
    (void)state;
    struct suite *s = suite_start_as(hosts, true);
    struct policy doc = policy_good();
    suite_sockets(s, SUITE_PORT);
    assert_int_equal(suite_open(s, &doc), 0);
    suite_sockets_close(s);
    int server = net_server(SOCK_STREAM, "127.0.0.1", SUITE_PORT),
        six = net_server(SOCK_STREAM, "::1", SUITE_PORT);
    fcntl(server, F_SETFL, O_NONBLOCK);
    fcntl(six, F_SETFL, O_NONBLOCK);
    dns_ask(s);
    one_connection(s, server, "8.8.8.8", "www.example");
    one_connection(s, six, "2001:4860:4860::8888", "six.example");

    static const char evil[] = "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    char got[1024] = {0};
    ssize_t n = 0;
    int c = net_connect(net_cell, SOCK_STREAM, "8.8.8.8", SUITE_PORT);
    assert_int_equal(send(c, evil, sizeof(evil) - 1, 0), sizeof(evil) - 1);
    SUITE_UNTIL(s, (n = recv(c, got, sizeof(got) - 1, MSG_DONTWAIT)) > 0);
    assert_ptr_equal(strstr(got, "HTTP/1.1 403 "), got);
    close(c);
    c = net_connect(net_cell, SOCK_DGRAM, "8.8.8.8", 4433);
    assert_int_equal(send(c, "x", 1, 0), 1);
    SUITE_UNTIL(s, recv(c, got, 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED);
    close(c);

    assert_int_equal(suite_close(s), 0);
    assert_int_equal(s->summary.connections_allowed, 2);
    assert_int_equal(s->summary.l7_denied, 2);
    assert_int_equal(s->summary.dns_allowed, 1);
    assert_int_equal(s->summary.rules.n, 2);
    close(server);
    close(six);
    suite_stop(s); /* a forbidden call would have killed it: the status is 0 */
}

static void test_role(void **state)
{
    (void)state;
    assert_int_equal(seccomp_check(&role_proxyd, NULL), 0);
    assert_int_equal(role_proxyd.caps[ROLE_EMBEDDED] | role_proxyd.caps[ROLE_SYSTEM], 0);
    assert_false(role_proxyd.may_fork);
    static const int never[] = {SCMP_SYS(openat), SCMP_SYS(openat2),         SCMP_SYS(execve),
                                SCMP_SYS(clone),  SCMP_SYS(setns),           SCMP_SYS(unshare),
                                SCMP_SYS(listen), SCMP_SYS(ptrace),          SCMP_SYS(ioctl),
                                SCMP_SYS(kill),   SCMP_SYS(process_vm_readv)};
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        assert_false(seccomp_lists(&role_proxyd, never[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_open_and_close), NET_TEST(test_wrong_fds),    NET_TEST(test_wrong_documents),
        NET_TEST(test_close_twice),    NET_TEST(test_signerd_gone), NET_TEST(test_broken_frames),
        NET_TEST(test_confined),       NET_TEST(test_role),
    };
    net_setup();
    if (digest_init() < 0)
        return 1;
    hostaddr_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
