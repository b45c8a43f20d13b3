/* SPDX-License-Identifier: MIT */
/* The compiled policy, the order of judgement, and the check of what is dialed. */
#include "tests/unit/proxyd_net.h"

#include "proto/codec.h"
#include "proxyd/dial.h"
#include "proxyd/hostaddr.h"
#include "proxyd/judge.h"

static struct str s(const char *t)
{
    return str_of(t);
}

#define RULE(host, lo, hi, protocol)                                                                         \
    {                                                                                                        \
        STR_LIT(host), lo, hi, protocol                                                                      \
    }

static const struct policy_egress egress[] = {
    RULE("www.example", 443, 443, EGRESS_TLS),      RULE("*.wild.example", 8000, 8100, EGRESS_ANY),
    RULE("plain.example", 80, 80, EGRESS_HTTP),     RULE("192.0.2.7", 443, 443, EGRESS_ANY),
    RULE("198.51.100.0/24", 80, 8080, EGRESS_HTTP), RULE("2001:db8::7", 443, 443, EGRESS_TLS),
    RULE("10.1.2.3", 80, 80, EGRESS_HTTP),          RULE("169.254.169.254", 80, 80, EGRESS_HTTP),
};

static struct policy base(void)
{
    static const struct policy_quota quota = {.max_connections = LIMIT_TCP_OPEN};
    struct policy p = {
        .evidence = EVIDENCE_STRICT, .mode = NET_MODE_INTERCEPT, .answer_mode = ANSWER_REAL, .quota = &quota};
    p.egress.v = egress;
    p.egress.n = ARRAY_LEN(egress);
    return p;
}

static struct proxy_policy *compiled(void)
{
    static const struct policy_answer answers[] = {
        {STR_LIT("www.example"), STR_LIT("127.0.0.0/8")},
        {STR_LIT("*.wild.example"), STR_LIT("8.8.4.4")},
        {STR_LIT("www.example"), STR_LIT("169.254.169.254")},
    };
    struct proxy_policy *p = NULL;
    struct policy doc = base();
    doc.answers.v = answers;
    doc.answers.n = ARRAY_LEN(answers);
    assert_int_equal(policy_compile(&doc, &p), 0);
    return p;
}

/* ---- compile ---- */

static void test_compile(void **state)
{
    static const struct str names[] = {STR_LIT("www.example"), STR_LIT("*.wild.example")};
    static const struct str types[] = {STR_LIT("A"), STR_LIT("HTTPS")};
    static const struct policy_resolver resolvers[] = {
        {.resolver_id = STR_LIT("one"), .protocol = RESOLVER_DO53_UDP, .endpoint = STR_LIT("127.0.0.1:5353")},
        {.resolver_id = STR_LIT("two"),
         .protocol = RESOLVER_DO53_TCP,
         .endpoint = STR_LIT("[2001:db8::1]:53")},
    };
    struct proxy_policy *p = NULL;
    struct policy doc = base();
    char text[POLICY_RULE_TEXT_MAX];

    (void)state;
    doc.dns_names = (struct strs){names, 2};
    doc.query_types = (struct strs){types, 2};
    doc.resolvers.v = resolvers;
    doc.resolvers.n = 2;
    assert_int_equal(policy_compile(&doc, &p), 0);
    assert_int_equal(p->allow.n, ARRAY_LEN(egress));
    assert_int_equal(p->dns.nnames, 2);
    assert_string_equal(p->dns.names[1].text, "*.wild.example");
    assert_int_equal(p->dns.nqtypes, 2);
    assert_int_equal(p->dns.qtypes[1], 65);
    assert_string_equal(p->dns.resolvers[1].id, "two");
    assert_int_equal(p->dns.resolvers[1].protocol, RESOLVER_DO53_TCP);
    assert_int_equal(p->dns.resolvers[0].addr.port, 5353);
    assert_string_equal(policy_rule_text(&p->allow.rules[0], text), "www.example:443/tls");
    assert_string_equal(policy_rule_text(&p->allow.rules[1], text), "*.wild.example:8000-8100/any");
    assert_string_equal(policy_rule_text(&p->allow.rules[4], text), "198.51.100.0/24:80-8080/http");
    assert_string_equal(policy_rule_text(&p->allow.rules[5], text), "[2001:db8::7]:443/tls");
    p = policy_free(p);
    assert_null(p);
}

