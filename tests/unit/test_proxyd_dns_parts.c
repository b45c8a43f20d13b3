/* SPDX-License-Identifier: MIT */
/* The tables of a cell's DNS by themselves: pins, synthetic addresses, history, hints of tunnelling, and the
 * reader of HTTPS records. */
#include "tests/unit/test_proxyd_dns_rig.h"

#include "common/evidence/digest.h"
#include "proxyd/dns/pins.h"
#include "proxyd/dns/rebind.h"
#include "proxyd/dns/svcb.h"
#include "proxyd/dns/synthetic.h"
#include "proxyd/dns/tunnel.h"

static struct addr addr_of(const char *s)
{
    struct addr a;

    assert_int_equal(addr_parse(str_of(s), &a), 0);
    return a;
}

static bool is(void *self, const struct name *name)
{
    return !self || strcmp(self, name->text) == 0;
}

/* ---- pins ---- */

static void a_pin_is_found_by_who_fits(void **state)
{
    struct name a = host_of("a.test"), b = host_of("b.test"), got;
    struct addr addr = addr_of("93.184.216.34"), other = addr_of("93.184.216.35");
    char name_a[] = "a.test", name_c[] = "c.test";
    struct dns_pins *p = NULL;

    (void)state;
    assert_false(dns_pins_find(p, &addr, 0, is, NULL, &got));
    assert_int_equal(dns_pins_put(&p, &a, &addr, 100), 0);
    assert_int_equal(dns_pins_put(&p, &b, &addr, 200), 0);
    assert_true(dns_pins_find(p, &addr, 50, is, NULL, &got)); /* the latest */
    assert_string_equal(got.text, "b.test");
    assert_true(dns_pins_find(p, &addr, 50, is, name_a, &got));
    assert_string_equal(got.text, "a.test");
    assert_false(dns_pins_find(p, &addr, 50, is, name_c, &got));
    assert_false(dns_pins_find(p, &addr, 100, is, name_a, &got)); /* over */
    assert_false(dns_pins_find(p, &other, 50, is, NULL, &got));
    assert_int_equal(dns_pins_put(&p, &a, &addr, 150), 0); /* renewed, and never shortened: */
    assert_int_equal(dns_pins_put(&p, &a, &addr, 120), 0);
    assert_true(dns_pins_find(p, &addr, 149, is, name_a, &got));
    dns_pins_sift(p, is, name_a);
    assert_false(dns_pins_find(p, &addr, 199, is, NULL, &got));
    assert_true(dns_pins_find(p, &addr, 149, is, NULL, &got));
    dns_pins_free(p);
}

static void pins_are_bounded(void **state)
{
    struct name a = host_of("a.test"), got;
    struct addr addr = addr_of("10.0.0.0"), first = addr, second = addr_of("10.0.0.1");
    struct dns_pins *p = NULL;

    (void)state;
    for (unsigned i = 0; i < LIMIT_PINS; i++) {
        addr.bytes[2] = (uint8_t)(i >> 8);
        addr.bytes[3] = (uint8_t)i;
        assert_int_equal(dns_pins_put(&p, &a, &addr, 100), 0);
    }
    assert_int_equal(dns_pins_lost(p), 0);
    assert_int_equal(dns_pins_put(&p, &a, &first, 100), 0); /* renewed: the second is now the oldest */
    addr.bytes[1] = 1;
    assert_int_equal(dns_pins_put(&p, &a, &addr, 100), 0);
    assert_int_equal(dns_pins_lost(p), 1);
    assert_true(dns_pins_find(p, &first, 50, is, NULL, &got));
    assert_false(dns_pins_find(p, &second, 50, is, NULL, &got));
    dns_pins_free(p);
}

/* ---- synthetic addresses ---- */

