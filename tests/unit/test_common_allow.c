/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/base/clock.h"
#include "common/net/allow.h"

static void add(struct allow_list *l, const char *host, const char *port, const char *protocol)
{
    struct allow_rule rule;
    int e = allow_rule_parse_host(str_of(host), &rule);
    if (e == 0 && port)
        e = allow_port_parse(str_of(port), &rule.port_lo, &rule.port_hi);
    if (e == 0 && protocol)
        e = allow_protocol_parse(str_of(protocol), &rule.protocol);
    if (e != 0)
        fail_msg("%s:%s/%s %s", host, port, protocol, allow_error_text(e));
    assert_int_equal(allow_list_add(l, &rule), 0);
}

static struct name host(const char *s)
{
    struct name n;
    assert_int_equal(name_parse(str_of(s), NAME_DNS, &n), 0);
    return n;
}

static long find(const struct allow_list *l, const char *name, uint16_t port, enum allow_protocol p)
{
    struct name n = host(name);
    return (long)allow_find_name(l, &n, port, p);
}

static long find_addr(const struct allow_list *l, const char *text, uint16_t port, enum allow_protocol p)
{
    struct addr a;
    assert_int_equal(addr_parse(str_of(text), &a), 0);
    return (long)allow_find_addr(l, &a, port, p);
}

static bool listed(const struct allow_list *l, const char *name)
{
    struct name n = host(name);
    return allow_name_listed(l, &n);
}

static void empty_matches_nothing(void **st)
{
    (void)st;
    struct allow_list l = {0};
    for (unsigned p = ALLOW_ANY; p < _ALLOW_PROTOCOL_MAX; p++) {
        assert_int_equal(find(&l, "example.org", 443, (enum allow_protocol)p), -1);
        assert_int_equal(find_addr(&l, "1.2.3.4", 443, (enum allow_protocol)p), -1);
    }
    assert_false(allow_has_port(&l, 443));
    assert_false(listed(&l, "example.org"));
    allow_list_done(&l);
}

static void hosts(void **st)
{
    (void)st;
    static const struct {
        const char *in;
        int error;
    } bad[] = {
        {"", NAME_E_EMPTY},
        {"https://example.org/", ALLOW_E_URL},
        {"example.org:443", ALLOW_E_HOST},
        {"1.2.3.4:443", ALLOW_E_HOST},
        {"[::1]:443", ALLOW_E_HOST},
        {"::1::", ALLOW_E_HOST},
        {"fe80::1%lo", ALLOW_E_HOST},
        {"[", NAME_E_CHARACTER},
        {"[]", NAME_E_CHARACTER},
        {"[:]", ALLOW_E_HOST},
        {"[1.2.3.4]", NAME_E_CHARACTER},
        {"10.0.0.1/8", ALLOW_E_PREFIX},
        {"10.0.0.0/33", ALLOW_E_PREFIX},
        {"example.org/8", ALLOW_E_PREFIX},
        {"/", ALLOW_E_PREFIX},
        {"[2001:db8::]/32", ALLOW_E_PREFIX},
        {"::ffff:1.2.3.4", ALLOW_E_MAPPED},
        {"::ffff:0:0/96", ALLOW_E_MAPPED},
        {"::ffff:10.0.0.0/104", ALLOW_E_MAPPED},
        {"1.2.3.400", NAME_E_ADDRESS},
        {"127.1", NAME_E_ADDRESS},
        {"*", NAME_E_WILDCARD},
        {"*.com", NAME_E_WILDCARD},
        {"a.*.example.org", NAME_E_WILDCARD},
        {"b\xc3\xbc"
         "cher.example",
         NAME_E_NOT_ASCII},
        {"under_score.example", NAME_E_CHARACTER},
    };
    struct allow_rule rule = {.port_lo = 99};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int e = allow_rule_parse_host(str_of(bad[i].in), &rule);
        if (e != bad[i].error)
            fail_msg("%s: %d (%s)", bad[i].in, e, allow_error_text(e));
    }
    assert_int_equal(allow_rule_parse_host(STR_NONE, &rule), NAME_E_EMPTY);
    assert_int_equal(allow_rule_parse_host((struct str){"1.2.3.4\0", 8}, &rule), NAME_E_CHARACTER);
    assert_int_equal(rule.port_lo, 99);

    assert_int_equal(allow_rule_parse_host(STR_LIT("*.Example.ORG."), &rule), 0);
    assert_false(rule.is_addr);
    assert_string_equal(rule.name.text, "*.example.org");
    assert_int_equal(rule.port_lo, 1);
    assert_int_equal(rule.port_hi, 65535);
    assert_int_equal(rule.protocol, ALLOW_ANY);
    static const char *const addrs[] = {"1.2.3.4",       "10.0.0.0/8",      "::1", "[::1]",
                                        "2001:db8::/32", "[2001:db8::/32]", "::/0"};
    for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
        assert_int_equal(allow_rule_parse_host(str_of(addrs[i]), &rule), 0);
        assert_true(rule.is_addr);
    }
}