static void test_compile_resolvers(void **state)
{
    static const struct str boot[] = {STR_LIT("192.0.2.53"), STR_LIT("[2001:db8::53]:5353")};
    static const struct policy_resolver resolvers[] = {
        {.resolver_id = STR_LIT("dot"),
         .protocol = RESOLVER_DOT,
         .endpoint = STR_LIT("192.0.2.1"),
         .tls_server_name = STR_LIT("DNS.example"),
         .dnssec_validate = true,
         .dnssec_fail_closed = true,
         .trust_anchors = STR_LIT("example. IN DS 1 13 2 00")},
        {.resolver_id = STR_LIT("doh"),
         .protocol = RESOLVER_DOH,
         .url = STR_LIT("https://dns.example:8443/dns-query"),
         .dnssec_validate = true},
    };
    struct proxy_policy *p = NULL;
    struct policy doc = base();

    (void)state;
    doc.resolvers.v = resolvers;
    doc.resolvers.n = 2;
    doc.bootstrap = (struct strs){boot, 2};
    assert_int_equal(policy_compile(&doc, &p), 0);
    const struct dns_resolver *r = p->dns.resolvers;
    assert_int_equal(r[0].addr.port, 853);
    assert_string_equal(r[0].tls_name, "dns.example");
    assert_true(r[0].validate && r[0].fail_closed);
    assert_int_equal(r[0].trust_anchors.len, strlen("example. IN DS 1 13 2 00"));
    assert_ptr_not_equal(r[0].trust_anchors.p, resolvers[0].trust_anchors.p); /* the document goes away */
    assert_memory_equal(r[0].trust_anchors.p, "example.", 8);
    assert_int_equal(r[1].addr.addr.family, AF_UNSPEC);
    assert_string_equal(r[1].url.host, "dns.example");
    assert_int_equal(r[1].url.port, 8443);
    assert_int_equal(r[1].trust_anchors.len, 0);
    assert_int_equal(p->dns.nbootstrap, 2);
    assert_int_equal(p->dns.bootstrap[0].port, 53);
    assert_int_equal(p->dns.bootstrap[1].port, 5353);
    policy_free(p);
}

static void refuse(const struct policy *doc)
{
    struct proxy_policy *p = NULL;
    assert_int_equal(policy_compile(doc, &p), -EINVAL);
    assert_null(p);
}

static void test_compile_refuses(void **state)
{
    static const struct policy_egress bad[] = {
        RULE("", 1, 2, EGRESS_TLS),           RULE("a b", 1, 2, EGRESS_TLS),
        RULE("a.example", 0, 2, EGRESS_TLS),  RULE("a.example", 3, 2, EGRESS_TLS),
        RULE("10.0.0.1/8", 1, 2, EGRESS_TLS), RULE("a.*.example", 1, 2, EGRESS_TLS),
        RULE("a.example", 1, 2, 0),
    };
    static const struct str bad_name[] = {STR_LIT("a..example")}, bad_type[] = {STR_LIT("NOPE")};
    static const struct policy_resolver bad_resolvers[] = {
        {.resolver_id = STR_LIT("doq"), .protocol = RESOLVER_DOQ, .endpoint = STR_LIT("192.0.2.1:853")},
        {.resolver_id = STR_LIT("no address"), .protocol = RESOLVER_DOT},
        {.resolver_id = STR_LIT("no url"), .protocol = RESOLVER_DOH, .endpoint = STR_LIT("192.0.2.1:443")},
        {.resolver_id = STR_LIT("no https"), .protocol = RESOLVER_DOH, .url = STR_LIT("http://a.example/")},
        {.resolver_id = STR_LIT("plain with a name"),
         .protocol = RESOLVER_DO53_TCP,
         .endpoint = STR_LIT("192.0.2.1"),
         .tls_server_name = STR_LIT("a.example")},
        {.resolver_id = STR_LIT("no name"),
         .protocol = RESOLVER_DOT,
         .endpoint = STR_LIT("192.0.2.1"),
         .tls_server_name = STR_LIT("a b")},
        {.resolver_id = STR_LIT("closed about nothing"),
         .protocol = RESOLVER_DOT,
         .endpoint = STR_LIT("192.0.2.1"),
         .dnssec_fail_closed = true},
        {.resolver_id = STR_LIT("no anchor"),
         .protocol = RESOLVER_DOT,
         .endpoint = STR_LIT("192.0.2.1"),
         .dnssec_validate = true,
         .trust_anchors = STR_LIT("$INCLUDE /etc/passwd")},
    };
    static const struct policy_resolver named[] = {
        {.resolver_id = STR_LIT("x"), .protocol = RESOLVER_DO53_UDP, .endpoint = STR_LIT("dns.example:53")}};
    static const struct policy_answer answer[] = {{STR_LIT("a.example"), STR_LIT("10.0.0.1/8")}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct policy doc = base();
        doc.egress.v = &bad[i];
        doc.egress.n = 1;
        refuse(&doc);
    }
    struct policy doc = base();
    doc.dns_names = (struct strs){bad_name, 1};
    refuse(&doc);
    doc = base();
    doc.query_types = (struct strs){bad_type, 1};
    refuse(&doc);
    doc = base();
    doc.resolvers.n = 1;
    for (size_t i = 0; i < ARRAY_LEN(bad_resolvers); i++) {
        doc.resolvers.v = &bad_resolvers[i];
        refuse(&doc);
    }
    doc.resolvers.v = named;
    refuse(&doc);
    doc = base();
    doc.answers.v = answer;
    doc.answers.n = 1;
    refuse(&doc);
}

