/* SPDX-License-Identifier: MIT */
/* What beside a name in the first bytes decides about a connection of a cell: raw rules, the addresses that
 * its DNS gave, cdnAuthority, the operator's proxy, quotas, a policy that changes; and who made the
 * connection. */
#include "tests/unit/proxyd_suite.h"

#include <malloc.h>
#include <sys/resource.h>

#define REQUEST(host) "GET / HTTP/1.1\r\nHost: " host "\r\n\r\n"

static const struct suite_host hosts[] = {
    {"www.example", {"127.0.0.1"}},
    {"raw.example", {"127.0.0.1", "127.0.0.5"}},
    {"two.example", {"127.0.0.9", "127.0.0.1"}},
    {"edge.cdn.example", {"127.0.0.1"}},
    {"example.test", {"127.0.0.1"}},
    {NULL, {NULL}},
};

#define RULE(host, lo, hi, protocol)                                                                         \
    {                                                                                                        \
        STR_LIT(host), lo, hi, protocol                                                                      \
    }
static const struct policy_answer answers[] = {
    {STR_LIT("www.example"), STR_LIT("127.0.0.0/8")},      {STR_LIT("raw.example"), STR_LIT("127.0.0.0/8")},
    {STR_LIT("edge.cdn.example"), STR_LIT("127.0.0.0/8")}, {STR_LIT("example.test"), STR_LIT("127.0.0.0/8")},
    {STR_LIT("two.example"), STR_LIT("127.0.0.0/8")},
};

/* What the cell may ask its DNS for. */
static const struct str names[] = {STR_LIT("www.example"), STR_LIT("raw.example")};

struct test {
    struct suite *s;
    int server;
};

static struct policy policy_of(const struct policy_egress *egress, size_t n)
{
    struct policy doc = {.evidence = EVIDENCE_STRICT};
    doc.egress.v = egress;
    doc.egress.n = n;
    doc.answers.v = answers;
    doc.answers.n = ARRAY_LEN(answers);
    doc.dns_names = (struct strs){names, ARRAY_LEN(names)};
    return doc;
}

static struct test start(struct policy doc)
{
    struct test t = {suite_start(hosts), net_server(SOCK_STREAM, "127.0.0.1", SUITE_PORT)};
    fcntl(t.server, F_SETFL, O_NONBLOCK);
    suite_sockets(t.s, SUITE_PORT);
    assert_int_equal(suite_open(t.s, &doc), 0);
    suite_sockets_close(t.s);
    return t;
}

static void stop(struct test *t)
{
    suite_stop(t->s);
    close(t->server);
}

static int client(const char *to, const void *p, size_t n)
{
    int fd = net_connect(net_cell, SOCK_STREAM, to, SUITE_PORT);
    if (n > 0)
        assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
    return fd;
}

