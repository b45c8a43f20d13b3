/* SPDX-License-Identifier: MIT */
/* The plain transports against servers that a test scripts: UDP, and several resolvers. */
#include "tests/unit/proxyd_fake_resolver.h"

/* ---- UDP ---- */

static bool has_upper_and_lower(const uint8_t *p, size_t n)
{
    bool upper = false, lower = false;

    for (size_t i = 0; i < n; i++) {
        upper |= p[i] >= 'A' && p[i] <= 'Z';
        lower |= p[i] >= 'a' && p[i] <= 'z';
    }
    return upper && lower;
}

static void a_question_carries_only_our_own_options(void **state)
{
    struct world *w = *state;
    struct fake *f = &w->one;
    struct dns_reader r;
    struct dns_header h;
    struct dns_question q;
    struct dns_rr rr;

    ANSWERED(ask(&w->a, "abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.example", DNS_TYPE_A),
             "192.0.2.0");
    r = dns_reader_of(f->raw, f->raw_len);
    assert_int_equal(dns_header_read(&r.at, &h), 0);
    assert_int_equal(h.flags, DNS_FLAG_RD); /* no CD: what the resolver holds for bogus stays with it */
    assert_int_equal(h.arcount, 1);
    assert_int_equal(dns_question_read(&r, &q), 0);
    assert_true(has_upper_and_lower(q.qname.b, q.qname.len));
    assert_int_equal(dns_rr_read(&r, &rr), 0);
    assert_int_equal(rr.type, DNS_TYPE_OPT);
    assert_int_equal(rr.class, DNS_UDP_UPSTREAM);
    assert_int_equal(rr.ttl, 0);
    assert_int_equal(rr.rdlen, 4 + DNS_COOKIE_CLIENT); /* the cookie alone: no client subnet, nothing else */
    assert_memory_equal(f->raw + rr.rdata, "\0\x0a\0\x08", 4);
    assert_int_equal(cursor_left(&r.at), 0);
}

static void fold_case(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    struct dns_ask folded = *ask;

    dns_name_from_host(&ask->name, &folded.q.qname);
    answer(f, c, &folded);
}

static void another_case_is_a_stray_and_asked_over_tcp(void **state)
{
    struct world *w = *state;

    w->one.script = fold_case;
    ANSWERED(ask(&w->a, "bcdefghijklmnopqrstuvwxyzabcdefghijklmnop.example", DNS_TYPE_A), "192.0.2.1");
    assert_int_equal(w->one.udp_seen, 1);
    assert_int_equal(w->one.tcp_seen, 1);
    assert_int_equal(w->a.counters.strays, 1);
    /* such a server is not asked by UDP again for every question */
    ANSWERED(ask(&w->a, "cdefghijklmnopqrstuvwxyz.example", DNS_TYPE_A), "192.0.2.2");
    assert_int_equal(w->one.udp_seen, 1);
    assert_int_equal(w->one.tcp_seen, 2);
    assert_int_equal(w->one.accepted, 1);
}

static void forge_first(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    struct dns_ask forged = *ask;

    forged.id++;
    forged.q.qname.b[1] = 'z';
    answer(f, c, &forged); /* another id, another name */
    forged = *ask;
    forged.id ^= 0x8000;
    answer(f, c, &forged);
    forged = *ask;
    forged.q.qtype = DNS_TYPE_AAAA;
    answer(f, c, &forged);
    answer(f, c, ask);
    answer(f, c, ask); /* once more: nobody is there for it */
    answer(f, c, &forged);
}

static void forged_and_repeated_replies_change_nothing(void **state)
{
    struct world *w = *state;

    w->one.script = forge_first;
    for (char name[] = "a.example"; name[0] < 'f'; name[0]++) {
        char want[16];
        (void)snprintf(want, sizeof(want), "192.0.2.%d", name[0] - 'a');
        ANSWERED(ask(&w->a, name, DNS_TYPE_A), want);
    }
    assert_int_equal(w->one.udp_seen, 5);
    assert_int_equal(w->one.tcp_seen, 0);
    assert_int_equal(w->a.counters.strays, 15);
}

static void truncate_udp(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    if (c)
        answer(f, c, ask);
    else
        answer_code(f, c, ask, DNS_FLAG_TC);
}

static void truncated_is_asked_over_tcp_on_one_connection(void **state)
{
    struct world *w = *state;

    w->one.script = truncate_udp;
    for (int i = 0; i < 4; i++)
        ANSWERED(ask(&w->a, "d.example", DNS_TYPE_A), "192.0.2.3");
    assert_int_equal(w->one.udp_seen, 4);
    assert_int_equal(w->one.tcp_seen, 4);
    assert_int_equal(w->one.accepted, 1);
}