/* ---- judgement ---- */

static void test_destination(void **state)
{
    static const struct {
        const char *to;
        uint16_t port;
        const char *from;
        int decided;
        uint32_t reason;
    } rows[] = {
        {"93.184.216.34", 443, "10.88.0.2", JUDGE_MORE, 0},
        {"127.0.0.1", 443, "127.0.0.1", JUDGE_MORE, 0}, /* loopback without a server of its own */
        {"::1", 443, "::1", JUDGE_MORE, 0},
        {"169.254.169.254", 443, "10.88.0.2", JUDGE_MORE, 0}, /* by name only: nothing there is dialed */
        {"10.88.0.2", 443, "10.88.0.2", JUDGE_DECIDED, L7_DESTINATION_DENIED},
        {"fd00:ce11::2", 443, "fd00:ce11::2", JUDGE_DECIDED, L7_DESTINATION_DENIED},
        {"224.0.0.1", 443, "10.88.0.2", JUDGE_DECIDED, L7_DESTINATION_DENIED},
        {"ff02::1", 443, "fd00:ce11::2", JUDGE_DECIDED, L7_DESTINATION_DENIED},
        {"0.0.0.0", 443, "10.88.0.2", JUDGE_DECIDED, L7_DESTINATION_DENIED},
        {"::", 443, "fd00:ce11::2", JUDGE_DECIDED, L7_DESTINATION_DENIED},
        {"224.0.0.1", 22, "10.88.0.2", JUDGE_DECIDED,
         L7_DESTINATION_DENIED}, /* the destination comes first */
        {"93.184.216.34", 22, "10.88.0.2", JUDGE_DECIDED, L7_PORT_DENIED},
        {"93.184.216.34", 8101, "10.88.0.2", JUDGE_DECIDED, L7_PORT_DENIED},
        {"93.184.216.34", 8100, "10.88.0.2", JUDGE_MORE, 0},
    };
    struct proxy_policy *p = compiled();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct endpoint_addr to = net_addr(rows[i].to, rows[i].port), from = net_addr(rows[i].from, 0);
        struct judgement j;
        assert_int_equal(judge_destination(p, &to, &from.addr, &j), rows[i].decided);
        assert_int_equal(j.reason, rows[i].reason);
        assert_false(j.allow);
        assert_int_equal(j.protocol, L7_UNKNOWN);
    }
    policy_free(p);
}