static void names_keep_their_synthetic_addresses(void **state)
{
    struct dns_synthetic *s = dns_synthetic_new("01930000-0000-7000-8000-000000000001");
    struct dns_synthetic *t = dns_synthetic_new("01930000-0000-7000-8000-000000000002");
    struct name a = host_of("a.test"), b = host_of("b.test"), got;
    struct addr four, six, other;

    (void)state;
    assert_non_null(s);
    assert_int_equal(dns_synthetic_addr(s, &a, AF_INET, &four), 0);
    assert_int_equal(dns_synthetic_addr(s, &b, AF_INET, &other), 0);
    assert_false(addr_eq(&four, &other));
    assert_int_equal(dns_synthetic_addr(s, &a, AF_INET, &other), 0);
    assert_true(addr_eq(&four, &other));
    assert_int_equal(dns_synthetic_addr(s, &a, AF_INET6, &six), 0);
    assert_int_equal(six.bytes[0], 0xfd);
    assert_int_equal(addr_classify(&four), ADDR_RESERVED); /* never an answer of a resolver */
    assert_int_equal(addr_classify(&six), ADDR_PRIVATE);
    assert_int_equal(dns_synthetic_addr(t, &a, AF_INET6, &other), 0);
    assert_memory_not_equal(six.bytes, other.bytes, 8); /* another cell, another /64 */
    assert_false(dns_synthetic_name(s, &other, &got));
    assert_true(dns_synthetic_name(s, &six, &got) && strcmp(got.text, "a.test") == 0);
    assert_true(dns_synthetic_name(s, &four, &got) && strcmp(got.text, "a.test") == 0);
    four.bytes[3] = 3;
    assert_false(dns_synthetic_name(s, &four, &got));
    four.bytes[3] = 0;
    assert_false(dns_synthetic_name(s, &four, &got));
    dns_synthetic_free(s);
    dns_synthetic_free(t);
}

static void synthetic_addresses_end(void **state)
{
    struct dns_synthetic *s = dns_synthetic_new("r");
    struct name name, got;
    struct addr addr;
    char text[32];

    (void)state;
    for (unsigned i = 0; i <= DNS_SYNTHETIC_NAMES; i++) {
        (void)snprintf(text, sizeof(text), "n%u.test", i);
        name = host_of(text);
        assert_int_equal(dns_synthetic_addr(s, &name, AF_INET, &addr), i < DNS_SYNTHETIC_NAMES ? 0 : -EDQUOT);
    }
    struct addr_prefix pool;
    assert_int_equal(addr_prefix_parse(STR_LIT("198.18.0.0/15"), &pool), 0);
    assert_true(addr_prefix_contains(&pool, &addr));
    assert_true(dns_synthetic_name(s, &addr, &got));
    (void)snprintf(text, sizeof(text), "n%u.test", DNS_SYNTHETIC_NAMES - 1);
    assert_string_equal(got.text, text);
    dns_synthetic_free(s);
}

/* ---- history ---- */

static void the_digest_is_of_sorted_texts(void **state)
{
    const struct dns_policy policy = {.nnames = 0};
    struct addr one[] = {addr_of("93.184.216.34"), addr_of("9.9.9.9")};
    struct addr two[] = {addr_of("9.9.9.9")};
    struct dns_history *h = NULL;
    struct name name = host_of("www.test");
    struct dns_novelty n;
    uint8_t sha[DIGEST_LEN];
    char text[DNS_SET_DIGEST_MAX] = "sha256:";

    (void)state;
    assert_int_equal(dns_history_judge(&h, &policy, &name, DNS_TYPE_A, one, 2, &n), 0);
    assert_false(n.drift || n.threshold || n.nover);
    digest_sha256("9.9.9.9\n93.184.216.34\n", 22, sha);
    for (size_t i = 0; i < DIGEST_LEN; i++)
        (void)snprintf(text + 7 + 2 * i, 3, "%02x", sha[i]);
    assert_string_equal(n.current, text);
    assert_int_equal(dns_history_judge(&h, &policy, &name, DNS_TYPE_A, two, 1, &n), 0);
    assert_true(n.drift);
    assert_string_equal(n.previous, text);
    assert_true(dns_history_knows(h, &name, &one[0]));
    dns_history_free(h);
}

/* To forget a hostname would be a way around the count: fill the table, then come back. */
static void history_is_full_and_closed(void **state)
{
    const struct dns_policy policy = {.novel_limited = true, .max_novel = 5, .reject_rebind = true};
    const struct dns_policy loose = {.nnames = 0};
    struct addr addr = addr_of("93.184.216.34"), other = addr_of("93.184.216.35");
    struct dns_history *h = NULL;
    struct dns_novelty n;
    struct name name;
    char text[32];

    (void)state;
    for (unsigned i = 0; i <= DNS_HISTORY_NAMES; i++) {
        (void)snprintf(text, sizeof(text), "n%u.test", i);
        name = host_of(text);
        assert_int_equal(dns_history_judge(&h, &policy, &name, DNS_TYPE_A, &addr, 1, &n), 0);
        assert_int_equal(n.nover, i < DNS_HISTORY_NAMES ? 0 : 1);
    }
    name = host_of("n0.test");
    assert_true(dns_history_knows(h, &name, &addr));
    assert_int_equal(dns_history_judge(&h, &policy, &name, DNS_TYPE_A, &other, 1, &n), 0);
    assert_true(n.drift && n.novel == 1 && n.nover == 0);
    /* without a limit the oldest makes room: n1, because n0 was just used */
    name = host_of("late.test");
    assert_int_equal(dns_history_judge(&h, &loose, &name, DNS_TYPE_A, &addr, 1, &n), 0);
    assert_int_equal(n.nover, 0);
    name = host_of("n1.test");
    assert_false(dns_history_knows(h, &name, &addr));
    dns_history_free(h);
}

