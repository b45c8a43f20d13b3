/* SPDX-License-Identifier: MIT */
/* Datagrams of a cell: QUIC flows by name, raw flows by address, denials, limits, and what comes back. */
#include "tests/unit/proxyd_suite.h"

#include "proxyd/udp/ip_packet.h"
#include "proxyd/udp/udp.h"
#include "tests/unit/quic_packets.h"

#define PORT    4433 /* of the cell's transparent socket, and so the one port a datagram arrives from */
#define FAR     "9.9.9.9"
#define FAR6    "2620:fe::9"
#define BIG_LEN 60000u

static const struct suite_host hosts[] = {
    {"quic.example", {"127.0.0.1", "::1"}}, {"private.example", {"10.0.0.1"}},
    {"nowhere.example", {"93.184.216.34"}}, {"raw.example", {"127.0.0.1", "::1"}},
    {"other.example", {"127.0.0.9"}},       {NULL, {NULL}},
};

#define RULE(host, protocol)                                                                                 \
    {                                                                                                        \
        STR_LIT(host), PORT, PORT, protocol                                                                  \
    }
static const struct policy_egress quic_rules[] = {
    RULE("quic.example", EGRESS_QUIC),
    RULE("private.example", EGRESS_QUIC),
    RULE("nowhere.example", EGRESS_QUIC),
};
static const struct policy_egress raw_rules[] = {
    RULE("127.0.0.1", EGRESS_UDP),
    RULE("::1", EGRESS_UDP),
    RULE("raw.example", EGRESS_UDP),
    RULE("9.0.0.0/8", EGRESS_UDP),
};
static const struct policy_egress tls_rules[] = {RULE("quic.example", EGRESS_ANY)};
static const struct policy_egress both_rules[] = {
    RULE("quic.example", EGRESS_QUIC),
    RULE("127.0.0.1", EGRESS_UDP),
};
static const struct policy_answer answers[] = {
    {STR_LIT("quic.example"), STR_LIT("127.0.0.1")},
    {STR_LIT("quic.example"), STR_LIT("::1")},
    {STR_LIT("raw.example"), STR_LIT("127.0.0.1")},
    {STR_LIT("raw.example"), STR_LIT("::1")},
};

static const struct str names[] = {STR_LIT("raw.example")}; /* the cell itself may ask for */

struct test {
    struct suite *s;
    int server, server6;
    struct sockaddr_storage from, peer; /* of the last datagram, and of the last that a server got */
    socklen_t nfrom, npeer;
    char got[65536];
};