/* The cookie of the newest question: how long it was, or 0. */
static size_t cookie_of(const struct fake *f, const uint8_t **ret)
{
    struct dns_reader r = dns_reader_of(f->raw, f->raw_len);
    struct dns_header h;
    struct dns_question q;
    struct dns_rr rr;

    if (dns_header_read(&r.at, &h) < 0 || dns_question_read(&r, &q) < 0 || dns_rr_read(&r, &rr) < 0 ||
        rr.rdlen < 12)
        return 0;
    *ret = f->raw + rr.rdata + 4;
    return (size_t)f->raw[rr.rdata + 2] << 8 | f->raw[rr.rdata + 3];
}

static void answer_cookie(struct fake *f, const struct dns_ask *ask, const uint8_t client[8], unsigned rcode)
{
    uint8_t addr[4] = {192, 0, 2, 99};
    struct buf b;

    put_head(&b, ask, 0x8180u | (rcode & 0xf), rcode ? 0 : 1, 1);
    if (!rcode)
        put_a(&b, addr);
    buf_put(&b, "\0\0\x29\x04\xd0", 5);
    buf_putc(&b, (uint8_t)(rcode >> 4));
    buf_put(&b, "\0\0\0\0\x14\0\x0a\0\x10", 9);
    buf_put(&b, client, 8);
    buf_put(&b, "SERVER00", 8);
    fake_send(f, NULL, b.data, b.len);
    buf_done(&b);
}

/* arg 1: forges a client cookie first; arg 2: forgets cookies. */
static void want_cookie(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    const uint8_t *cookie;
    size_t n = cookie_of(f, &cookie);

    if (c || f->arg == 2) {
        answer(f, c, ask);
        return;
    }
    assert_true(n >= 8);
    if (f->arg == 1)
        answer_cookie(f, ask, (const uint8_t *)"notyours", 0);
    answer_cookie(f, ask, cookie, n == 8 ? DNS_BADCOOKIE : 0);
    if (n > 8)
        assert_memory_equal(cookie + 8, "SERVER00", 8);
}

static void cookies_are_learned_sent_and_checked(void **state)
{
    struct world *w = *state;

    w->one.script = want_cookie;
    ANSWERED(ask(&w->a, "a.example", DNS_TYPE_A), "192.0.2.99");
    assert_int_equal(w->one.udp_seen, 2); /* BADCOOKIE, then with the server's own */
    ANSWERED(ask(&w->a, "a.example", DNS_TYPE_A), "192.0.2.99");
    assert_int_equal(w->one.udp_seen, 3);
    w->one.arg = 1;
    ANSWERED(ask(&w->a, "a.example", DNS_TYPE_A), "192.0.2.99");
    assert_int_equal(w->one.udp_seen, 4);
    assert_int_equal(w->a.counters.strays, 1);
    assert_int_equal(w->one.tcp_seen, 0);
    w->one.arg = 2; /* a server that knew cookies and now says none: perhaps it is another one */
    ANSWERED(ask(&w->a, "b.example", DNS_TYPE_A), "192.0.2.1");
    assert_int_equal(w->one.tcp_seen, 1);
}

static void refuse_cookies(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    const uint8_t *cookie;

    if (c)
        answer(f, c, ask);
    else if (cookie_of(f, &cookie) >= 8)
        answer_cookie(f, ask, cookie, DNS_BADCOOKIE);
}

static void a_cookie_refused_twice_is_asked_over_tcp(void **state)
{
    struct world *w = *state;

    w->one.script = refuse_cookies;
    ANSWERED(ask(&w->a, "b.example", DNS_TYPE_A), "192.0.2.1");
    assert_int_equal(w->one.udp_seen, 2);
    assert_int_equal(w->one.tcp_seen, 1);
}

static void lose_one(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    if (f->arg++ > 0)
        answer(f, c, ask);
}

static void a_lost_datagram_is_sent_again(void **state)
{
    struct world *w = *state;

    w->one.script = lose_one;
    ANSWERED(ask(&w->a, "b.example", DNS_TYPE_A), "192.0.2.1");
    assert_int_equal(w->one.udp_seen, 2);
}

static void silence_ends(void **state)
{
    struct world *w = *state;
    const struct heard *h;

    w->one.script = NULL;
    h = ask(&w->a, "b.example", DNS_TYPE_A);
    assert_int_equal(h->error, -ETIMEDOUT);
    assert_string_equal(h->resolver, "one");
    assert_int_equal(w->one.udp_seen, LIMIT_DNS_TRIES);
}