static void hello_read(const char *name, struct buf *b)
{
    char path[128];
    snprintf(path, sizeof(path), "tests/fuzz/corpus/client_hello/%s", name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    buf_init(b, 1 << 16);
    uint8_t *p = buf_reserve(b, 8192);
    ssize_t n = read(fd, p, 8192);
    assert_true(n > 0);
    b->len = (size_t)n;
}

static struct judgement judge_hello(const struct policy_egress *rule, const char *to, uint16_t port,
                                    const char *file)
{
    struct endpoint_addr original = net_addr(to, port);
    _cleanup_(buf_done) struct buf b = {0};
    struct proxy_policy *p = NULL;
    struct client_hello_reader f = {0};
    struct judgement j = {0};
    struct policy doc = base();
    doc.egress.v = rule;
    doc.egress.n = 1;
    assert_int_equal(policy_compile(&doc, &p), 0);
    hello_read(file, &b);
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(judge_tls(p, &original, &f, b.data, n, &j), JUDGE_MORE);
    assert_int_equal(judge_tls(p, &original, &f, b.data, b.len, &j), JUDGE_DECIDED);
    assert_int_equal(j.protocol, L7_TLS);
    policy_free(p);
    return j;
}

static void test_tls(void **state)
{
    static const struct policy_egress name = RULE("curl.example.test", 443, 443, EGRESS_TLS),
                                      http = RULE("curl.example.test", 443, 443, EGRESS_HTTP),
                                      any = RULE("*.example.test", 443, 443, EGRESS_ANY),
                                      literal = RULE("192.0.2.7", 443, 443, EGRESS_TLS);
    struct judgement j;

    (void)state;
    j = judge_hello(&name, "93.184.216.34", 443, "curl");
    assert_int_equal(j.reason, L7_SNI_ALLOWLIST_MATCH);
    assert_true(j.allow);
    assert_int_equal(j.rule, 0);
    assert_string_equal(j.name.text, "curl.example.test");
    j = judge_hello(&name, "93.184.216.34", 8443, "curl");
    assert_int_equal(j.reason, L7_SNI_ALLOWLIST_MISS);
    j = judge_hello(&http, "93.184.216.34", 443, "curl");
    assert_int_equal(j.reason, L7_SNI_ALLOWLIST_MISS);
    j = judge_hello(&any, "93.184.216.34", 443, "python_ssl");
    assert_int_equal(j.reason, L7_SNI_ALLOWLIST_MATCH);
    j = judge_hello(&any, "93.184.216.34", 443, "openssl_tls13"); /* example.test itself */
    assert_int_equal(j.reason, L7_SNI_ALLOWLIST_MISS);
    assert_string_equal(j.name.text, "example.test");
    j = judge_hello(&any, "93.184.216.34", 443, "openssl_no_name");
    assert_int_equal(j.reason, L7_SNI_MISSING);
    assert_false(j.allow);
    j = judge_hello(&literal, "192.0.2.7", 443, "curl_literal");
    assert_int_equal(j.reason, L7_PINNED_ADDRESS_MATCH);
    assert_true(j.allow && j.literal);
    j = judge_hello(&literal, "192.0.2.8", 443, "curl_literal");
    assert_int_equal(j.reason, L7_SNI_MISSING);
    j = judge_hello(&literal, "192.0.2.7", 443, "curl"); /* a name that no rule has, at an allowed address */
    assert_int_equal(j.reason, L7_SNI_ALLOWLIST_MISS);
}

static void test_no_more(void **state)
{
    struct judgement j;

    (void)state;
    judge_no_more(false, true, &j);
    assert_int_equal(j.reason, L7_PEEK_TIMEOUT);
    assert_int_equal(j.protocol, L7_UNKNOWN);
    judge_no_more(true, false, &j);
    assert_int_equal(j.reason, L7_UNKNOWN_PROTOCOL);
    assert_int_equal(j.protocol, L7_TLS);
    assert_false(j.allow);
}

/* ---- dial ---- */

static void test_host_addresses(void **state)
{
    static const struct {
        const char *a;
        bool local;
    } rows[] = {
        {"127.0.0.1", true},
        {"127.9.9.9", true},
        {"::1", true},
        {"8.8.4.4", true},
        {"8.8.8.8", false},
        {"2a00::4", true},
        {"2a00::5", false},
        {"0.0.0.0", true},
        {"::", true},
        {"::ffff:8.8.4.4", true},
        {"64:ff9b::808:404", true},
        {"64:ff9b::808:808", false},
        {"2002:808:404::1", true},
        {"2001:0:808:404::f7f7:f7f7", true} /* Teredo: server 8.8.4.4 */,
        {"2001:0:909:909::f7f7:fbfb", true} /* client 8.8.4.4, inverted */,
        {"2001:0:909:909::f7f7:f7f7", false},
    };

    (void)state;
    hostaddr_init();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct endpoint_addr e = net_addr(rows[i].a, 0);
        if (hostaddr_is_local(&e.addr) != rows[i].local)
            fail_msg("%s", rows[i].a);
    }
}

/* With this setting bind(2) succeeds for every address; the routes still tell. */
static void test_host_addresses_nonlocal_bind(void **state)
{
    struct endpoint_addr mine = net_addr("8.8.4.4", 0), other = net_addr("8.8.8.8", 0);

    (void)state;
    net_command("sysctl -qw net.ipv4.ip_nonlocal_bind=1");
    assert_true(hostaddr_is_local(&other.addr)); /* the mistake that hostaddr_init finds out */
    hostaddr_init();
    assert_true(hostaddr_is_local(&mine.addr));
    assert_false(hostaddr_is_local(&other.addr));
    net_command("sysctl -qw net.ipv4.ip_nonlocal_bind=0");
    hostaddr_init();
    assert_false(hostaddr_is_local(&other.addr));
}

