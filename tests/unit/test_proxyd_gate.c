/* SPDX-License-Identifier: MIT */
/* TCP connections of a cell from the accept to the end: judged, claimed, dialed, relayed, denied, limited. */
#include "tests/unit/proxyd_suite.h"

#include <sys/resource.h>

#include "proxyd/hostaddr.h"

#define REQUEST(host) "GET / HTTP/1.1\r\nHost: " host "\r\n\r\n"
#define SENT(host)    REQUEST(host)
#define ANSWER        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

static const struct suite_host hosts[] = {
    {"www.example", {"127.0.0.1"}},
    {"two.wild.example", {"127.0.0.9", "127.0.0.1"}},
    {"down.wild.example", {"127.0.0.9"}},
    {"private.wild.example", {"10.0.0.1"}},
    {"metadata.wild.example", {"169.254.169.254"}},
    {"example.test", {"127.0.0.1"}},
    {NULL, {NULL}},
};

#define RULE(host, lo, hi, protocol)                                                                         \
    {                                                                                                        \
        STR_LIT(host), lo, hi, protocol                                                                      \
    }
static const struct policy_egress egress[] = {
    RULE("www.example", SUITE_PORT, SUITE_PORT, EGRESS_HTTP),
    RULE("*.wild.example", SUITE_PORT, SUITE_PORT, EGRESS_ANY),
    RULE("example.test", SUITE_PORT, SUITE_PORT, EGRESS_TLS),
};
static const struct policy_answer answers[] = {
    {STR_LIT("www.example"), STR_LIT("127.0.0.1")},
    {STR_LIT("two.wild.example"), STR_LIT("127.0.0.0/8")},
    {STR_LIT("down.wild.example"), STR_LIT("127.0.0.0/8")},
    {STR_LIT("metadata.wild.example"), STR_LIT("169.254.0.0/16")},
    {STR_LIT("example.test"), STR_LIT("127.0.0.1")},
};

struct test {
    struct suite *s;
    int server; /* the one at 127.0.0.1 */
};

static struct policy policy_of(uint32_t evidence)
{
    struct policy doc = {.evidence = evidence};
    doc.egress.v = egress;
    doc.egress.n = ARRAY_LEN(egress);
    doc.answers.v = answers;
    doc.answers.n = ARRAY_LEN(answers);
    return doc;
}

static struct test start_with(struct policy doc)
{
    struct test t = {suite_start(hosts), net_server(SOCK_STREAM, "127.0.0.1", SUITE_PORT)};
    fcntl(t.server, F_SETFL, O_NONBLOCK);
    suite_sockets(t.s, SUITE_PORT);
    assert_int_equal(suite_open(t.s, &doc), 0);
    suite_sockets_close(t.s);
    return t;
}

static struct test start(void)
{
    return start_with(policy_of(EVIDENCE_STRICT));
}

static void stop(struct test *t)
{
    suite_stop(t->s);
    close(t->server);
}

/* A connection of the cell that has said something. */
static int client(const char *to, const void *p, size_t n)
{
    int fd = net_connect(net_cell, SOCK_STREAM, to, SUITE_PORT);
    if (n > 0) /* loopback: the connection is there at once */
        assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
    return fd;
}

static int client_says(const char *to, const char *text)
{
    return client(to, text, strlen(text));
}