static void ports(void **st)
{
    (void)st;
    static const char *const bad[] = {"",      "0",  "65536", "-", "1-",      "-1",  "1--2",
                                      "1-2-3", "01", "1 - 2", "a", "443/tcp", "0-5", "5-65536"};
    uint16_t lo = 7, hi = 8;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (allow_port_parse(str_of(bad[i]), &lo, &hi) != ALLOW_E_PORT)
            fail_msg("%s", bad[i]);
    assert_int_equal(allow_port_parse(STR_NONE, &lo, &hi), ALLOW_E_PORT);
    assert_int_equal(allow_port_parse(STR_LIT("2-1"), &lo, &hi), ALLOW_E_PORT_RANGE);
    assert_int_equal(lo, 7);
    assert_int_equal(hi, 8);
    assert_int_equal(allow_port_parse(STR_LIT("443"), &lo, &hi), 0);
    assert_true(lo == 443 && hi == 443);
    assert_int_equal(allow_port_parse(STR_LIT("1-65535"), &lo, &hi), 0);
    assert_true(lo == 1 && hi == 65535);
    assert_int_equal(allow_port_parse(STR_LIT("80-80"), &lo, &hi), 0);
    assert_true(lo == 80 && hi == 80);
}

static void protocols(void **st)
{
    (void)st;
    enum allow_protocol p = ALLOW_ANY, q;
    assert_int_equal(allow_protocol_parse(STR_LIT("https"), &p), 0);
    assert_int_equal(p, ALLOW_TLS);
    for (unsigned i = ALLOW_TLS; i < _ALLOW_PROTOCOL_MAX; i++) {
        assert_int_equal(allow_protocol_parse(str_of(allow_protocol_name((enum allow_protocol)i)), &q), 0);
        assert_int_equal(q, i);
    }
    static const char *const bad[] = {"", "any", "TLS", "tls ", "ftp", "tc"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(allow_protocol_parse(str_of(bad[i]), &q), ALLOW_E_PROTOCOL);
    assert_string_equal(allow_protocol_name(ALLOW_ANY), "any");
    assert_string_equal(allow_protocol_name(_ALLOW_PROTOCOL_MAX), "unknown");
}

static void names(void **st)
{
    (void)st;
    struct allow_list l = {0};
    add(&l, "example.org", "443", NULL);
    add(&l, "*.example.org", "8000-8100", "tls");
    add(&l, "example.org", "443-444", NULL);
    add(&l, "10.0.0.0/8", "25", "tcp");
    assert_int_equal(find(&l, "example.org", 443, ALLOW_TLS), 0); /* the first of two that match */
    assert_int_equal(find(&l, "Example.ORG.", 444, ALLOW_HTTP), 2);
    assert_int_equal(find(&l, "example.org", 442, ALLOW_TLS), -1);
    assert_int_equal(find(&l, "example.org", 445, ALLOW_TLS), -1);
    assert_int_equal(find(&l, "example.com", 443, ALLOW_TLS), -1);
    assert_int_equal(find(&l, "www.example.org", 443, ALLOW_TLS), -1);
    assert_int_equal(find(&l, "www.example.org", 7999, ALLOW_TLS), -1);
    assert_int_equal(find(&l, "www.example.org", 8000, ALLOW_TLS), 1);
    assert_int_equal(find(&l, "a.b.example.org", 8100, ALLOW_TLS), 1);
    assert_int_equal(find(&l, "www.example.org", 8101, ALLOW_TLS), -1);
    assert_int_equal(find(&l, "www.example.org", 8000, ALLOW_HTTP), -1);
    assert_int_equal(find(&l, "example.org", 8000, ALLOW_TLS), -1);
    assert_true(listed(&l, "example.org"));
    assert_true(listed(&l, "x.y.example.org"));
    assert_false(listed(&l, "example.org.evil.test"));
    assert_false(listed(&l, "org"));
    assert_false(listed(&l, "10.0.0.1")); /* a query name that looks like a listed address */
    allow_list_done(&l);
    assert_null(l.rules);
    assert_int_equal(find(&l, "example.org", 443, ALLOW_TLS), -1);
}

/* Rows: the rule's protocol; columns: what the connection has proven. */
static void protocol_matrix(void **st)
{
    (void)st;
    static const char *const rule_words[] = {NULL, "tls", "http", "h2c", "quic", "tcp", "udp"};
    for (unsigned r = ALLOW_ANY; r < _ALLOW_PROTOCOL_MAX; r++) {
        struct allow_list l = {0};
        add(&l, "example.org", "443", rule_words[r]);
        add(&l, "192.0.2.0/24", "443", rule_words[r]);
        for (unsigned p = ALLOW_ANY; p < _ALLOW_PROTOCOL_MAX; p++) {
            bool want = r == ALLOW_ANY ? p == ALLOW_TLS || p == ALLOW_HTTP || p == ALLOW_H2C : r == p;
            assert_int_equal(find(&l, "example.org", 443, (enum allow_protocol)p), want ? 0 : -1);
            assert_int_equal(find_addr(&l, "192.0.2.1", 443, (enum allow_protocol)p), want ? 1 : -1);
        }
        assert_int_equal(allow_has_port(&l, 443), r != ALLOW_QUIC && r != ALLOW_UDP);
        assert_false(allow_has_port(&l, 442));
        assert_true(listed(&l, "example.org"));
        allow_list_done(&l);
    }
}

static void addresses(void **st)
{
    (void)st;
    struct allow_list l = {0};
    add(&l, "192.0.2.1", "443", NULL);
    add(&l, "10.0.0.0/8", "1-65535", "tcp");
    add(&l, "2001:db8::/32", "443", "tls");
    add(&l, "*.example.org", "443", "tcp");
    assert_int_equal(find_addr(&l, "192.0.2.1", 443, ALLOW_TLS), 0);
    assert_int_equal(find_addr(&l, "192.0.2.2", 443, ALLOW_TLS), -1);
    assert_int_equal(find_addr(&l, "192.0.2.1", 443, ALLOW_TCP), -1);
    assert_int_equal(find_addr(&l, "10.255.255.255", 1, ALLOW_TCP), 1);
    assert_int_equal(find_addr(&l, "11.0.0.0", 1, ALLOW_TCP), -1);
    assert_int_equal(find_addr(&l, "2001:db8:ffff::1", 443, ALLOW_TLS), 2);
    assert_int_equal(find_addr(&l, "2001:db9::", 443, ALLOW_TLS), -1);
    assert_int_equal(find_addr(&l, "::ffff:10.0.0.1", 1, ALLOW_TCP), -1);
    assert_true(allow_has_port(&l, 9));
    allow_list_done(&l);
}

static void limit_and_cost(void **st)
{
    (void)st;
    struct allow_list l = {0};
    char text[64];
    for (unsigned i = 0; i < ALLOW_RULES_MAX; i++) {
        snprintf(text, sizeof(text), "*.h%04u.example.org", i);
        add(&l, text, "443", NULL);
    }
    struct allow_rule one = l.rules[0];
    assert_int_equal(allow_list_add(&l, &one), -ENOBUFS);
    assert_int_equal(l.n, ALLOW_RULES_MAX);
    assert_int_equal(find(&l, "www.h4095.example.org", 443, ALLOW_TLS), 4095);
    struct name worst = host("a.h9999.example.org"); /* as long as the rules, and different in the middle */
    uint64_t start = clock_boottime_us();
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(allow_find_name(&l, &worst, 443, ALLOW_TLS), -1);
    /* 100 misses over a full list; some 2 ms, and far below this even under a sanitizer */
    assert_in_range(clock_boottime_us() - start, 0, 1000000);
    allow_list_done(&l);
}

static void texts(void **st)
{
    (void)st;
    for (int e = ALLOW_OK; e < _ALLOW_E_MAX; e++)
        for (int f = ALLOW_OK; f < e; f++)
            assert_string_not_equal(allow_error_text(e), allow_error_text(f));
    assert_non_null(allow_error_text(-5));
    assert_non_null(allow_error_text(_ALLOW_E_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_matches_nothing),
        cmocka_unit_test(hosts),
        cmocka_unit_test(ports),
        cmocka_unit_test(protocols),
        cmocka_unit_test(names),
        cmocka_unit_test(protocol_matrix),
        cmocka_unit_test(addresses),
        cmocka_unit_test(limit_and_cost),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