static void test_permitted(void **state)
{
    static const struct {
        const char *name, *addr;
        bool ok;
    } rows[] = {
        {"www.example", "93.184.216.34", true},
        {"www.example", "2606:2800:220:1::1", true},
        {"www.example", "127.0.0.1", true}, /* listed */
        {"plain.example", "127.0.0.1", false},
        {"www.example", "10.0.0.1", false},
        {"www.example", "192.0.2.1", false},
        {"www.example", "169.254.169.254", false}, /* listed, in vain */
        {"www.example", "fd00:ec2::254", false},
        {"www.example", "0.0.0.0", false},
        {"www.example", "224.0.0.1", false},
        {"www.example", "::ffff:10.0.0.1", false},
        {"www.example", "8.8.4.4", false}, /* global, but the host's own */
        {"www.example", "2a00::4", false},
        {"a.wild.example", "8.8.4.4", true}, /* listed */
        {"www.example", "64:ff9b::808:404", false},
        {"www.example", "64:ff9b::808:808", true},
    };
    struct proxy_policy *p = compiled();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct endpoint_addr e = net_addr(rows[i].addr, 443);
        struct judgement j = {.allow = true, .rule = 0};
        assert_int_equal(name_parse(s(rows[i].name), NAME_HOST, &j.name), NAME_OK);
        if (dial_permitted(p, &j, &e.addr) != rows[i].ok)
            fail_msg("%s at %s", rows[i].name, rows[i].addr);
        j.allow = false;
        assert_false(dial_permitted(p, &j, &e.addr));
    }
    policy_free(p);
}

static void test_permitted_literal(void **state)
{
    static const struct {
        ssize_t rule;
        const char *addr;
        bool ok;
    } rows[] = {
        {3, "192.0.2.7", true},     /* reserved, but named exactly */
        {4, "198.51.100.9", false}, /* a prefix does not lift what is inside */
        {6, "10.1.2.3", true},
        {7, "169.254.169.254", false},
    };
    struct proxy_policy *p = compiled();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct endpoint_addr e = net_addr(rows[i].addr, 443);
        struct judgement j = {.allow = true, .rule = rows[i].rule, .literal = true};
        if (dial_permitted(p, &j, &e.addr) != rows[i].ok)
            fail_msg("%s", rows[i].addr);
    }
    policy_free(p);
}

/* ---- one attempt ---- */

struct attempt {
    struct ev_loop *loop;
    int err, fd;
    unsigned calls;
};

static void on_dialed(void *self, int err, int fd)
{
    struct attempt *a = self;
    a->err = err;
    a->fd = fd;
    a->calls++;
    ev_break(a->loop, EVBREAK_ALL);
}

static void test_dial(void **state)
{
    struct attempt a = {.loop = ev_loop_new(EVFLAG_AUTO), .fd = -EBADF};
    struct dial d = {.fd = -EBADF};
    _cleanup_close_ int server = net_server(SOCK_STREAM, "127.0.0.1", 0);
    struct endpoint_addr to = net_addr("127.0.0.1", net_port(server));

    (void)state;
    assert_int_equal(dial_start(&d, a.loop, &to, on_dialed, &a), 0);
    ev_run(a.loop, 0);
    assert_int_equal(a.err, 0);
    assert_true(a.fd >= 0);
    close(a.fd);
    close(TAKE_FD(server));

    int r = dial_start(&d, a.loop, &to, on_dialed, &a); /* refused */
    if (r == 0) {
        ev_run(a.loop, 0);
        r = a.err;
        assert_int_equal(a.fd, -EBADF);
    }
    assert_int_equal(r, -ECONNREFUSED);

    /* A full backlog swallows connections: nothing comes until it is given up. */
    int full = net_server(SOCK_STREAM, "127.0.0.1", 0);
    assert_int_equal(listen(full, 0), 0);
    to.port = net_port(full);
    int filler[4];
    for (size_t i = 0; i < ARRAY_LEN(filler); i++)
        filler[i] = net_connect(net_host, SOCK_STREAM, "127.0.0.1", to.port);
    unsigned before = a.calls;
    assert_int_equal(dial_start(&d, a.loop, &to, on_dialed, &a), 0);
    dial_stop(&d);
    ev_run(a.loop, 0); /* nothing is left in the loop */
    assert_int_equal(a.calls, before);
    for (size_t i = 0; i < ARRAY_LEN(filler); i++)
        close(filler[i]);
    close(full);
    ev_loop_destroy(a.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compile),
        cmocka_unit_test(test_compile_resolvers),
        cmocka_unit_test(test_compile_refuses),
        cmocka_unit_test(test_destination),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_no_more),
        cmocka_unit_test(test_host_addresses),
        cmocka_unit_test(test_host_addresses_nonlocal_bind),
        cmocka_unit_test(test_permitted),
        cmocka_unit_test(test_permitted_literal),
        cmocka_unit_test(test_dial),
    };
    net_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