static void no_resolver_fails(void **state)
{
    struct world *w = *state;

    know(w, RESOLVER_DO53_UDP, 0);
    assert_int_equal(ask(&w->a, "b.example", DNS_TYPE_A)->error, -EHOSTUNREACH);
}

/* ---- several ---- */

static void the_second_is_asked_when_the_first_is_slow(void **state)
{
    struct world *w = *state;
    const struct heard *h;

    know(w, RESOLVER_DO53_UDP, 2);
    ANSWERED(ask(&w->a, "b.example", DNS_TYPE_A), "192.0.2.1");
    assert_int_equal(w->two.udp_seen, 0); /* in order: not both at once */
    w->one.script = NULL;
    for (unsigned i = 0; i < DNS_DOWN_AFTER; i++) {
        h = ask(&w->a, "b.example", DNS_TYPE_A);
        ANSWERED(h, "192.0.2.1");
        assert_string_equal(h->resolver, "two");
    }
    assert_int_equal(w->one.udp_seen, 1 + DNS_DOWN_AFTER);
    /* it is behind the other now, and not asked for nothing */
    w->a.all->v[0].health.down_until_us = UINT64_MAX;
    ANSWERED(ask(&w->a, "b.example", DNS_TYPE_A), "192.0.2.1");
    assert_int_equal(w->one.udp_seen, 1 + DNS_DOWN_AFTER);
    /* when its time is over it is asked first again, and forgiven when it answers */
    w->a.all->v[0].health.down_until_us = 0;
    w->one.script = answer;
    h = ask(&w->a, "b.example", DNS_TYPE_A);
    assert_string_equal(h->resolver, "one");
    assert_int_equal(w->a.all->v[0].health.failures, 0);
}

static void servfail(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    answer_code(f, c, ask, DNS_SERVFAIL);
}

static void a_server_that_cannot_is_followed_by_the_next(void **state)
{
    struct world *w = *state;
    const struct heard *h;

    know(w, RESOLVER_DO53_UDP, 2);
    w->one.script = servfail;
    h = ask(&w->a, "b.example", DNS_TYPE_A);
    ANSWERED(h, "192.0.2.1");
    assert_string_equal(h->resolver, "two");
    w->two.script = servfail;
    h = ask(&w->a, "b.example", DNS_TYPE_A);
    assert_int_equal(h->error, 0); /* nobody can: that is the answer */
    assert_int_equal(h->rcode, DNS_SERVFAIL);
    assert_int_equal(w->one.udp_seen, 2);
    assert_int_equal(w->two.udp_seen, 2);
}

static void a_dead_first_resolver_is_passed_by(void **state)
{
    struct world *w = *state;
    const struct heard *h;

    know(w, RESOLVER_DO53_TCP, 2);
    close(w->one.tcp);
    ev_io_stop(w->a.loop, &w->one.tcp_io);
    w->one.tcp = -1;
    h = ask(&w->a, "b.example", DNS_TYPE_A);
    ANSWERED(h, "192.0.2.1");
    assert_string_equal(h->resolver, "two");
}

static void hedging_follows_the_p95(void **state)
{
    struct dns_health h = {.failures = 0};

    (void)state;
    assert_int_equal(dns_health_hedge_ms(&h), DNS_HEDGE_START_MS);
    for (unsigned i = 0; i < DNS_LATENCIES; i++)
        dns_health_ok(&h, 1000u * (i + 1)); /* 1..64 ms: the 61st */
    assert_int_equal(dns_health_hedge_ms(&h), 62);
    for (unsigned i = 0; i < 3 * DNS_LATENCIES; i++)
        dns_health_ok(&h, 10);
    assert_int_equal(dns_health_hedge_ms(&h), DNS_HEDGE_MIN_MS);
    for (unsigned i = 0; i < 2 * DNS_LATENCIES; i++)
        dns_health_ok(&h, 100000000);
    assert_int_equal(dns_health_hedge_ms(&h), DNS_HEDGE_MAX_MS);
}