static int server_accept(struct test *t)
{
    int fd = -EBADF;
    SUITE_UNTIL(t->s, (fd = accept4(t->server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    return fd;
}

/* Reads until n bytes are there or the stream ends; -1 for a reset. */
static ssize_t gets_n(struct test *t, int fd, char *dst, size_t n)
{
    size_t at = 0;
    for (int i = 0; i < 4000; i++) {
        ssize_t r = recv(fd, dst + at, n - at, MSG_DONTWAIT);
        if (r < 0 && errno == ECONNRESET)
            return -1;
        if (r == 0)
            break;
        at += r > 0 ? (size_t)r : 0;
        if (at == n)
            break;
        suite_run(t->s, NULL, 2);
    }
    dst[at] = 0;
    return (ssize_t)at;
}

static void expect_text(struct test *t, int fd, const char *text)
{
    char got[4096];
    assert_int_equal(gets_n(t, fd, got, strlen(text)), strlen(text));
    assert_string_equal(got, text);
}

static void expect_end(struct test *t, int fd)
{
    char got[16];
    assert_int_equal(gets_n(t, fd, got, 1), 0);
}

static void expect_reset(struct test *t, int fd)
{
    char got[16];
    assert_int_equal(gets_n(t, fd, got, 1), -1);
}

static struct suite_claim *l7(struct test *t, size_t n)
{
    SUITE_UNTIL(t->s, suite_claim_of(t->s, EVENT_L7, n) != NULL);
    return suite_claim_of(t->s, EVENT_L7, n);
}

static void expect_l7(struct test *t, size_t n, uint32_t action, uint32_t reason, uint32_t protocol,
                      const char *text)
{
    struct suite_claim *c = l7(t, n);
    assert_string_equal(enum_text(&enum_l7_reason, c->reason), enum_text(&enum_l7_reason, reason));
    assert_int_equal(c->action, action);
    assert_int_equal(c->protocol, protocol);
    assert_string_equal(c->text, text);
}

#define WWW_ALLOWED "www.example|www.example:8443/http|93.184.216.34:8443|127.0.0.1:8443"

/* ---- allowed ---- */

static void test_http_allowed(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    int s = server_accept(&t);
    expect_text(&t, s, SENT("www.example"));
    assert_int_equal(send(s, ANSWER, strlen(ANSWER), 0), strlen(ANSWER));
    expect_text(&t, c, ANSWER);
    expect_l7(&t, 0, ACTION_ALLOW, L7_HTTP_HOST_ALLOWLIST_MATCH, L7_HTTP, WWW_ALLOWED);
    assert_int_equal(suite_count(t.s, EVENT_L7), 1);
    close(s);
    close(c);
    SUITE_UNTIL(t.s, gate_open(t.s->proxy->cells->gate) == 0);
    stop(&t);
}

/* Nothing is dialed, and nothing resolved, before the evidence for it is durable. */
static void test_evidence_before_effect(void **state)
{
    (void)state;
    struct test t = start();
    t.s->hold = true;
    t.s->hold_type = EVENT_L7;
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    expect_l7(&t, 0, ACTION_ALLOW, L7_HTTP_HOST_ALLOWLIST_MATCH, L7_HTTP, WWW_ALLOWED);
    suite_run(t.s, NULL, 200);
    assert_int_equal(accept4(t.server, NULL, NULL, 0), -1);
    suite_release(t.s);
    int s = server_accept(&t);
    expect_text(&t, s, SENT("www.example"));
    close(s);
    close(c);
    stop(&t);
}

static void test_evidence_refused(void **state)
{
    (void)state;
    struct test t = start();
    char got[4096];
    t.s->refuse = FAIL_NO_SPACE;
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    assert_true(gets_n(&t, c, got, sizeof(got) - 1) > 0);
    assert_ptr_equal(strstr(got, "HTTP/1.1 503 "), got);
    assert_int_equal(accept4(t.server, NULL, NULL, 0), -1);
    close(c);
    stop(&t);
}

/* signerd is silent: denied after LIMIT_ACK_MS. */
static void test_evidence_late(void **state)
{
    (void)state;
    struct test t = start();
    char got[4096];
    t.s->hold = true;
    t.s->hold_type = EVENT_L7;
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    assert_true(gets_n(&t, c, got, sizeof(got) - 1) > 0);
    assert_ptr_equal(strstr(got, "HTTP/1.1 503 "), got);
    assert_int_equal(accept4(t.server, NULL, NULL, 0), -1);
    close(c);
    stop(&t);
}

static void test_async(void **state)
{
    (void)state;
    struct test t = start_with(policy_of(EVIDENCE_ASYNC));
    t.s->hold = true;
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    int s = server_accept(&t);
    expect_text(&t, s, SENT("www.example"));
    suite_run(t.s, NULL, 10);
    assert_int_equal(suite_count(t.s, EVENT_L7), 1);
    close(s);
    close(c);
    stop(&t);
}

/* In async too nothing goes on without evidence: what signerd refuses makes the next effects wait for it, and
 * those are denied, until it takes events again. */
static void test_async_refused(void **state)
{
    (void)state;
    struct test t = start_with(policy_of(EVIDENCE_ASYNC));
    char got[4096];
    t.s->refuse = FAIL_QUOTA;
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    int s = server_accept(&t); /* the first went before anybody could say no */
    expect_text(&t, s, SENT("www.example"));
    close(s);
    close(c);
    suite_run(t.s, NULL, 50);
    for (int i = 0; i < 2; i++) {
        c = client_says("93.184.216.34", REQUEST("www.example"));
        assert_true(gets_n(&t, c, got, sizeof(got) - 1) > 0);
        assert_ptr_equal(strstr(got, "HTTP/1.1 503 "), got);
        assert_int_equal(accept4(t.server, NULL, NULL, 0), -1);
        close(c);
    }
    t.s->refuse = 0;
    for (int i = 0; i < 2; i++) {
        c = client_says("93.184.216.34", REQUEST("www.example"));
        s = server_accept(&t);
        expect_text(&t, s, SENT("www.example"));
        close(s);
        close(c);
    }
    stop(&t);
}

static void test_ipv6(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("2606:2800:220:1::1", REQUEST("www.example"));
    int s = server_accept(&t);
    expect_l7(&t, 0, ACTION_ALLOW, L7_HTTP_HOST_ALLOWLIST_MATCH, L7_HTTP,
              "www.example|www.example:8443/http|[2606:2800:220:1::1]:8443|127.0.0.1:8443");
    close(s);
    close(c);
    stop(&t);
}

/* Loopback in the cell without a server of its own is the proxy, judged by name. */
static void test_loopback(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("127.0.0.1", REQUEST("www.example"));
    int s = server_accept(&t);
    expect_text(&t, s, SENT("www.example"));
    close(s);
    close(c);
    stop(&t);
}

static size_t hello(const char *name, uint8_t dst[4096])
{
    char path[128];
    snprintf(path, sizeof(path), "tests/fuzz/corpus/client_hello/%s", name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, dst, 4096);
    assert_true(n > 0);
    return (size_t)n;
}

/* The very bytes of the hello go on; then everything both ways, with half-close. */
static void test_tls_allowed(void **state)
{
    (void)state;
    struct test t = start();
    uint8_t h[4096], got[4096];
    size_t n = hello("openssl_tls13", h);
    int c = client("93.184.216.34", h, n / 2);
    suite_run(t.s, NULL, 50);
    assert_int_equal(send(c, h + n / 2, n - n / 2, 0), n - n / 2);
    int s = server_accept(&t);
    assert_int_equal(gets_n(&t, s, (char *)got, n), n);
    assert_memory_equal(got, h, n);
    expect_l7(&t, 0, ACTION_ALLOW, L7_SNI_ALLOWLIST_MATCH, L7_TLS,
              "example.test|example.test:8443/tls|93.184.216.34:8443|127.0.0.1:8443");
    assert_int_equal(send(s, "server", 6, 0), 6);
    expect_text(&t, c, "server");
    shutdown(c, SHUT_WR);
    expect_end(&t, s);
    assert_int_equal(send(s, "still there", 11, 0), 11);
    expect_text(&t, c, "still there");
    close(s);
    expect_end(&t, c);
    close(c);
    SUITE_UNTIL(t.s, gate_open(t.s->proxy->cells->gate) == 0);
    stop(&t);
}

/* The second address is a decision of its own. */
static void test_second_address(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("93.184.216.34", REQUEST("two.wild.example"));
    int s = server_accept(&t);
    expect_text(&t, s, SENT("two.wild.example"));
    expect_l7(&t, 0, ACTION_ALLOW, L7_HTTP_HOST_ALLOWLIST_MATCH, L7_HTTP,
              "two.wild.example|*.wild.example:8443/any|93.184.216.34:8443|127.0.0.9:8443");
    expect_l7(&t, 1, ACTION_ALLOW, L7_HTTP_HOST_ALLOWLIST_MATCH, L7_HTTP,
              "two.wild.example|*.wild.example:8443/any|93.184.216.34:8443|127.0.0.1:8443");
    struct gate_counters n;
    gate_counters(t.s->proxy->cells->gate, &n);
    assert_int_equal(n.allowed, 1); /* one connection all the same */
    close(s);
    close(c);
    stop(&t);
}

/* The client chose one of the name's addresses: that one comes first. */
static void test_chosen_address(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("127.0.0.1", REQUEST("two.wild.example"));
    int s = server_accept(&t);
    expect_text(&t, s, SENT("two.wild.example"));
    assert_int_equal(suite_count(t.s, EVENT_L7), 1);
    close(s);
    close(c);
    stop(&t);
}

/* ---- denied ---- */

static void expect_refusal(struct test *t, int fd, const char *status, const char *line)
{
    char got[4096], head[64];
    assert_true(gets_n(t, fd, got, sizeof(got) - 1) > 0); /* up to a clean end of stream */
    snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n", status);
    assert_ptr_equal(strstr(got, head), got);
    char *body = strstr(got, "\r\n\r\n");
    assert_non_null(body);
    assert_memory_equal(body + 4, line, strlen(line) - 1); /* a hint at what would allow it may follow */
    char length[64];
    snprintf(length, sizeof(length), "Content-Length: %zu\r\n", strlen(body + 4));
    assert_non_null(strstr(got, length));
}

static void test_http_denied(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("93.184.216.34",
                        "POST / HTTP/1.1\r\nHost: evil.test:8443\r\nContent-Length: 9000\r\n\r\nabc");
    expect_refusal(&t, c, "403 Forbidden",
                   "l7_http_host_allowlist_miss: http to evil.test port 8443: no egress rule allows it\n");
    expect_l7(&t, 0, ACTION_DENY, L7_HTTP_HOST_ALLOWLIST_MISS, L7_HTTP, "evil.test||93.184.216.34:8443|");
    for (size_t i = 0; i < t.s->nclaims; i++)
        assert_int_equal(t.s->claims[i].type, EVENT_L7); /* the resolver was never asked */
    close(c);
    SUITE_UNTIL(t.s, gate_open(t.s->proxy->cells->gate) == 0);
    stop(&t);
}

static void test_http_conflict(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("93.184.216.34", REQUEST("www.example\r\nHost: evil.test"));
    expect_refusal(
        &t, c, "403 Forbidden",
        "l7_name_conflict: http to 93.184.216.34 port 8443: the request can be read in two ways\n");
    expect_l7(&t, 0, ACTION_DENY, L7_NAME_CONFLICT, L7_HTTP, "||93.184.216.34:8443|");
    close(c);
    stop(&t);
}

static void test_tls_denied(void **state)
{
    (void)state;
    struct test t = start();
    uint8_t h[4096];
    char got[64];
    static const struct {
        const char *file;
        uint32_t reason;
        const char *text;
    } rows[] = {
        {"curl", L7_SNI_ALLOWLIST_MISS, "curl.example.test||93.184.216.34:8443|"},
        {"openssl_no_name", L7_SNI_MISSING, "||93.184.216.34:8443|"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int c = client("93.184.216.34", h, hello(rows[i].file, h));
        assert_int_equal(gets_n(&t, c, got, sizeof(got) - 1), 7);
        assert_memory_equal(got, "\x15\x03\x03\x00\x02\x02\x70", 7);
        expect_l7(&t, i, ACTION_DENY, rows[i].reason, L7_TLS, rows[i].text);
        close(c);
    }
    stop(&t);
}

static void test_unknown_protocol(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("93.184.216.34", "SSH-2.0-x\r\n");
    expect_l7(&t, 0, ACTION_DENY, L7_UNKNOWN_PROTOCOL, L7_UNKNOWN, "||93.184.216.34:8443|");
    close(c);
    c = client("93.184.216.34", "\x16\x03\x01\x00\x04zzzz", 9); /* TLS, but no hello */
    expect_end(&t, c);
    expect_l7(&t, 1, ACTION_DENY, L7_UNKNOWN_PROTOCOL, L7_UNKNOWN, "||93.184.216.34:8443|");
    close(c);
    stop(&t);
}

/* Closed, or reset, in the middle of a ClientHello; and silence. */
static void test_unfinished(void **state)
{
    (void)state;
    struct test t = start();
    uint8_t h[4096];
    size_t n = hello("curl", h);
    int c = client("93.184.216.34", h, n - 1);
    close(c);
    expect_l7(&t, 0, ACTION_DENY, L7_UNKNOWN_PROTOCOL, L7_TLS, "||93.184.216.34:8443|");
    c = client("93.184.216.34", h, 40);
    suite_run(t.s, NULL, 20);
    struct linger now = {1, 0};
    assert_int_equal(setsockopt(c, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(c);
    expect_l7(&t, 1, ACTION_DENY, L7_UNKNOWN_PROTOCOL, L7_TLS, "||93.184.216.34:8443|");
    SUITE_UNTIL(t.s, gate_open(t.s->proxy->cells->gate) == 0);

    c = client("93.184.216.34", h, 40);
    for (int i = 0; i < 4; i++) { /* a byte now and then buys no time */
        suite_run(t.s, NULL, 1000);
        assert_int_equal(send(c, h + 40 + i, 1, MSG_NOSIGNAL), 1);
    }
    expect_l7(&t, 2, ACTION_DENY, L7_PEEK_TIMEOUT, L7_TLS, "||93.184.216.34:8443|");
    close(c);
    stop(&t);
}

static void test_own_address(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("10.88.0.2", REQUEST("www.example"));
    expect_l7(&t, 0, ACTION_DENY, L7_DESTINATION_DENIED, L7_UNKNOWN, "||10.88.0.2:8443|");
    close(c);
    c = client_says("fd00:ce11::2", REQUEST("www.example"));
    expect_l7(&t, 1, ACTION_DENY, L7_DESTINATION_DENIED, L7_UNKNOWN, "||[fd00:ce11::2]:8443|");
    close(c);
    assert_int_equal(accept4(t.server, NULL, NULL, 0), -1);
    stop(&t);
}

static void test_port_denied(void **state)
{
    (void)state;
    static const struct policy_egress other[] = {RULE("www.example", 443, 443, EGRESS_HTTP)};
    struct policy doc = policy_of(EVIDENCE_STRICT);
    doc.egress.v = other;
    doc.egress.n = 1;
    struct test t = start_with(doc);
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    expect_l7(&t, 0, ACTION_DENY, L7_PORT_DENIED, L7_UNKNOWN, "||93.184.216.34:8443|");
    char got[8];
    assert_true(gets_n(&t, c, got, 1) <= 0); /* an end, and a reset behind it: what it said was never read */
    close(c);
    stop(&t);
}

/* The name is allowed; where it leads is not. */
static void test_destination_denied(void **state)
{
    (void)state;
    struct test t = start();
    static const char *const names[] = {"private.wild.example", "metadata.wild.example"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char request[128], line[256], text[128];
        snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", names[i]);
        snprintf(
            line, sizeof(line),
            "l7_destination_denied: http to %s port 8443: the name is allowed, but its addresses are not; "
            "responseIpAllowlist (--allow-answer HOST:IP) lists exceptions\n",
            names[i]);
        snprintf(text, sizeof(text), "%s||93.184.216.34:8443|", names[i]);
        int c = client_says("93.184.216.34", request);
        expect_refusal(&t, c, "403 Forbidden", line);
        expect_l7(&t, i, ACTION_DENY, L7_DESTINATION_DENIED, L7_HTTP, text);
        close(c);
    }
    stop(&t);
}

static void test_unreachable(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("93.184.216.34", REQUEST("down.wild.example"));
    expect_refusal(
        &t, c, "502 Bad Gateway",
        "l7_upstream_unreachable: http to down.wild.example port 8443: the server cannot be reached\n");
    expect_l7(&t, 0, ACTION_ALLOW, L7_HTTP_HOST_ALLOWLIST_MATCH, L7_HTTP,
              "down.wild.example|*.wild.example:8443/any|93.184.216.34:8443|127.0.0.9:8443");
    expect_l7(&t, 1, ACTION_DENY, L7_UPSTREAM_UNREACHABLE, L7_HTTP,
              "down.wild.example||93.184.216.34:8443|127.0.0.9:8443");
    close(c);
    c = client_says("93.184.216.34", REQUEST("unknown.wild.example")); /* no such name */
    expect_refusal(
        &t, c, "502 Bad Gateway",
        "l7_upstream_unreachable: http to unknown.wild.example port 8443: the server cannot be reached\n");
    expect_l7(&t, 2, ACTION_DENY, L7_UPSTREAM_UNREACHABLE, L7_HTTP,
              "unknown.wild.example||93.184.216.34:8443|");
    close(c);
    stop(&t);
}

/* ---- limits ---- */

static void test_connection_limit(void **state)
{
    (void)state;
    enum { MORE = 40 };
    static int fds[LIMIT_TCP_OPEN + MORE];
    struct rlimit files = {8192, 8192};
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        skip();
    struct test t = start();
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = client("93.184.216.34", "", 0);
        if (i % 200 == 0)
            suite_run(t.s, NULL, 5);
    }
    SUITE_UNTIL(t.s, suite_count(t.s, EVENT_GAP) > 0);
    assert_int_equal(gate_open(t.s->proxy->cells->gate), LIMIT_TCP_OPEN);
    struct suite_claim *gap = suite_claim_of(t.s, EVENT_GAP, 0);
    assert_string_equal(gap->text, "l7_quota");
    assert_int_equal(gap->lost, MORE);
    expect_end(&t, fds[ARRAY_LEN(fds) - 1]);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) /* room again */
        close(fds[i]);
    SUITE_UNTIL(t.s, gate_open(t.s->proxy->cells->gate) == 0);
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    int s = server_accept(&t);
    close(s);
    close(c);
    stop(&t);
}

/* No fd is left: accepting pauses, nothing dies, what is open goes on, and the rest is served when there are
 * some again. */
static void test_no_fds(void **state)
{
    (void)state;
    enum { N = 20 };
    int fds[N], next;
    struct rlimit before, tight;
    struct test t = start();
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    int s = server_accept(&t);
    expect_text(&t, s, SENT("www.example"));
    for (size_t i = 0; i < N; i++)
        fds[i] = client("93.184.216.34", "", 0);
    next = dup(0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = (struct rlimit){(rlim_t)next + 3, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    suite_run(t.s, NULL, 300);
    assert_true(gate_open(t.s->proxy->cells->gate) < N + 1);
    assert_int_equal(send(s, ANSWER, strlen(ANSWER), 0), strlen(ANSWER));
    expect_text(&t, c, ANSWER);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    SUITE_UNTIL(t.s, gate_open(t.s->proxy->cells->gate) == N + 1);
    for (size_t i = 0; i < N; i++)
        close(fds[i]);
    close(s);
    close(c);
    stop(&t);
}

/* A flood of denials becomes one number a second, and delays nobody's dial. */
static void test_denial_limit(void **state)
{
    (void)state;
    enum { N = 300 };
    static int fds[N];
    struct test t = start();
    for (size_t i = 0; i < N; i++) {
        fds[i] = client_says("93.184.216.34", REQUEST("evil.test"));
        suite_run(t.s, NULL, i % 20 == 0 ? 3 : 0);
    }
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    int s = server_accept(&t);
    suite_close(t.s);
    uint64_t lost = 0;
    size_t denied = 0;
    for (size_t i = 0; i < t.s->nclaims; i++) {
        lost += t.s->claims[i].lost;
        denied += t.s->claims[i].type == EVENT_L7 && t.s->claims[i].action == ACTION_DENY;
    }
    assert_in_range(denied, 1, 2 * LIMIT_DENIES_PER_SEC);
    assert_int_equal(denied + lost, N); /* nothing is lost silently */
    assert_int_equal(t.s->summary.l7_denied, N);
    assert_string_equal(suite_claim_of(t.s, EVENT_GAP, 0)->text, "denial_rate");
    for (size_t i = 0; i < N; i++)
        close(fds[i]);
    close(s);
    close(c);
    stop(&t);
}

/* More allowed decisions at once than there are credits: all are served in the end. */
static void test_many_allowed(void **state)
{
    (void)state;
    enum { N = 250 };
    static int fds[N];
    struct test t = start();
    assert_int_equal(listen(t.server, 512), 0);
    t.s->hold = true;
    t.s->hold_type = EVENT_L7;
    for (size_t i = 0; i < N; i++)
        fds[i] = client_says("93.184.216.34", REQUEST("www.example"));
    SUITE_UNTIL(t.s, suite_count(t.s, EVENT_L7) >= 80);
    suite_run(t.s, NULL, 300);
    assert_in_range(suite_count(t.s, EVENT_L7), 80, LIMIT_CLAIM_CREDITS);
    suite_release(t.s);
    for (size_t i = 0; i < N; i++) {
        int s = server_accept(&t);
        close(s);
    }
    assert_int_equal(suite_count(t.s, EVENT_L7), N);
    for (size_t i = 0; i < N; i++)
        close(fds[i]);
    stop(&t);
}

/* ---- the end ---- */

static void test_close(void **state)
{
    (void)state;
    struct test t = start();
    int c = client_says("93.184.216.34", REQUEST("www.example"));
    int s = server_accept(&t);
    expect_text(&t, s, SENT("www.example"));
    t.s->hold = true;
    int d = client_says("93.184.216.34", REQUEST("evil.test"));
    l7(&t, 1);
    suite_close_send(t.s);
    suite_run(t.s, NULL, 100);
    assert_false(t.s->replied); /* the denial is not durable yet */
    expect_reset(&t, c);
    expect_reset(&t, s);
    suite_release(t.s);
    suite_run(t.s, &t.s->replied, 0);
    assert_int_equal(t.s->fail, 0);
    assert_int_equal(t.s->answered_at_reply, t.s->nclaims);
    assert_int_equal(t.s->summary.connections_allowed, 1);
    assert_int_equal(t.s->summary.l7_denied, 1);
    assert_int_equal(t.s->summary.dns_allowed, 0); /* the cell asked nothing */
    assert_int_equal(t.s->summary.rules.n, 1);
    assert_int_equal(t.s->uses[0].rule, 0);
    assert_int_equal(t.s->uses[0].connections, 1);
    assert_null(t.s->proxy->cells);
    close(c);
    close(d);
    close(s);
    stop(&t);
}

/* ---- UDP ---- */

static void test_udp(void **state)
{
    (void)state;
    struct test t = start();
    static const char *const to[] = {"8.8.8.8", "2001:4860:4860::8888"};
    static const char *const text[] = {"||8.8.8.8:4433|", "||[2001:4860:4860::8888]:4433|"};
    for (size_t i = 0; i < 2; i++) {
        int c = net_connect(net_cell, SOCK_DGRAM, to[i], 4433);
        assert_int_equal(send(c, "datagram", 8, 0), 8);
        expect_l7(&t, i, ACTION_DENY, L7_PORT_DENIED, L7_UDP, text[i]);
        char got[8];
        ssize_t r = 0;
        SUITE_UNTIL(t.s, (r = recv(c, got, sizeof(got), MSG_DONTWAIT)) < 0 && errno != EAGAIN);
        assert_int_equal(errno, ECONNREFUSED); /* the cell's kernel took our packet for the destination's */
        close(c);
    }
    stop(&t);
}

static void test_udp_known_port(void **state)
{
    (void)state;
    static const struct policy_egress other[] = {RULE("www.example", 4433, 4433, EGRESS_ANY)};
    struct policy doc = policy_of(EVIDENCE_STRICT);
    doc.egress.v = other;
    doc.egress.n = 1;
    struct test t = start_with(doc);
    static uint8_t big[1400];
    int c = net_connect(net_cell, SOCK_DGRAM, "8.8.8.8", 4433);
    assert_int_equal(send(c, big, sizeof(big), 0), sizeof(big));
    expect_l7(&t, 0, ACTION_DENY, L7_UNKNOWN_PROTOCOL, L7_UDP, "||8.8.8.8:4433|");
    close(c);
    stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_http_allowed),
        NET_TEST(test_evidence_before_effect),
        NET_TEST(test_evidence_refused),
        NET_TEST(test_evidence_late),
        NET_TEST(test_async),
        NET_TEST(test_async_refused),
        NET_TEST(test_ipv6),
        NET_TEST(test_loopback),
        NET_TEST(test_tls_allowed),
        NET_TEST(test_second_address),
        NET_TEST(test_chosen_address),
        NET_TEST(test_http_denied),
        NET_TEST(test_http_conflict),
        NET_TEST(test_tls_denied),
        NET_TEST(test_unknown_protocol),
        NET_TEST(test_unfinished),
        NET_TEST(test_own_address),
        NET_TEST(test_port_denied),
        NET_TEST(test_destination_denied),
        NET_TEST(test_unreachable),
        NET_TEST(test_connection_limit),
        NET_TEST(test_no_fds),
        NET_TEST(test_denial_limit),
        NET_TEST(test_many_allowed),
        NET_TEST(test_close),
        NET_TEST(test_udp),
        NET_TEST(test_udp_known_port),
    };
    net_setup();
    if (digest_init() < 0)
        return 1;
    hostaddr_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