/* ---- hints of tunnelling ---- */

static struct dns_apex apex_of(struct dns_tunnel *t, const char *apex)
{
    struct dns_apex all[LIMIT_APEXES];
    size_t n = dns_tunnel_apexes(t, all, LIMIT_APEXES);

    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].apex.text, apex) == 0)
            return all[i];
    return (struct dns_apex){.queries = 0};
}

static void note(struct dns_tunnel **t, const char *name)
{
    struct name host = host_of(name);
    struct dns_tunnel_mark mark;

    dns_tunnel_note(t, &host, &mark);
    assert_true(mark.slot > 0);
}

static void names_count_below_their_registrable_domain(void **state)
{
    struct dns_tunnel *t = NULL;

    (void)state;
    note(&t, "www.example.co.uk");
    note(&t, "a.b.example.co.uk");
    note(&t, "example.co.uk");
    note(&t, "example.org");
    note(&t, "co.uk"); /* a public suffix is its own */
    struct dns_apex a = apex_of(t, "example.co.uk");
    assert_int_equal(a.queries, 3);
    assert_int_equal(a.distinct_names, 3);
    assert_int_equal(a.label_bytes, 3 + 3);
    assert_false(a.suspicious);
    assert_int_equal(apex_of(t, "example.org").label_bytes, 0);
    assert_int_equal(apex_of(t, "co.uk").queries, 1);
    dns_tunnel_free(t);
}

static void random_labels_look_suspicious(void **state)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    struct dns_tunnel *t = NULL;
    uint32_t random = 1;
    char text[128];

    (void)state;
    for (unsigned i = 0; i < 4000; i++) {
        size_t n = 0;
        for (; n < 48; n++) {
            random = random * 1664525u + 1013904223u;
            text[n] = digits[random >> 27];
        }
        (void)snprintf(text + n, sizeof(text) - n, ".tunnel.example");
        note(&t, text);
        (void)snprintf(text, sizeof(text), "host%u.plain.example", i % 500);
        note(&t, text);
    }
    struct dns_apex a = apex_of(t, "tunnel.example"), p = apex_of(t, "plain.example");
    assert_true(a.suspicious);
    assert_in_range(a.distinct_names, 2000, 8000); /* an estimate: standard error about one eighth */
    assert_in_range(a.max_label_entropy_millibits, 4000, 5000);
    assert_int_equal(a.label_bytes, 4000u * 48);
    assert_false(p.suspicious);
    assert_in_range(p.distinct_names, 250, 1000);
    assert_in_range(p.max_label_entropy_millibits, 2000, 3100);
    dns_tunnel_free(t);
}

static void entropy_is_shannons(void **state)
{
    struct dns_tunnel *t = NULL;

    (void)state;
    note(&t, "aaaaaaaa.one.example");
    note(&t, "abababab.two.example");
    note(&t, "0123456789abcdef.three.example");
    assert_int_equal(apex_of(t, "one.example").max_label_entropy_millibits, 0);
    assert_int_equal(apex_of(t, "two.example").max_label_entropy_millibits, 1000);
    assert_int_equal(apex_of(t, "three.example").max_label_entropy_millibits, 4000);
    dns_tunnel_free(t);
}

static void apexes_are_bounded_and_the_busy_stay(void **state)
{
    struct dns_apex all[LIMIT_APEXES];
    struct dns_tunnel_mark mark;
    struct name host = host_of("www.busy.example");
    struct dns_tunnel *t = NULL;
    char text[64];

    (void)state;
    dns_tunnel_note(&t, &host, &mark);
    for (unsigned i = 0; i < 9; i++)
        dns_tunnel_again(t, &mark);
    for (unsigned i = 0; i < 3 * DNS_APEXES_TRACKED; i++) {
        (void)snprintf(text, sizeof(text), "x%u.example", i);
        note(&t, text);
    }
    assert_int_equal(dns_tunnel_apexes(t, all, LIMIT_APEXES), LIMIT_APEXES);
    assert_string_equal(all[0].apex.text, "busy.example");
    assert_int_equal(all[0].queries, 10);
    assert_int_equal(all[0].label_bytes, 30);
    /* a mark of an apex that had to go counts nowhere */
    dns_tunnel_note(&t, &host, &mark);
    mark.serial--;
    dns_tunnel_again(t, &mark);
    assert_int_equal(apex_of(t, "busy.example").queries, 11);
    dns_tunnel_free(t);
}