static void a_failing_resolver_is_pushed_back_ever_longer(void **state)
{
    struct dns_health h = {.failures = 0};
    uint64_t now = 1000000;

    (void)state;
    for (unsigned i = 1; i < DNS_DOWN_AFTER; i++)
        assert_false(dns_health_failed(&h, now));
    assert_true(dns_health_failed(&h, now));
    assert_int_equal(h.down_until_us, now + 1000ull * DNS_DOWN_MIN_MS);
    assert_false(dns_health_failed(&h, now)); /* it is already */
    now = h.down_until_us;
    assert_true(dns_health_failed(&h, now)); /* the probe failed */
    assert_int_equal(h.down_until_us, now + 2000ull * DNS_DOWN_MIN_MS);
    for (unsigned i = 0; i < 20; i++)
        (void)dns_health_failed(&h, h.down_until_us);
    assert_int_equal(h.down_ms, DNS_DOWN_MAX_MS);
    dns_health_ok(&h, 1000);
    assert_int_equal(h.down_until_us, 0);
}

/* ---- urls and messages ---- */

static void urls(void **state)
{
    static const char *const bad[] = {
        "http://dns.example/",     "https://",           "https:///q",
        "https://dns.example:0/",  "https://a b/",       "https://u@dns.example/",
        "https://dns.example/#f",  "https://[::1/q",     "https://dns.example:65536/",
        "https://dns.example/q q", "https://::1/",       "https://dns.example/{?dns}",
        "https://dns.example?x",   "https://[1.2.3.4]/", "https://dns.example/\r\nx: y",
        "https://dns..example/",   "https://*.example/", "https://dns.example:/",
    };
    struct dns_url u;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (dns_url_parse(str_of(bad[i]), &u) != -EINVAL)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(dns_url_parse(str_of("https://DNS.Example"), &u), 0);
    assert_string_equal(u.host, "dns.example");
    assert_string_equal(u.path, "/");
    assert_int_equal(u.port, 443);
    assert_false(u.literal);
    assert_int_equal(dns_url_parse(str_of("https://[2001:DB8::1]:8443/q?x=y"), &u), 0);
    assert_string_equal(u.host, "2001:db8::1");
    assert_string_equal(u.path, "/q?x=y");
    assert_int_equal(u.port, 8443);
    assert_true(u.literal && u.addr.family == AF_INET6);
    assert_int_equal(dns_url_parse(str_of("https://192.0.2.1/dns-query"), &u), 0);
    assert_true(u.literal && u.addr.family == AF_INET);
}

static void encrypted_questions_are_padded(void **state)
{
    static const char *const names[] = {"a.example", "bcdefghijk.example", "a.b.c.d.e.f.g.h.i.j.k.example"};
    struct dns_cookie cookie = {.server_len = 16};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct dns_asked asked = {.q = ask_question(names[i], DNS_TYPE_A), .edns = true, .pad = true};
        struct dns_ask got;
        struct buf b;
        for (int k = 0; k < 2; k++) {
            asked.cookie = k ? &cookie : NULL;
            buf_init(&b, 1024);
            assert_int_equal(dns_asked_write(&b, &asked), 0);
            assert_int_equal(b.len % DNS_PADDING, 0);
            assert_int_equal(dns_ask_read(b.data, b.len, &got), 0);
            buf_done(&b);
        }
    }
}

static void resolvers_are_compared_by_all_that_matters(void **state)
{
    struct dns_resolver a = {.id = "a", .protocol = RESOLVER_DOT, .addr = local(853)}, b = a;

    (void)state;
    b.id[0] = 'b';
    assert_true(dns_resolver_eq(&a, &b));
    b.validate = true;
    assert_false(dns_resolver_eq(&a, &b));
    b = a;
    b.addr.port++;
    assert_false(dns_resolver_eq(&a, &b));
    b = a;
    b.tls_name[0] = 'x';
    assert_false(dns_resolver_eq(&a, &b));
    b = a;
    b.trust_anchors = str_of("x");
    assert_false(dns_resolver_eq(&a, &b));
    a.trust_anchors = str_of("y");
    assert_false(dns_resolver_eq(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_question_carries_only_our_own_options),
        T(another_case_is_a_stray_and_asked_over_tcp),
        T(forged_and_repeated_replies_change_nothing),
        T(truncated_is_asked_over_tcp_on_one_connection),
        T(cookies_are_learned_sent_and_checked),
        T(a_cookie_refused_twice_is_asked_over_tcp),
        T(a_lost_datagram_is_sent_again),
        T(silence_ends),
        T(no_resolver_fails),
        T(the_second_is_asked_when_the_first_is_slow),
        T(a_server_that_cannot_is_followed_by_the_next),
        T(a_dead_first_resolver_is_passed_by),
        cmocka_unit_test(hedging_follows_the_p95),
        cmocka_unit_test(a_failing_resolver_is_pushed_back_ever_longer),
        cmocka_unit_test(urls),
        cmocka_unit_test(encrypted_questions_are_padded),
        cmocka_unit_test(resolvers_are_compared_by_all_that_matters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