static int server_on(const char *text)
{
    int fd = net_server(SOCK_DGRAM, text, PORT);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static struct policy policy_of(const struct policy_egress *rules, size_t n, uint32_t evidence)
{
    struct policy doc = {.evidence = evidence};
    doc.egress.v = rules;
    doc.egress.n = n;
    doc.answers.v = answers;
    doc.answers.n = ARRAY_LEN(answers);
    doc.dns_names.v = names;
    doc.dns_names.n = ARRAY_LEN(names);
    return doc;
}

static struct test *start_with(struct policy doc, bool confined)
{
    struct test *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    t->s = suite_start_as(hosts, confined);
    t->server = server_on("127.0.0.1");
    t->server6 = server_on("::1");
    suite_sockets(t->s, SUITE_PORT);
    assert_int_equal(suite_open(t->s, &doc), 0);
    suite_sockets_close(t->s);
    return t;
}

#define START(rules) start_with(policy_of(rules, ARRAY_LEN(rules), EVIDENCE_STRICT), false)

static void stop(struct test *t)
{
    suite_stop(t->s);
    close(t->server);
    close(t->server6);
    free(t);
}

static struct udp *udp_of(struct test *t)
{
    return t->s->proxy->cells->udp;
}

static int client(const char *to)
{
    return net_connect(net_cell, SOCK_DGRAM, to, PORT);
}

static void says(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

/* Receives into t->got; what it was, or -errno. */
static ssize_t hears(struct test *t, int fd)
{
    ssize_t n = -1;
    t->nfrom = sizeof(t->from);
    SUITE_UNTIL(t->s, (n = recvfrom(fd, t->got, sizeof(t->got), MSG_DONTWAIT, (struct sockaddr *)&t->from,
                                    &t->nfrom)) >= 0 ||
                          errno != EAGAIN);
    if (n >= 0 && (fd == t->server || fd == t->server6)) {
        t->peer = t->from;
        t->npeer = t->nfrom;
    }
    return n < 0 ? -errno : n;
}

static void expect(struct test *t, int fd, const void *p, size_t n)
{
    assert_int_equal(hears(t, fd), n);
    assert_memory_equal(t->got, p, n);
}

/* To whoever spoke to this server last. */
static void answers_with(struct test *t, int server, const void *p, size_t n)
{
    assert_int_equal(sendto(server, p, n, 0, (struct sockaddr *)&t->peer, t->npeer), n);
}

static void expect_refused(struct test *t, int fd)
{
    assert_int_equal(hears(t, fd), -ECONNREFUSED);
}

static bool silent(struct test *t, int fd)
{
    suite_run(t->s, NULL, 100);
    return recv(fd, t->got, sizeof(t->got), MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void expect_l7(struct test *t, size_t n, uint32_t action, uint32_t reason, uint32_t protocol,
                      const char *text)
{
    SUITE_UNTIL(t->s, suite_claim_of(t->s, EVENT_L7, n) != NULL);
    struct suite_claim *c = suite_claim_of(t->s, EVENT_L7, n);
    assert_string_equal(enum_text(&enum_l7_reason, c->reason), enum_text(&enum_l7_reason, reason));
    assert_int_equal(c->action, action);
    assert_int_equal(c->protocol, protocol);
    assert_string_equal(c->text, text);
}

/* A first datagram that asks for this name. */
static void initial(struct buf *b, const char *dcid, const char *name)
{
    buf_done(b);
    buf_init(b, 65536);
    make_first_datagram(b, &(struct make_packet){.dcid = dcid}, &(struct make_hello){.name = name});
}

#define QUIC_ALLOWED "quic.example|quic.example:4433/quic|9.9.9.9:4433|127.0.0.1:4433"

/* ---- QUIC ---- */

static void relayed_both_ways(struct test *t, int c, int server)
{
    static char big[BIG_LEN];
    memset(big, 'x', sizeof(big));
    says(c, "\x40later", 6); /* a short header */
    expect(t, server, "\x40later", 6);
    answers_with(t, server, "answer", 6);
    expect(t, c, "answer", 6);
    answers_with(t, server, big, sizeof(big));
    expect(t, c, big, sizeof(big));
    answers_with(t, server, "", 0); /* a datagram may be empty */
    expect(t, c, "", 0);
}

static void test_quic_allowed(void **state)
{
    (void)state;
    struct test *t = START(quic_rules);
    _cleanup_(buf_done) struct buf b = {0};
    struct udp_counters n;
    int c = client(FAR);
    initial(&b, NULL, "quic.example");
    says(c, b.data, b.len);
    expect(t, t->server, b.data, b.len);
    expect_l7(t, 0, ACTION_ALLOW, L7_QUIC_ALLOWLIST_MATCH, L7_QUIC, QUIC_ALLOWED);
    relayed_both_ways(t, c, t->server);
    assert_int_equal(suite_count(t->s, EVENT_L7), 1);
    assert_int_equal(udp_open(udp_of(t)), 1);
    udp_counters(udp_of(t), &n);
    assert_int_equal(n.allowed, 1);
    assert_int_equal(n.packets_sent, 2);
    assert_int_equal(n.bytes_sent, b.len + 6);
    assert_int_equal(n.packets_received, 3);
    assert_int_equal(n.bytes_received, 6 + BIG_LEN);
    assert_int_equal(udp_rule_uses(udp_of(t), 0), 1);
    close(c);
    stop(t);
}

/* The client's address is IPv6: what comes back has its checksum; the server is dialed in the same family. */
static void test_quic_ipv6(void **state)
{
    (void)state;
    struct test *t = START(quic_rules);
    _cleanup_(buf_done) struct buf b = {0};
    int c = client(FAR6);
    initial(&b, NULL, "quic.example");
    says(c, b.data, b.len);
    expect(t, t->server6, b.data, b.len);
    expect_l7(t, 0, ACTION_ALLOW, L7_QUIC_ALLOWLIST_MATCH, L7_QUIC,
              "quic.example|quic.example:4433/quic|[2620:fe::9]:4433|[::1]:4433");
    relayed_both_ways(t, c, t->server6);
    close(c);
    stop(t);
}

/* One socket, two destinations: two flows, each answered by whom it spoke to. */
static void test_two_destinations(void **state)
{
    (void)state;
    struct test *t = START(quic_rules);
    _cleanup_(buf_done) struct buf b = {0};
    struct sockaddr_storage ss;
    struct endpoint_addr from;
    static const char *const to[] = {FAR, "9.9.9.10"};
    int c = net_socket(net_cell, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    initial(&b, NULL, "quic.example");
    for (size_t i = 0; i < 2; i++) {
        struct endpoint_addr e = net_addr(to[i], PORT);
        socklen_t len = addr_to_sockaddr(&e, &ss);
        assert_int_equal(sendto(c, b.data, b.len, 0, (struct sockaddr *)&ss, len), b.len);
        expect(t, t->server, b.data, b.len);
        answers_with(t, t->server, to[i], strlen(to[i]));
        expect(t, c, to[i], strlen(to[i]));
        assert_int_equal(addr_from_sockaddr((struct sockaddr *)&t->from, t->nfrom, &from), 0);
        assert_true(addr_eq(&from.addr, &e.addr));
        assert_int_equal(from.port, PORT);
    }
    assert_int_equal(udp_open(udp_of(t)), 2);
    close(c);
    stop(t);
}

static void test_evidence_before_effect(void **state)
{
    (void)state;
    struct test *t = START(quic_rules);
    _cleanup_(buf_done) struct buf b = {0};
    int c = client(FAR);
    t->s->hold = true;
    t->s->hold_type = EVENT_L7;
    initial(&b, NULL, "quic.example");
    says(c, b.data, b.len);
    says(c, "\x40second", 7);
    expect_l7(t, 0, ACTION_ALLOW, L7_QUIC_ALLOWLIST_MATCH, L7_QUIC, QUIC_ALLOWED);
    assert_true(silent(t, t->server));
    suite_release(t->s);
    expect(t, t->server, b.data, b.len);
    expect(t, t->server, "\x40second", 7);
    close(c);
    stop(t);
}

static void test_evidence_refused(void **state)
{
    (void)state;
    struct test *t = START(quic_rules);
    _cleanup_(buf_done) struct buf b = {0};
    int c = client(FAR);
    t->s->refuse = FAIL_NO_SPACE;
    initial(&b, NULL, "quic.example");
    says(c, b.data, b.len);
    expect_refused(t, c);
    expect_l7(t, 1, ACTION_DENY, L7_QUOTA, L7_QUIC, "quic.example||9.9.9.9:4433|127.0.0.1:4433");
    assert_true(silent(t, t->server));
    assert_int_equal(udp_open(udp_of(t)), 0);
    close(c);
    stop(t);
}

static void test_async(void **state)
{
    (void)state;
    struct test *t = start_with(policy_of(quic_rules, ARRAY_LEN(quic_rules), EVIDENCE_ASYNC), false);
    _cleanup_(buf_done) struct buf b = {0};
    int c = client(FAR);
    t->s->hold = true;
    initial(&b, NULL, "quic.example");
    says(c, b.data, b.len);
    expect(t, t->server, b.data, b.len);
    close(c);
    suite_release(t->s);
    stop(t);
}

/* The hello comes in two datagrams, the second one first. */
static void test_hello_in_parts(void **state)
{
    (void)state;
    struct test *t = START(quic_rules);
    _cleanup_(buf_done) struct buf hello = {0};
    struct buf frames[2] = {{0}}, b[2] = {{0}};
    int c = client(FAR);
    buf_init(&hello, 65536);
    make_hello(&hello, &(struct make_hello){.name = "quic.example", .filler = 1500});
    for (uint32_t i = 0; i < 2; i++) {
        size_t from = i == 0 ? 900 : 0, to = i == 0 ? hello.len : 900;
        buf_init(&frames[i], 65536);
        buf_init(&b[i], 65536);
        make_crypto(&frames[i], from, hello.data + from, to - from);
        make_initial(&b[i], &(struct make_packet){.pn = i, .pad = 1162}, frames[i].data, frames[i].len);
        says(c, b[i].data, b[i].len);
        if (i == 0)
            assert_true(silent(t, t->server));
        buf_done(&frames[i]);
    }
    expect(t, t->server, b[0].data, b[0].len);
    expect(t, t->server, b[1].data, b[1].len);
    assert_int_equal(suite_count(t->s, EVENT_L7), 1);
    buf_done(&b[0]);
    buf_done(&b[1]);
    close(c);
    stop(t);
}

static void test_hello_never_ends(void **state)
{
    (void)state;
    struct test *t = START(quic_rules);
    _cleanup_(buf_done) struct buf b = {0};
    int c = client(FAR);
    buf_init(&b, 65536);
    make_initial(&b, &(struct make_packet){.pad = 1162}, (const uint8_t *)"\6\0\1\1", 4);
    for (size_t i = 0; i < UDP_HELD_MAX + 4; i++)
        says(c, b.data, b.len);
    expect_refused(t, c); /* LIMIT_PEEK_MS later */
    expect_l7(t, 0, ACTION_DENY, L7_PEEK_TIMEOUT, L7_QUIC, "||9.9.9.9:4433|");
    assert_true(silent(t, t->server));
    close(c);
    stop(t);
}

static void test_quic_denied(void **state)
{
    (void)state;
    static const struct {
        struct make_hello h;
        uint32_t reason;
        const char *text;
    } cases[] = {
        {{.name = "evil.example"}, L7_QUIC_ALLOWLIST_MISS, "evil.example||9.9.9.9:4433|"},
        {{.name = NULL}, L7_SNI_MISSING, "||9.9.9.9:4433|"},
        {{.name = "9.9.9.9"}, L7_NAME_CONFLICT, "||9.9.9.9:4433|"},
        {{.name = "quic.example", .second = "evil.example"}, L7_NAME_CONFLICT, "||9.9.9.9:4433|"},
        {{.name = "quic.example\0.evil", .name_len = 18}, L7_NAME_CONFLICT, "||9.9.9.9:4433|"},
        {{.name = "private.example"}, L7_DESTINATION_DENIED, "private.example||9.9.9.9:4433|"},
        {{.name = "nowhere.example"},
         L7_UPSTREAM_UNREACHABLE,
         "nowhere.example||9.9.9.9:4433|93.184.216.34:4433"},
    };
    struct test *t = START(quic_rules);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_(buf_done) struct buf b = {0};
        int c = client(FAR);
        buf_init(&b, 65536);
        make_first_datagram(&b, &(struct make_packet){0}, &cases[i].h);
        says(c, b.data, b.len);
        expect_refused(t, c);
        expect_l7(t, i, ACTION_DENY, cases[i].reason, L7_QUIC, cases[i].text);
        close(c);
    }
    assert_true(silent(t, t->server));
    assert_int_equal(udp_open(udp_of(t)), 0);
    stop(t);
}

/* What has no state may be anything: also the short header of a connection that moved here. */
static void test_not_quic(void **state)
{
    (void)state;
    static const char *const texts[] = {"\x40short header", "GET / HTTP/1.1\r\n\r\n",
                                        "\xc0\x1a\x2a\x3a\x4a\x08", ""};
    struct test *t = START(quic_rules);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int c = client(FAR);
        says(c, texts[i], strlen(texts[i]));
        expect_refused(t, c);
        expect_l7(t, i, ACTION_DENY, L7_UNKNOWN_PROTOCOL, L7_UDP, "||9.9.9.9:4433|");
        close(c);
    }
    stop(t);
}

/* Behind an allowed flow's back: another name, a version nobody can read. The flow itself goes on. */
static void test_another_name_on_a_flow(void **state)
{
    (void)state;
    struct test *t = START(quic_rules);
    _cleanup_(buf_done) struct buf b = {0};
    int c = client(FAR);
    initial(&b, NULL, "quic.example");
    says(c, b.data, b.len);
    expect(t, t->server, b.data, b.len);
    initial(&b, "another id", "evil.example");
    says(c, b.data, b.len);
    expect_refused(t, c);
    expect_l7(t, 1, ACTION_DENY, L7_NAME_CONFLICT, L7_QUIC, "quic.example||9.9.9.9:4433|");
    says(c, "\xc0\x1a\x2a\x3a\x4a\x08", 6);
    expect_refused(t, c);
    initial(&b, "third id", "quic.example"); /* as after Retry */
    says(c, b.data, b.len);
    expect(t, t->server, b.data, b.len);
    says(c, "\x40go on", 6);
    expect(t, t->server, "\x40go on", 6);
    assert_true(silent(t, t->server));
    assert_int_equal(suite_count(t->s, EVENT_L7), 2); /* the second denial within the second is counted */
    close(c);
    stop(t);
}

/* Only rules for TCP: the log says all the same what was asked for. */
static void test_quic_without_a_rule(void **state)
{
    (void)state;
    struct test *t = START(tls_rules);
    _cleanup_(buf_done) struct buf b = {0};
    int c = client(FAR);
    initial(&b, NULL, "quic.example");
    says(c, b.data, b.len);
    expect_refused(t, c);
    expect_l7(t, 0, ACTION_DENY, L7_QUIC_ALLOWLIST_MISS, L7_QUIC, "quic.example||9.9.9.9:4433|");
    assert_int_equal(suite_count(t->s, EVENT_DNS_QUERY), 0);
    close(c);
    stop(t);
}

/* ---- raw ---- */

static void test_raw_literal(void **state)
{
    (void)state;
    static const struct {
        const char *to, *text;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1|127.0.0.1:4433/udp|127.0.0.1:4433|127.0.0.1:4433"},
        {"::1", "::1|[::1]:4433/udp|[::1]:4433|[::1]:4433"},
    };
    struct test *t = START(raw_rules);
    for (size_t i = 0; i < 2; i++) {
        int c = client(cases[i].to), server = i == 0 ? t->server : t->server6;
        says(c, "anything", 8);
        expect(t, server, "anything", 8);
        expect_l7(t, i, ACTION_ALLOW, L7_PINNED_ADDRESS_MATCH, L7_UDP, cases[i].text);
        relayed_both_ways(t, c, server);
        close(c);
    }
    stop(t);
}

/* An address that only a prefix covers is dialed when it is public, never when it is the host's. */
static void test_raw_prefix(void **state)
{
    (void)state;
    struct test *t = START(raw_rules);
    int c = client(FAR);
    says(c, "out", 3);
    expect_l7(t, 0, ACTION_ALLOW, L7_PINNED_ADDRESS_MATCH, L7_UDP,
              "9.9.9.9|9.0.0.0/8:4433/udp|9.9.9.9:4433|9.9.9.9:4433");
    close(c);
    c = client("10.1.2.3");
    says(c, "out", 3);
    expect_refused(t, c);
    expect_l7(t, 1, ACTION_DENY, L7_PINNED_ADDRESS_MISS, L7_UDP, "||10.1.2.3:4433|");
    close(c);
    stop(t);
}

/* The cell asks for a name; from then on its addresses may be spoken to. */
static void ask(struct test *t, const char *name, uint16_t type)
{
    _cleanup_(buf_done) struct buf q = {0};
    int c = net_connect(net_cell, SOCK_DGRAM, "127.0.0.1", 53);
    buf_init(&q, 512);
    buf_put(&q, "\x12\x34\1\0\0\1\0\0\0\0\0\0", 12);
    for (const char *p = name; *p;) {
        size_t n = strcspn(p, ".");
        buf_putc(&q, (uint8_t)n);
        buf_put(&q, p, n);
        p += n + (p[n] == '.');
    }
    buf_putc(&q, 0);
    buf_put_be16(&q, type);
    buf_put_be16(&q, 1);
    says(c, q.data, q.len);
    assert_true(hears(t, c) > 12);
    assert_int_equal(t->got[3] & 15, 0);
    close(c);
}

static void test_raw_name(void **state)
{
    (void)state;
    static const struct policy_egress rules[] = {RULE("raw.example", EGRESS_UDP)};
    struct test *t = START(rules);
    int c = client("127.0.0.1");
    says(c, "too early", 9);
    expect_refused(t, c);
    expect_l7(t, 0, ACTION_DENY, L7_PINNED_ADDRESS_MISS, L7_UDP, "||127.0.0.1:4433|");
    close(c);
    ask(t, "raw.example", 1);
    c = client("127.0.0.1");
    says(c, "now", 3);
    expect(t, t->server, "now", 3);
    expect_l7(t, 1, ACTION_ALLOW, L7_PINNED_ADDRESS_MATCH, L7_UDP,
              "raw.example|raw.example:4433/udp|127.0.0.1:4433|127.0.0.1:4433");
    relayed_both_ways(t, c, t->server);
    close(c);
    stop(t);
}

/* A raw rule allows whatever is said to the address, QUIC with any name too; a name decides where it can. */
static void test_raw_beside_quic(void **state)
{
    (void)state;
    struct test *t = START(both_rules);
    _cleanup_(buf_done) struct buf b = {0};
    static const char *const asked[] = {"evil.example", "quic.example"};
    for (size_t i = 0; i < 2; i++) {
        int c = client("127.0.0.1");
        initial(&b, NULL, asked[i]);
        says(c, b.data, b.len);
        expect(t, t->server, b.data, b.len);
        close(c);
    }
    expect_l7(t, 0, ACTION_ALLOW, L7_PINNED_ADDRESS_MATCH, L7_UDP,
              "127.0.0.1|127.0.0.1:4433/udp|127.0.0.1:4433|127.0.0.1:4433");
    expect_l7(t, 1, ACTION_ALLOW, L7_QUIC_ALLOWLIST_MATCH, L7_QUIC,
              "quic.example|quic.example:4433/quic|127.0.0.1:4433|127.0.0.1:4433");
    int c = client("127.0.0.1");
    says(c, "plain", 5);
    expect(t, t->server, "plain", 5);
    close(c);
    stop(t);
}

/* ---- errors, limits, changes ---- */

/* Nobody listens upstream: the client hears it as if it had spoken to the server itself. */
static void test_upstream_refuses(void **state)
{
    (void)state;
    struct test *t = START(raw_rules);
    static const char *const to[] = {"127.0.0.1", "::1"};
    close(t->server);
    close(t->server6);
    t->server = t->server6 = -EBADF;
    for (size_t i = 0; i < 2; i++) {
        int c = client(to[i]);
        says(c, "hello?", 6);
        expect_refused(t, c);
        says(c, "again?", 6);
        expect_refused(t, c);
        close(c);
    }
    assert_int_equal(suite_count(t->s, EVENT_L7), 2);
    stop(t);
}

/* Repeats of one denied flow: one event a second, the rest in the gap; each is answered. */
static void test_denials_collapse(void **state)
{
    (void)state;
    struct test *t = START(tls_rules);
    struct udp_counters n = {0};
    int c = client(FAR);
    for (int i = 0; i < 20; i++) {
        says(c, "x", 1);
        expect_refused(t, c);
    }
    SUITE_UNTIL(t->s, suite_count(t->s, EVENT_GAP) > 0);
    udp_counters(udp_of(t), &n);
    assert_int_equal(n.denied, 20);
    uint64_t lost = 0;
    for (size_t i = 0; i < suite_count(t->s, EVENT_GAP); i++)
        lost += suite_claim_of(t->s, EVENT_GAP, i)->lost;
    assert_int_equal(suite_count(t->s, EVENT_L7) + lost, 20);
    assert_true(suite_count(t->s, EVENT_L7) < 5);
    assert_string_equal(suite_claim_of(t->s, EVENT_GAP, 0)->text, "denial_rate");
    close(c);
    stop(t);
}

static void send_to(int fd, unsigned host)
{
    char text[32];
    struct sockaddr_storage ss;
    snprintf(text, sizeof(text), "9.1.%u.%u", host / 256, host % 256);
    struct endpoint_addr e = net_addr(text, PORT);
    socklen_t len = addr_to_sockaddr(&e, &ss);
    assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, len), 1);
}

static void test_flow_limit(void **state)
{
    (void)state;
    struct test *t = START(raw_rules);
    int c = net_socket(net_cell, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    for (unsigned i = 0; i < UDP_FLOWS_MAX; i++) {
        send_to(c, i);
        SUITE_UNTIL(t->s, udp_open(udp_of(t)) == i + 1);
    }
    struct udp_counters n;
    SUITE_UNTIL(t->s, (udp_counters(udp_of(t), &n), n.allowed == UDP_FLOWS_MAX));
    send_to(c, UDP_FLOWS_MAX);
    expect_l7(t, UDP_FLOWS_MAX, ACTION_DENY, L7_QUOTA, L7_UDP, "||9.1.4.0:4433|");
    assert_int_equal(udp_open(udp_of(t)), UDP_FLOWS_MAX);
    SUITE_UNTIL(t->s, suite_count(t->s, EVENT_GAP) > 0);
    assert_string_equal(suite_claim_of(t->s, EVENT_GAP, 0)->text, "l7_quota");
    close(c);
    stop(t);
}

static struct proxy_policy *compiled(struct policy doc)
{
    struct proxy_policy *p = NULL;
    suite_policy_complete(&doc);
    assert_int_equal(policy_compile(&doc, &p), 0);
    return p;
}

/* Narrowed while it runs: what no rule fits is cut, its client told; the rest goes on. */
static void test_policy_change(void **state)
{
    (void)state;
    struct test *t = START(both_rules);
    _cleanup_(buf_done) struct buf b = {0};
    struct proxy_policy *narrow = compiled(policy_of(both_rules + 1, 1, EVIDENCE_STRICT)),
                        *old = (struct proxy_policy *)t->s->proxy->cells->policy;
    int quic = client(FAR), raw = client("127.0.0.1");
    initial(&b, NULL, "quic.example");
    says(quic, b.data, b.len);
    expect(t, t->server, b.data, b.len);
    says(raw, "raw", 3);
    expect(t, t->server, "raw", 3);
    assert_int_equal(udp_policy_set(udp_of(t), narrow), 1);
    expect_refused(t, quic);
    expect_l7(t, 2, ACTION_DENY, L7_QUIC_ALLOWLIST_MISS, L7_QUIC, "quic.example||9.9.9.9:4433|");
    says(quic, "\x40more", 5);
    expect_refused(t, quic);
    says(raw, "more", 4);
    expect(t, t->server, "more", 4);
    assert_int_equal(udp_rule_uses(udp_of(t), 0), 1); /* of the raw rule, which keeps its count */
    assert_int_equal(udp_policy_set(udp_of(t), old), 0);
    policy_free(narrow);
    close(quic);
    close(raw);
    stop(t);
}

/* A byte quota ends a flow, and no other begins. */
static void test_byte_quota(void **state)
{
    (void)state;
    static const struct policy_quota quota = {.max_connections = 100, .max_bytes = OPT_UINT(1000)};
    struct policy doc = policy_of(raw_rules, ARRAY_LEN(raw_rules), EVIDENCE_STRICT);
    static char bytes[600];
    doc.quota = &quota;
    struct test *t = start_with(doc, false);
    int c = client("127.0.0.1");
    says(c, bytes, sizeof(bytes));
    expect(t, t->server, bytes, sizeof(bytes));
    answers_with(t, t->server, bytes, sizeof(bytes));
    expect_l7(t, 1, ACTION_DENY, L7_QUOTA, L7_UDP, "127.0.0.1||127.0.0.1:4433|");
    SUITE_UNTIL(t->s, udp_open(udp_of(t)) == 0);
    close(c);
    c = client("::1");
    says(c, "more", 4);
    expect_refused(t, c);
    expect_l7(t, 2, ACTION_DENY, L7_QUOTA, L7_UDP, "||[::1]:4433|");
    assert_true(silent(t, t->server6));
    close(c);
    stop(t);
}

/* Quotas count flows as connections. */
static void test_connection_quota(void **state)
{
    (void)state;
    static const struct policy_quota quota = {.max_connections = 1};
    struct policy doc = policy_of(raw_rules, ARRAY_LEN(raw_rules), EVIDENCE_STRICT);
    doc.quota = &quota;
    struct test *t = start_with(doc, false);
    int c = client("127.0.0.1"), d = client("::1");
    says(c, "one", 3);
    expect(t, t->server, "one", 3);
    says(d, "two", 3);
    expect_refused(t, d);
    expect_l7(t, 1, ACTION_DENY, L7_QUOTA, L7_UDP, "||[::1]:4433|");
    close(c);
    close(d);
    stop(t);
}

static void send_far(int fd, const void *p, size_t n)
{
    struct sockaddr_storage ss;
    struct endpoint_addr e = net_addr(FAR, PORT);
    socklen_t len = addr_to_sockaddr(&e, &ss);
    assert_int_equal(sendto(fd, p, n, 0, (struct sockaddr *)&ss, len), n);
}

static uint64_t gap_of(struct test *t, const char *cause)
{
    const struct suite_claim *c;
    uint64_t lost = 0;
    for (size_t i = 0; (c = suite_claim_of(t->s, EVENT_GAP, i)) != NULL; i++)
        if (strcmp(c->text, cause) == 0)
            lost += c->lost;
    return lost;
}

/* What the queue loses while nobody reads is in the gap, as soon as a further datagram finds room. */
static void test_queue_overflow(void **state)
{
    (void)state;
    enum { SENT = 2000 };
    struct test *t = START(tls_rules);
    static const char bytes[4096];
    struct udp_counters n;
    int c = net_socket(net_cell, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    for (int i = 0; i < SENT; i++)
        send_far(c, bytes, sizeof(bytes));
    SUITE_UNTIL(t->s, (udp_counters(udp_of(t), &n), n.denied > 0));
    uint64_t before = n.denied;
    suite_run(t->s, NULL, 20);
    send_far(c, "x", 1);
    SUITE_UNTIL(t->s, (udp_counters(udp_of(t), &n), n.denied > before));
    SUITE_UNTIL(t->s, (udp_counters(udp_of(t), &n), n.denied + gap_of(t, "udp_queue") == SENT + 1));
    assert_true(n.denied < SENT);
    close(c);
    stop(t);
}

/* What comes faster than the cell may receive waits, and then comes. */
static void test_rate_quota(void **state)
{
    (void)state;
    static const struct policy_quota quota = {.max_connections = 9, .max_bytes_per_second = OPT_UINT(1000)};
    struct policy doc = policy_of(raw_rules, ARRAY_LEN(raw_rules), EVIDENCE_STRICT);
    static char bytes[900];
    doc.quota = &quota;
    struct test *t = start_with(doc, false);
    int c = client("127.0.0.1");
    says(c, "go", 2);
    expect(t, t->server, "go", 2);
    for (int i = 0; i < 4; i++) {
        bytes[0] = (char)i;
        answers_with(t, t->server, bytes, sizeof(bytes));
        expect(t, c, bytes, sizeof(bytes));
    }
    assert_int_equal(suite_count(t->s, EVENT_L7), 1);
    close(c);
    stop(t);
}

/* Where everything has to go through the operator's proxy, no datagram goes around it. */
static void test_operators_proxy(void **state)
{
    (void)state;
    static const struct policy_upstream upstream = {UPSTREAM_PROXY_SOCKS5, STR_LIT("127.0.0.1:1080")};
    struct policy doc = policy_of(raw_rules, ARRAY_LEN(raw_rules), EVIDENCE_STRICT);
    doc.upstream = &upstream;
    struct test *t = start_with(doc, false);
    int c = client("127.0.0.1");
    says(c, "around", 6);
    expect_refused(t, c);
    expect_l7(t, 0, ACTION_DENY, L7_UPSTREAM_UNREACHABLE, L7_UDP, "127.0.0.1||127.0.0.1:4433|");
    assert_true(silent(t, t->server));
    close(c);
    stop(t);
}

/* Under the daemon's own system call list. */
static void test_confined(void **state)
{
    (void)state;
    struct test *t = start_with(policy_of(quic_rules, ARRAY_LEN(quic_rules), EVIDENCE_STRICT), true);
    _cleanup_(buf_done) struct buf b = {0};
    static const char *const to[] = {FAR, FAR6};
    for (size_t i = 0; i < 2; i++) {
        int c = client(to[i]), server = i == 0 ? t->server : t->server6;
        initial(&b, NULL, "quic.example");
        says(c, b.data, b.len);
        expect(t, server, b.data, b.len);
        relayed_both_ways(t, c, server);
        close(c);
    }
    stop(t);
}

/* ---- headers ---- */

static void test_checksum(void **state)
{
    (void)state;
    /* RFC 1071 section 3: 0001 f203 f4f5 f6f7 sum up to ddf2 */
    static const uint8_t words[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    uint8_t header[IP_HEADER_MAX + UDP_HEADER_LEN], bytes[1501];
    assert_int_equal(ip_fold(ip_sum(0, words, sizeof(words))), (uint16_t)~0xddf2);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + 250);
    struct endpoint_addr a = net_addr("2001:db8::1", 443), b = net_addr("fd00:ce11::2", 50000);
    for (size_t n = 0; n <= sizeof(bytes); n += 37) {
        assert_int_equal(ip_udp_headers(&a, &b, bytes, n, header), 48);
        /* The receiver's sum over everything and the pseudo-header is zero. */
        uint32_t sum = (uint32_t)(8 + n) + IPPROTO_UDP;
        for (size_t i = 8; i < 48; i++)
            sum += (uint32_t)header[i] << (i % 2 ? 0 : 8);
        for (size_t i = 0; i < n; i++)
            sum += (uint32_t)bytes[i] << (i % 2 ? 0 : 8);
        assert_int_equal(ip_fold(sum), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_checksum),
        NET_TEST(test_quic_allowed),
        NET_TEST(test_quic_ipv6),
        NET_TEST(test_two_destinations),
        NET_TEST(test_evidence_before_effect),
        NET_TEST(test_evidence_refused),
        NET_TEST(test_async),
        NET_TEST(test_hello_in_parts),
        NET_TEST(test_hello_never_ends),
        NET_TEST(test_quic_denied),
        NET_TEST(test_not_quic),
        NET_TEST(test_another_name_on_a_flow),
        NET_TEST(test_quic_without_a_rule),
        NET_TEST(test_raw_literal),
        NET_TEST(test_raw_prefix),
        NET_TEST(test_raw_name),
        NET_TEST(test_raw_beside_quic),
        NET_TEST(test_upstream_refuses),
        NET_TEST(test_denials_collapse),
        NET_TEST(test_flow_limit),
        NET_TEST(test_policy_change),
        NET_TEST(test_byte_quota),
        NET_TEST(test_connection_quota),
        NET_TEST(test_queue_overflow),
        NET_TEST(test_rate_quota),
        NET_TEST(test_operators_proxy),
        NET_TEST(test_confined),
    };

    net_setup();
    /* Somewhere to send to: the host routes a public prefix to where nobody answers. */
    net_command("ip route add 9.0.0.0/8 dev lo");
    if (digest_init() < 0)
        return 1;
    hostaddr_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