/* ---- HTTPS records ---- */

static bool addr_ok(void *self, const struct addr *addr)
{
    (void)self;
    return addr_classify(addr) == ADDR_GLOBAL;
}

static bool no_target(void *self, const struct name *target)
{
    (void)self;
    (void)target;
    return false;
}

static int rebuild(const void *rdata, size_t n, struct dns_svcb *info)
{
    const struct dns_svcb_terms terms = {addr_ok, no_target, NULL};
    struct dns_wire_name owner = wire_of("www.example.com");
    struct buf b;

    buf_init(&b, 4096);
    int r = dns_svcb_rebuild((const uint8_t *)rdata, n, &owner, &terms, &b, info);
    assert_true(r == DNS_SVCB_KEPT || b.len == 0);
    buf_done(&b);
    return r;
}

#define REBUILD(s, info) rebuild(s, sizeof(s) - 1, info)

static void broken_https_records_are_refused(void **state)
{
    struct dns_svcb info;

    (void)state;
    assert_int_equal(REBUILD("\0\1\0", &info), DNS_SVCB_KEPT);
    assert_int_equal(REBUILD("\0\1\0\0\1\0\3\2h2", &info), DNS_SVCB_KEPT);
    assert_int_equal(REBUILD("", &info), -EBADMSG);
    assert_int_equal(REBUILD("\0\1", &info), -EBADMSG);
    assert_int_equal(REBUILD("\0\1\xc0\x0c", &info), -EBADMSG);               /* compressed */
    assert_int_equal(REBUILD("\0\1\0\0\1\0\4\2h2", &info), -EBADMSG);         /* value beyond the end */
    assert_int_equal(REBUILD("\0\1\0\0\1\0\3\3h2", &info), -EBADMSG);         /* alpn beyond its value */
    assert_int_equal(REBUILD("\0\1\0\0\1\0\0", &info), -EBADMSG);             /* alpn without a value */
    assert_int_equal(REBUILD("\0\1\0\0\2\0\1x", &info), -EBADMSG);            /* no-default-alpn with one */
    assert_int_equal(REBUILD("\0\1\0\0\3\0\1x", &info), -EBADMSG);            /* port of one byte */
    assert_int_equal(REBUILD("\0\1\0\0\4\0\3xxx", &info), -EBADMSG);          /* hint of three */
    assert_int_equal(REBUILD("\0\1\0\0\3\0\2xx\0\3\0\2xx", &info), -EBADMSG); /* twice */
    assert_int_equal(REBUILD("\0\1\0\0\0\0\2\0\0", &info), -EBADMSG);         /* mandatory names itself */
    assert_int_equal(REBUILD("\0\1\0\0\0\0\2\0\3", &info), -EBADMSG);         /* ... or what is not there */
    assert_int_equal(REBUILD("\0\1\0\0\0\0\2\0\7\0\7\0\1x", &info), DNS_SVCB_MANDATORY);
    assert_int_equal(REBUILD("\0\1\1a\0", &info), DNS_SVCB_TARGET);
    assert_int_equal(REBUILD("\0\1\3WWW\7example\3com\0", &info), DNS_SVCB_KEPT); /* the owner itself */
}

static void hints_and_ech_go(void **state)
{
    struct dns_svcb info;

    (void)state;
    assert_int_equal(REBUILD("\0\1\0\0\4\0\x08\x0a\0\0\1\x5d\xb8\xd8\x22\0\5\0\1x", &info), DNS_SVCB_KEPT);
    assert_true(info.ech_removed && info.hints_removed);
    assert_int_equal(info.nhints, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pin_is_found_by_who_fits),
        cmocka_unit_test(pins_are_bounded),
        cmocka_unit_test(names_keep_their_synthetic_addresses),
        cmocka_unit_test(synthetic_addresses_end),
        cmocka_unit_test(the_digest_is_of_sorted_texts),
        cmocka_unit_test(history_is_full_and_closed),
        cmocka_unit_test(names_count_below_their_registrable_domain),
        cmocka_unit_test(random_labels_look_suspicious),
        cmocka_unit_test(entropy_is_shannons),
        cmocka_unit_test(apexes_are_bounded_and_the_busy_stay),
        cmocka_unit_test(broken_https_records_are_refused),
        cmocka_unit_test(hints_and_ech_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