static int server_accept(struct test *t)
{
    int fd = -EBADF;
    SUITE_UNTIL(t->s, (fd = accept4(t->server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    return fd;
}

/* Reads until n bytes are there or the stream ends; -1 for a reset. */
static ssize_t gets_n(struct test *t, int fd, void *dst, size_t n)
{
    size_t at = 0;
    for (int i = 0; i < 4000 && at < n; i++) {
        ssize_t r = recv(fd, (char *)dst + at, n - at, MSG_DONTWAIT);
        if (r < 0 && errno == ECONNRESET)
            return -1;
        if (r == 0)
            break;
        at += r > 0 ? (size_t)r : 0;
        if (at < n)
            suite_run(t->s, NULL, 2);
    }
    return (ssize_t)at;
}

static void expect_text(struct test *t, int fd, const char *text)
{
    char got[4096] = {0};
    assert_int_equal(gets_n(t, fd, got, strlen(text)), strlen(text));
    assert_string_equal(got, text);
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

static size_t hello(const char *name, uint8_t dst[4096])
{
    char path[128];
    snprintf(path, sizeof(path), "tests/fuzz/corpus/client_hello/%s", name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, dst, 4096);
    assert_true(n > 0);
    return (size_t)n;
}

/* The cell asks its DNS for an A record; the first address of the answer, as text. */
static void cell_asks(struct test *t, const char *name, char ret[ADDR_TEXT_MAX])
{
    uint8_t q[512] = {0x12, 0x34, 1, 0, 0, 1}, a[2048];
    size_t n = 12;
    ssize_t got = 0;
    for (const char *p = name; *p;) {
        size_t len = strcspn(p, ".");
        q[n++] = (uint8_t)len;
        memcpy(q + n, p, len);
        n += len;
        p += len + (p[len] == '.');
    }
    n += 2;
    q[n++] = 1;
    n++;
    q[n++] = 1;
    int fd = net_connect(net_cell, SOCK_DGRAM, "10.88.0.2", 53);
    assert_int_equal(send(fd, q, n, 0), n);
    SUITE_UNTIL(t->s, (got = recv(fd, a, sizeof(a), MSG_DONTWAIT)) > 0);
    close(fd);
    assert_true((size_t)got >= n + 16 && a[7] > 0);
    const struct addr addr = {.family = AF_INET, .bytes = {a[n + 12], a[n + 13], a[n + 14], a[n + 15]}};
    addr_format(&addr, ret);
}

/* ---- raw rules ---- */

static const struct policy_egress raw_rules[] = {
    RULE("raw.example", SUITE_PORT, SUITE_PORT, EGRESS_TCP),
    RULE("127.0.0.4", SUITE_PORT, SUITE_PORT, EGRESS_TCP),
};

/* A server that speaks first, at an address that the cell's DNS gave. */
static void test_raw_name(void **state)
{
    (void)state;
    char addr[ADDR_TEXT_MAX];
    struct test t = start(policy_of(raw_rules, ARRAY_LEN(raw_rules)));
    cell_asks(&t, "raw.example", addr);
    assert_string_equal(addr, "127.0.0.1");
    int c = client(addr, NULL, 0);
    int s = server_accept(&t);
    assert_int_equal(send(s, "220 hello\r\n", 11, 0), 11);
    expect_text(&t, c, "220 hello\r\n");
    assert_int_equal(send(c, "QUIT\r\n", 6, 0), 6);
    expect_text(&t, s, "QUIT\r\n");
    expect_l7(&t, 0, ACTION_ALLOW, L7_PINNED_ADDRESS_MATCH, L7_TCP,
              "raw.example|raw.example:8443/tcp|127.0.0.1:8443|127.0.0.1:8443");
    close(s);
    close(c);
    stop(&t);
}

/* Nobody asked for the name: its address alone is worth nothing. */
static void test_raw_miss(void **state)
{
    (void)state;
    char got[8];
    struct test t = start(policy_of(raw_rules, ARRAY_LEN(raw_rules)));
    int c = client("127.0.0.1", NULL, 0);
    assert_true(gets_n(&t, c, got, 1) <= 0);
    expect_l7(&t, 0, ACTION_DENY, L7_PINNED_ADDRESS_MISS, L7_TCP, "||127.0.0.1:8443|");
    close(c);
    c = client("93.184.216.34", NULL, 0);
    assert_true(gets_n(&t, c, got, 1) <= 0);
    expect_l7(&t, 1, ACTION_DENY, L7_PINNED_ADDRESS_MISS, L7_TCP, "||93.184.216.34:8443|");
    assert_int_equal(accept4(t.server, NULL, NULL, 0), -1);
    close(c);
    stop(&t);
}

static void test_raw_literal(void **state)
{
    (void)state;
    struct test t = start(policy_of(raw_rules, ARRAY_LEN(raw_rules)));
    int server = net_server(SOCK_STREAM, "127.0.0.4", SUITE_PORT);
    fcntl(server, F_SETFL, O_NONBLOCK);
    int c = client("127.0.0.4", NULL, 0), s = -EBADF;
    SUITE_UNTIL(t.s, (s = accept4(server, NULL, NULL, SOCK_CLOEXEC)) >= 0);
    expect_l7(&t, 0, ACTION_ALLOW, L7_PINNED_ADDRESS_MATCH, L7_TCP,
              "127.0.0.4|127.0.0.4:8443/tcp|127.0.0.4:8443|127.0.0.4:8443");
    close(s);
    close(c);
    close(server);
    stop(&t);
}

/* A port with both kinds: what no raw rule fits is listened to. */
static void test_raw_and_named(void **state)
{
    (void)state;
    static const struct policy_egress both[] = {RULE("raw.example", SUITE_PORT, SUITE_PORT, EGRESS_TCP),
                                                RULE("www.example", SUITE_PORT, SUITE_PORT, EGRESS_HTTP)};
    struct test t = start(policy_of(both, ARRAY_LEN(both)));
    int c = client("93.184.216.34", REQUEST("www.example"), strlen(REQUEST("www.example")));
    int s = server_accept(&t);
    expect_l7(&t, 0, ACTION_ALLOW, L7_HTTP_HOST_ALLOWLIST_MATCH, L7_HTTP,
              "www.example|www.example:8443/http|93.184.216.34:8443|127.0.0.1:8443");
    close(s);
    close(c);
    stop(&t);
}

/* Every name has an address of its own, which exists only in the cell: the name is what is dialed. */
static void test_raw_synthetic(void **state)
{
    (void)state;
    char addr[ADDR_TEXT_MAX], text[256];
    struct policy doc = policy_of(raw_rules, ARRAY_LEN(raw_rules));
    doc.answer_mode = ANSWER_SYNTHETIC;
    struct test t = start(doc);
    cell_asks(&t, "raw.example", addr);
    assert_memory_equal(addr, "198.1", 5);
    int c = client(addr, NULL, 0);
    int s = server_accept(&t);
    snprintf(text, sizeof(text), "raw.example|raw.example:8443/tcp|%s:8443|127.0.0.1:8443", addr);
    expect_l7(&t, 0, ACTION_ALLOW, L7_PINNED_ADDRESS_MATCH, L7_TCP, text);
    close(s);
    close(c);
    stop(&t);
}

/* ---- cdnAuthority ---- */

static void test_cdn(void **state)
{
    (void)state;
    static const struct policy_egress www[] = {RULE("www.example", SUITE_PORT, SUITE_PORT, EGRESS_TLS)};
    static const struct str patterns[] = {STR_LIT("example.test")};
    static const struct policy_cdn providers[] = {{STR_LIT("edge"), {patterns, 1}}};
    uint8_t h[4096], got[4096];
    char addr[ADDR_TEXT_MAX];
    struct policy doc = policy_of(www, 1);
    doc.cdn.v = providers;
    doc.cdn.n = 1;
    struct test t = start(doc);
    size_t n = hello("openssl_tls13", h);
    int c = client("127.0.0.1", h, n); /* nobody asked for www.example yet */
    expect_l7(&t, 0, ACTION_DENY, L7_SNI_ALLOWLIST_MISS, L7_TLS, "example.test||127.0.0.1:8443|");
    close(c);
    cell_asks(&t, "www.example", addr);
    c = client(addr, h, n);
    int s = server_accept(&t);
    assert_int_equal(gets_n(&t, s, got, n), n);
    assert_memory_equal(got, h, n);
    expect_l7(&t, 1, ACTION_ALLOW, L7_SNI_ALLOWLIST_MATCH, L7_TLS,
              "example.test|www.example:8443/tls|127.0.0.1:8443|127.0.0.1:8443");
    assert_true(l7(&t, 1)->cdn);
    close(s);
    close(c);
    n = hello("curl", h); /* no pattern has this name */
    c = client(addr, h, n);
    expect_l7(&t, 2, ACTION_DENY, L7_SNI_ALLOWLIST_MISS, L7_TLS, "curl.example.test||127.0.0.1:8443|");
    close(c);
    stop(&t);
}

/* ---- the operator's proxy ---- */

static const struct policy_egress tls_rule[] = {RULE("example.test", SUITE_PORT, SUITE_PORT, EGRESS_TLS)};

static struct test start_proxied(uint32_t kind, int *ret_proxy, char endpoint[32])
{
    static struct policy_upstream upstream;
    struct policy doc = policy_of(tls_rule, 1);
    *ret_proxy = net_server(SOCK_STREAM, "127.0.0.1", 0);
    fcntl(*ret_proxy, F_SETFL, O_NONBLOCK);
    snprintf(endpoint, 32, "127.0.0.1:%u", net_port(*ret_proxy));
    upstream = (struct policy_upstream){kind, str_of(endpoint)};
    doc.upstream = &upstream;
    return start(doc);
}

static int proxy_accept(struct test *t, int proxy)
{
    int fd = -EBADF;
    SUITE_UNTIL(t->s, (fd = accept4(proxy, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    return fd;
}

static void test_proxy_connect(void **state)
{
    (void)state;
    char endpoint[32];
    uint8_t h[4096], got[4096];
    int proxy;
    struct test t = start_proxied(UPSTREAM_PROXY_CONNECT, &proxy, endpoint);
    size_t n = hello("openssl_tls13", h);
    int c = client("93.184.216.34", h, n);
    int p = proxy_accept(&t, proxy);
    expect_text(&t, p, "CONNECT example.test:8443 HTTP/1.1\r\nHost: example.test:8443\r\n\r\n");
    expect_l7(&t, 0, ACTION_ALLOW, L7_SNI_ALLOWLIST_MATCH, L7_TLS,
              "example.test|example.test:8443/tls|93.184.216.34:8443|");
    assert_string_equal(l7(&t, 0)->proxy, endpoint);
    static const char reply[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nVia: x\r\n\r\nfirst";
    for (size_t i = 0; i < 30; i++) { /* in pieces, and the server's first words right behind it */
        assert_int_equal(send(p, reply + i, 1, 0), 1);
        suite_run(t.s, NULL, 1);
    }
    assert_int_equal(send(p, reply + 30, sizeof(reply) - 31, 0), sizeof(reply) - 31);
    expect_text(&t, c, "first");
    assert_int_equal(gets_n(&t, p, got, n), n);
    assert_memory_equal(got, h, n);
    close(p);
    close(c);
    c = client("93.184.216.34", h, n);
    p = proxy_accept(&t, proxy);
    assert_int_equal(send(p, "HTTP/1.1 403 No\r\n\r\n", 19, 0), 19);
    expect_l7(&t, 2, ACTION_DENY, L7_UPSTREAM_UNREACHABLE, L7_TLS, "example.test||93.184.216.34:8443|");
    close(p);
    close(c);
    close(proxy);
    stop(&t);
}

static void test_proxy_socks(void **state)
{
    (void)state;
    char endpoint[32];
    uint8_t h[4096], got[4096];
    int proxy;
    struct test t = start_proxied(UPSTREAM_PROXY_SOCKS5, &proxy, endpoint);
    size_t n = hello("openssl_tls13", h);
    int c = client("93.184.216.34", h, n);
    int p = proxy_accept(&t, proxy);
    assert_int_equal(gets_n(&t, p, got, 3), 3);
    assert_memory_equal(got, "\5\1\0", 3);
    assert_int_equal(send(p, "\5\0", 2, 0), 2);
    assert_int_equal(gets_n(&t, p, got, 19), 19);
    assert_memory_equal(got, "\5\1\0\3\14example.test\x20\xfb", 19);
    assert_int_equal(send(p, "\5\0\0\1\1\2\3\4\1\2hey", 13, 0), 13);
    expect_text(&t, c, "hey");
    assert_int_equal(gets_n(&t, p, got, n), n);
    assert_memory_equal(got, h, n);
    close(p);
    close(c);
    c = client("93.184.216.34", h, n);
    p = proxy_accept(&t, proxy);
    assert_int_equal(send(p, "\5\377", 2, 0), 2); /* it wants a password */
    expect_l7(&t, 2, ACTION_DENY, L7_UPSTREAM_UNREACHABLE, L7_TLS, "example.test||93.184.216.34:8443|");
    close(p);
    close(c);
    close(proxy);
    stop(&t);
}

/* ---- happy eyeballs ---- */

/* The first address swallows the attempt: the next one is claimed and dialed beside it, and wins. */
static void test_silent_address(void **state)
{
    (void)state;
    static const struct policy_egress two[] = {RULE("two.example", SUITE_PORT, SUITE_PORT, EGRESS_HTTP)};
    int filler[4], full = net_server(SOCK_STREAM, "127.0.0.9", SUITE_PORT);
    assert_int_equal(listen(full, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(filler); i++)
        filler[i] = net_connect(net_host, SOCK_STREAM, "127.0.0.9", SUITE_PORT);
    struct test t = start(policy_of(two, 1));
    int c = client("93.184.216.34", REQUEST("two.example"), strlen(REQUEST("two.example")));
    int s = server_accept(&t);
    expect_text(&t, s, REQUEST("two.example"));
    expect_l7(&t, 0, ACTION_ALLOW, L7_HTTP_HOST_ALLOWLIST_MATCH, L7_HTTP,
              "two.example|two.example:8443/http|93.184.216.34:8443|127.0.0.9:8443");
    expect_l7(&t, 1, ACTION_ALLOW, L7_HTTP_HOST_ALLOWLIST_MATCH, L7_HTTP,
              "two.example|two.example:8443/http|93.184.216.34:8443|127.0.0.1:8443");
    assert_int_equal(suite_count(t.s, EVENT_L7), 2);
    for (size_t i = 0; i < ARRAY_LEN(filler); i++)
        close(filler[i]);
    close(full);
    close(s);
    close(c);
    stop(&t);
}

/* ---- who ---- */

struct init {
    struct endpoint *e;
    bool silent;
};

static int init_on_who(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct init *i = self;
    const struct ev_process process = {42, STR_LIT("/usr/bin/curl")};
    const struct who_who_rep rep = {&process};
    const struct who_who_req *q = m->rec;
    assert_int_equal(q->transport, TRANSPORT_TCP);
    assert_memory_equal(q->local.p, "10.88.0.2:", 10);
    assert_true(str_is(q->remote, "93.184.216.34:8443"));
    return i->silent ? 0 : endpoint_reply(e, MSG_WHO_WHO_REQ, m->seq, &rep, NULL, 0);
}

static void init_gone(void *self, struct endpoint *e, int err)
{
    (void)self;
    (void)e;
    (void)err;
}

static void who(bool silent)
{
    static const struct endpoint_handler handlers[] = {{MSG_WHO_WHO_REQ, init_on_who}};
    static const struct endpoint_ops ops = {.handlers = handlers, .n = 1, .gone = init_gone};
    static const struct policy_egress www[] = {RULE("www.example", SUITE_PORT, SUITE_PORT, EGRESS_HTTP)};
    struct init init = {.silent = silent};
    const struct endpoint_config cfg = {&iface_who, FROM_SERVER, ROLE_INIT, ROLE_PROXYD, &ops, &init};
    struct test t = {suite_start(hosts), net_server(SOCK_STREAM, "127.0.0.1", SUITE_PORT)};
    struct policy doc = policy_of(www, 1);
    int pair[2];
    const char *want = silent ? "" : "42 /usr/bin/curl";
    fcntl(t.server, F_SETFL, O_NONBLOCK);
    suite_sockets(t.s, SUITE_PORT);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    t.s->sockets[CELL_FD_WHO] = pair[0];
    assert_int_equal(endpoint_new(t.s->loop, pair[1], &cfg, &init.e), 0);
    assert_int_equal(suite_open(t.s, &doc), 0);
    suite_sockets_close(t.s);
    for (size_t i = 0; i < 6; i++) { /* an init that is silent delays only the first few */
        bool allow = i % 2 == 0;
        const char *say = allow ? REQUEST("www.example") : REQUEST("evil.test");
        int c = client("93.184.216.34", say, strlen(say));
        assert_string_equal(l7(&t, i)->process, want);
        assert_int_equal(l7(&t, i)->action, allow ? ACTION_ALLOW : ACTION_DENY);
        close(c);
    }
    assert_int_equal(suite_close(t.s), 0);
    endpoint_free(init.e);
    stop(&t);
}

static void test_who(void **state)
{
    (void)state;
    who(false);
}

static void test_who_silent(void **state)
{
    (void)state;
    who(true);
}

/* A connection to a port without a rule is gone for the client at once; the event still names the process. */
static void test_who_port_denied(void **state)
{
    (void)state;
    static const struct endpoint_handler handlers[] = {{MSG_WHO_WHO_REQ, init_on_who}};
    static const struct endpoint_ops ops = {.handlers = handlers, .n = 1, .gone = init_gone};
    static const struct policy_egress other[] = {RULE("www.example", 443, 443, EGRESS_HTTP)};
    struct init init = {0};
    const struct endpoint_config cfg = {&iface_who, FROM_SERVER, ROLE_INIT, ROLE_PROXYD, &ops, &init};
    struct test t = {suite_start(hosts), net_server(SOCK_STREAM, "127.0.0.1", SUITE_PORT)};
    struct policy doc = policy_of(other, 1);
    int pair[2];
    char got[8];
    suite_sockets(t.s, SUITE_PORT);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    t.s->sockets[CELL_FD_WHO] = pair[0];
    assert_int_equal(endpoint_new(t.s->loop, pair[1], &cfg, &init.e), 0);
    assert_int_equal(suite_open(t.s, &doc), 0);
    suite_sockets_close(t.s);
    int c = client("93.184.216.34", NULL, 0);
    assert_int_equal(gets_n(&t, c, got, 1), 0);
    expect_l7(&t, 0, ACTION_DENY, L7_PORT_DENIED, L7_UNKNOWN, "||93.184.216.34:8443|");
    assert_string_equal(l7(&t, 0)->process, "42 /usr/bin/curl");
    SUITE_UNTIL(t.s, gate_open(t.s->proxy->cells->gate) == 0);
    close(c);
    assert_int_equal(suite_close(t.s), 0);
    endpoint_free(init.e);
    stop(&t);
}

/* ---- quota ---- */

static void test_quota(void **state)
{
    (void)state;
    static const struct policy_quota quota = {.max_connections = 2, .max_bytes = OPT_UINT(1000)};
    uint8_t h[4096], got[4096];
    struct policy doc = policy_of(tls_rule, 1);
    doc.quota = &quota;
    struct test t = start(doc);
    size_t n = hello("openssl_tls13", h);
    assert_true(n < 900);
    int c = client("93.184.216.34", h, n);
    int s = server_accept(&t);
    assert_int_equal(gets_n(&t, s, got, n), n);
    int d = client("93.184.216.34", NULL, 0), e = client("93.184.216.34", NULL, 0);
    assert_true(gets_n(&t, e, got, 1) <= 0); /* the third one */
    close(d);
    close(e);
    assert_int_equal(send(s, h, 1000 - n, 0), 1000 - n);
    assert_int_equal(gets_n(&t, c, got, 1000 - n), 1000 - n);
    assert_int_equal(send(s, "x", 1, 0), 1);
    assert_int_equal(gets_n(&t, c, got, 1), -1); /* that one is not delivered */
    size_t i = 0;
    SUITE_UNTIL(t.s, suite_claim_of(t.s, EVENT_L7, i) && suite_claim_of(t.s, EVENT_L7, i)->reason != L7_QUOTA
                         ? (i++, false)
                         : suite_claim_of(t.s, EVENT_L7, i) != NULL);
    close(c);
    close(s);
    c = client("93.184.216.34", h, n); /* nothing more */
    assert_true(gets_n(&t, c, got, 1) <= 0);
    SUITE_UNTIL(t.s, suite_claim_of(t.s, EVENT_L7, i + 1) != NULL);
    assert_int_equal(suite_claim_of(t.s, EVENT_L7, i + 1)->reason, L7_QUOTA);
    assert_int_equal(suite_close(t.s), 0);
    assert_int_equal(t.s->summary.bytes_sent, n);
    assert_int_equal(t.s->summary.bytes_received, 1000 - n + 1);
    close(c);
    stop(&t);
}

/* ---- a policy that changes ---- */

static uint64_t cut_count;

static void on_policy_reply(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    suite_on_reply(data, error, rec, fds, nfds);
    if (!error)
        cut_count = ((const struct proxy_cell_policy_rep *)rec)->connections_cut;
}

static uint32_t policy_set(struct test *t, struct policy *doc)
{
    uint8_t sha256[32];
    char endpoint[32];
    suite_policy_complete(doc);
    snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%u", t->s->resolver_port);
    struct policy_resolver resolver = {
        .resolver_id = STR_LIT("test"), .protocol = RESOLVER_DO53_UDP, .endpoint = str_of(endpoint)};
    doc->resolvers.v = &resolver;
    doc->resolvers.n = 1;
    int fd = codec_to_memfd(&schema_policy, doc, LIMIT_POLICY_DOC, sha256);
    assert_true(fd >= 0);
    struct proxy_cell_policy_req req = {str_of(t->s->run_id), {(char *)sha256, 32}};
    t->s->replied = false;
    assert_int_equal(endpoint_call(t->s->supervisor, MSG_PROXY_CELL_POLICY_REQ, &req, &fd, 1, 10000,
                                   on_policy_reply, t->s),
                     0);
    suite_run(t->s, &t->s->replied, 0);
    close(fd);
    return t->s->fail;
}

static void test_policy_change(void **state)
{
    (void)state;
    static const struct policy_egress before[] = {RULE("raw.example", SUITE_PORT, SUITE_PORT, EGRESS_TCP),
                                                  RULE("example.test", SUITE_PORT, SUITE_PORT, EGRESS_TLS)};
    static const struct policy_egress narrow[] = {RULE("raw.example", SUITE_PORT, SUITE_PORT, EGRESS_TCP)};
    static const struct policy_egress wide[] = {RULE("www.example", SUITE_PORT, SUITE_PORT, EGRESS_HTTP),
                                                RULE("example.test", SUITE_PORT, SUITE_PORT, EGRESS_TLS),
                                                RULE("raw.example", SUITE_PORT, SUITE_PORT, EGRESS_TCP)};
    uint8_t h[4096], got[4096];
    char addr[ADDR_TEXT_MAX];
    struct test t = start(policy_of(before, ARRAY_LEN(before)));
    size_t n = hello("openssl_tls13", h);
    int c = client("93.184.216.34", h, n);
    int s = server_accept(&t);
    assert_int_equal(gets_n(&t, s, got, n), n);
    cell_asks(&t, "raw.example", addr);
    int d = client(addr, NULL, 0);
    int r = server_accept(&t);

    struct policy doc = policy_of(narrow, ARRAY_LEN(narrow));
    assert_int_equal(policy_set(&t, &doc), 0);
    assert_int_equal(cut_count, 1);
    assert_int_equal(gets_n(&t, c, got, 1), -1);
    expect_l7(&t, 2, ACTION_DENY, L7_SNI_ALLOWLIST_MISS, L7_TLS, "example.test||93.184.216.34:8443|");
    close(c);
    close(s);
    assert_int_equal(send(r, "still here", 10, 0), 10); /* the other one goes on */
    expect_text(&t, d, "still here");
    c = client("93.184.216.34", h, n);
    assert_true(gets_n(&t, c, got, 1) <= 0);
    close(c);

    doc = policy_of(wide, ARRAY_LEN(wide));
    assert_int_equal(policy_set(&t, &doc), 0);
    assert_int_equal(cut_count, 0);
    c = client("93.184.216.34", h, n);
    s = server_accept(&t);
    assert_int_equal(gets_n(&t, s, got, n), n);
    close(s);
    close(c);

    doc = policy_of(wide, ARRAY_LEN(wide));
    doc.evidence = EVIDENCE_ASYNC; /* cannot change */
    assert_int_equal(policy_set(&t, &doc), FAIL_INVALID);
    assert_int_equal(send(d, "me too", 6, 0), 6);
    expect_text(&t, r, "me too");
    assert_int_equal(suite_close(t.s), 0);
    assert_int_equal(t.s->summary.rules.n, 2); /* by the rules as they are at the end, counted all along */
    assert_int_equal(t.s->uses[0].rule, 1);
    assert_int_equal(t.s->uses[0].connections, 2);
    assert_int_equal(t.s->uses[1].rule, 2);
    assert_int_equal(t.s->uses[1].connections, 1);
    close(r);
    close(d);
    stop(&t);
}

/* A request that is being answered is cut too, by its own name. */
static void test_policy_change_http(void **state)
{
    (void)state;
    static const struct policy_egress www[] = {RULE("www.example", SUITE_PORT, SUITE_PORT, EGRESS_HTTP)};
    static const struct policy_egress other[] = {RULE("two.example", SUITE_PORT, SUITE_PORT, EGRESS_HTTP)};
    char got[8];
    struct test t = start(policy_of(www, 1));
    int c = client("93.184.216.34", REQUEST("www.example"), strlen(REQUEST("www.example")));
    int s = server_accept(&t);
    expect_text(&t, s, REQUEST("www.example"));
    struct policy doc = policy_of(other, 1);
    assert_int_equal(policy_set(&t, &doc), 0);
    assert_int_equal(cut_count, 1);
    expect_l7(&t, 1, ACTION_DENY, L7_HTTP_HOST_ALLOWLIST_MISS, L7_HTTP, "www.example||93.184.216.34:8443|");
    assert_true(gets_n(&t, s, got, 1) <= 0);
    close(s);
    close(c);
    stop(&t);
}

/* A decision that waits for its evidence when the rule goes away is never carried out. */
static void test_policy_change_under_way(void **state)
{
    (void)state;
    static const struct policy_egress other[] = {RULE("raw.example", SUITE_PORT, SUITE_PORT, EGRESS_TCP),
                                                 RULE("www.example", SUITE_PORT, SUITE_PORT, EGRESS_TLS)};
    uint8_t h[4096], got[8];
    struct test t = start(policy_of(tls_rule, 1));
    size_t n = hello("openssl_tls13", h);
    t.s->hold = true;
    t.s->hold_type = EVENT_L7;
    int c = client("93.184.216.34", h, n);
    l7(&t, 0);
    struct policy doc = policy_of(other, ARRAY_LEN(other));
    assert_int_equal(policy_set(&t, &doc), 0);
    assert_int_equal(cut_count, 1);
    suite_release(t.s);
    assert_int_equal(gets_n(&t, c, got, 7), 7); /* an alert */
    suite_run(t.s, NULL, 100);
    assert_int_equal(accept4(t.server, NULL, NULL, 0), -1);
    expect_l7(&t, 1, ACTION_DENY, L7_SNI_ALLOWLIST_MISS, L7_TLS, "example.test||93.184.216.34:8443|");
    close(c);
    stop(&t);
}

/* ---- idle connections ---- */

#define IDLE     1000
#define IDLE_MAX 4096u /* bytes of proxyd's heap for one connection that is relayed and idle */

/* A relayed connection that moves nothing holds no buffer and no pipe. */
static void test_idle_memory(void **state)
{
    (void)state;
    static int clients[IDLE], servers[IDLE];
    struct rlimit files = {8192, 8192};
    uint8_t h[4096], got[4096];
    if (setrlimit(RLIMIT_NOFILE, &files) < 0) {
        print_message("no limit of 8192 files here\n");
        skip();
    }
    struct test t = start(policy_of(tls_rule, 1));
    assert_int_equal(listen(t.server, 64), 0);
    size_t n = hello("openssl_tls13", h), before = 0;
    for (size_t i = 0; i < IDLE; i++) {
        if (i == 16) /* what the first ones make once is everybody's */
            before = mallinfo2().uordblks;
        clients[i] = client("93.184.216.34", h, n);
        servers[i] = server_accept(&t);
        assert_int_equal(gets_n(&t, servers[i], got, n), n);
        assert_int_equal(send(servers[i], "hi", 2, 0), 2);
        assert_int_equal(gets_n(&t, clients[i], got, 2), 2);
    }
    suite_run(t.s, NULL, 100);
    size_t each = (mallinfo2().uordblks - before) / (IDLE - 16);
    print_message("%zu bytes of heap for each idle connection\n", each);
#ifdef __SANITIZE_ADDRESS__
    print_message("not judged: the sanitizer's allocator does not tell\n");
#else
    assert_in_range(each, 1, IDLE_MAX);
#endif
    assert_int_equal(gate_open(t.s->proxy->cells->gate), IDLE);
    assert_int_equal(t.s->proxy->pool.pipes.nidle, t.s->proxy->pool.pipes.open);
    for (size_t i = 0; i < IDLE; i++) {
        close(clients[i]);
        close(servers[i]);
    }
    SUITE_UNTIL(t.s, gate_open(t.s->proxy->cells->gate) == 0);
    stop(&t);
}

/* ---- routed ---- */

/* DNS and nothing else. */
static void test_routed(void **state)
{
    (void)state;
    struct suite *s = suite_start(hosts);
    struct policy doc = policy_of(tls_rule, 1);
    struct policy_resolver resolver = {.resolver_id = STR_LIT("test"), .protocol = RESOLVER_DO53_UDP};
    uint8_t sha256[32];
    char endpoint[32];
    doc.mode = NET_MODE_ROUTED;
    suite_policy_complete(&doc);
    snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%u", s->resolver_port);
    resolver.endpoint = str_of(endpoint);
    doc.resolvers.v = &resolver;
    doc.resolvers.n = 1;
    int fds[3] = {codec_to_memfd(&schema_policy, &doc, LIMIT_POLICY_DOC, sha256),
                  net_cell_socket(SOCK_DGRAM, 53), net_cell_socket(SOCK_STREAM, 53)};
    struct proxy_cell_open_req req = {str_of(s->run_id), STR_LIT("cell"), {(char *)sha256, 32}};
    s->replied = false;
    assert_int_equal(
        endpoint_call(s->supervisor, MSG_PROXY_CELL_OPEN_ROUTED_REQ, &req, fds, 3, 10000, suite_on_reply, s),
        0);
    suite_run(s, &s->replied, 0);
    assert_int_equal(s->fail, 0);
    assert_null(s->proxy->cells->gate);
    assert_null(s->proxy->cells->udp);
    assert_int_equal(suite_close(s), 0);
    assert_int_equal(s->summary.connections_allowed, 0);
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
    suite_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_raw_name),
        NET_TEST(test_raw_miss),
        NET_TEST(test_raw_literal),
        NET_TEST(test_raw_and_named),
        NET_TEST(test_raw_synthetic),
        NET_TEST(test_cdn),
        NET_TEST(test_proxy_connect),
        NET_TEST(test_proxy_socks),
        NET_TEST(test_silent_address),
        NET_TEST(test_who),
        NET_TEST(test_who_silent),
        NET_TEST(test_who_port_denied),
        NET_TEST(test_quota),
        NET_TEST(test_policy_change),
        NET_TEST(test_policy_change_under_way),
        NET_TEST(test_policy_change_http),
        NET_TEST(test_routed),
        NET_TEST(test_idle_memory),
    };
    net_setup();
    if (digest_init() < 0)
        return 1;
    hostaddr_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
