/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "common/net/addr.h"

static struct addr addr(const char *s)
{
    struct addr a;
    if (addr_parse(str_of(s), &a) != 0)
        fail_msg("cannot parse %s", s);
    return a;
}

/* RFC 5952 sections 4 and 5, RFC 4291 section 2.2: what may be written, and the one way we write it. */
static void text_forms(void **st)
{
    (void)st;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"192.0.2.1", "192.0.2.1"},
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:db8::1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:db8::0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:DB8:0:0:1::1", "2001:db8::1:0:0:1"},
        {"2001:db8:aaaa:bbbb:cccc:dddd::1", "2001:db8:aaaa:bbbb:cccc:dddd:0:1"},
        {"2001:db8:aaaa:bbbb:cccc:dddd:0:0001", "2001:db8:aaaa:bbbb:cccc:dddd:0:1"},
        {"2001:db8:0:0:0::1", "2001:db8::1"},
        {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
        {"2001:db8:85a3:8d3:1319:8a2e:370:7344", "2001:db8:85a3:8d3:1319:8a2e:370:7344"},
        {"0:1:0:1:0:1:0:1", "0:1:0:1:0:1:0:1"},
        {"1:0:0:0:0:0:0:0", "1::"},
        {"0:0:1:1:1:1:1:1", "::1:1:1:1:1:1"},
        {"1:1:1:1:1:1:0:0", "1:1:1:1:1:1::"},
        {"::FFFF:129.144.52.38", "::ffff:129.144.52.38"},
        {"::ffff:c000:0201", "::ffff:192.0.2.1"},
        {"::13.1.68.3", "::d01:4403"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr a = addr(rows[i].in);
        char text[ADDR_TEXT_MAX];
        assert_string_equal(addr_format(&a, text), rows[i].out);
        struct addr back = addr(text);
        assert_true(addr_eq(&a, &back));
    }
    struct addr none = {0};
    char text[ADDR_TEXT_MAX];
    assert_string_equal(addr_format(&none, text), "");
}

static void refused_texts(void **st)
{
    (void)st;
    static const char *const rows[] = {"",
                                       "1",
                                       "1.2.3",
                                       "1.2.3.4.5",
                                       "1.2.3.256",
                                       "01.2.3.4",
                                       "1.2.3.04",
                                       "1.2.3.4 ",
                                       " 1.2.3.4",
                                       "1..3.4",
                                       ".1.2.3.4",
                                       "1.2.3.4.",
                                       "1.2.3.-4",
                                       "0x1.2.3.4",
                                       "1.2.3.4/8",
                                       "1.2.3.999999999999999999999",
                                       "a.b.c.d",
                                       ":",
                                       ":::",
                                       "1:2:3:4:5:6:7",
                                       "1:2:3:4:5:6:7:8:9",
                                       "1::2::3",
                                       "12345::",
                                       "g::",
                                       "fe80::1%lo",
                                       "fe80::1%1",
                                       "[::1]",
                                       "::1 ",
                                       " ::1",
                                       "::1/128",
                                       "::1.2.3",
                                       "::01.2.3.4",
                                       "::1.2.3.4.5",
                                       "::1.2.3.256",
                                       "1.2.3.4::",
                                       "1:2:3:4:5:6:7:1.2.3.4",
                                       "1:2:3:4:5:6:7:8::x",
                                       ":1::2",
                                       "1::2:",
                                       "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
                                       "example.org"};
    struct addr a = {.family = 99};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (addr_parse(str_of(rows[i]), &a) != -EINVAL)
            fail_msg("accepted %s", rows[i]);
    assert_int_equal(addr_parse(STR_NONE, &a), -EINVAL);
    assert_int_equal(addr_parse((struct str){"1.2.3.4\0", 8}, &a), -EINVAL);
    assert_int_equal(addr_parse((struct str){"::1\0", 4}, &a), -EINVAL);
    assert_int_equal(addr_parse((struct str){"1.2.3.4\0.example.org", 20}, &a), -EINVAL);
    assert_int_equal(a.family, 99);
}

static void round_trip(void **st)
{
    (void)st;
    srandom(1);
    for (unsigned i = 0; i < 20000; i++) {
        struct addr a = {.family = i % 2 ? AF_INET6 : AF_INET};
        for (unsigned k = 0; k < (i % 2 ? 16u : 4u); k++)
            a.bytes[k] = random() % 3 ? 0 : (uint8_t)random();
        char text[ADDR_TEXT_MAX];
        struct addr back = addr(addr_format(&a, text));
        if (!addr_eq(&a, &back))
            fail_msg("%s", text);
    }
}

static void prefixes(void **st)
{
    (void)st;
    static const char *const bad[] = {
        "10.0.0.1/8",         "10.0.0.0/33", "10.0.0.0/",      "10.0.0.0/08",    "10.0.0.0/-1", "/8",
        "10.0.0.0/8/8",       "10/8",        "2001:db8::/129", "2001:db8::1/64", "::1/0",       "",
        "10.0.0.0/255.0.0.0", "10.0.0.0 /8", "128.0.0.0/0",    "0.0.0.1/31"};
    static const struct {
        const char *prefix, *first, *last, *before, *after;
    } rows[] = {
        {"10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"},
        {"192.0.2.128/25", "192.0.2.128", "192.0.2.255", "192.0.2.127", "192.0.3.0"},
        {"192.0.2.4/31", "192.0.2.4", "192.0.2.5", "192.0.2.3", "192.0.2.6"},
        {"192.0.2.4", "192.0.2.4", "192.0.2.4", "192.0.2.3", "192.0.2.5"},
        {"0.0.0.0/0", "0.0.0.0", "255.255.255.255", "::", "::ffff:1.2.3.4"},
        {"2001:db8::/33", "2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff",
         "2001:db7::", "2001:db8:8000::"},
        {"2001:db8::1", "2001:db8::1", "2001:db8::1", "2001:db8::", "2001:db8::2"},
        {"::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0", "1.2.3.4"},
    };
    struct addr_prefix p = {.bits = 99};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (addr_prefix_parse(str_of(bad[i]), &p) != -EINVAL)
            fail_msg("accepted %s", bad[i]);
    assert_int_equal(p.bits, 99);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(addr_prefix_parse(str_of(rows[i].prefix), &p), 0);
        struct addr in[] = {addr(rows[i].first), addr(rows[i].last)};
        struct addr out[] = {addr(rows[i].before), addr(rows[i].after), {0}};
        for (size_t k = 0; k < ARRAY_LEN(in); k++)
            assert_true(addr_prefix_contains(&p, &in[k]));
        for (size_t k = 0; k < ARRAY_LEN(out); k++)
            assert_false(addr_prefix_contains(&p, &out[k]));
    }
}

static void endpoints(void **st)
{
    (void)st;
    static const struct {
        const char *in;
        uint16_t def;
        const char *out;
    } good[] = {
        {"1.2.3.4:53", 0, "1.2.3.4:53"},
        {"1.2.3.4", 53, "1.2.3.4:53"},
        {"1.2.3.4:65535", 53, "1.2.3.4:65535"},
        {"[2001:DB8::1]:53", 0, "[2001:db8::1]:53"},
        {"[2001:db8::1]", 853, "[2001:db8::1]:853"},
        {"[::ffff:1.2.3.4]:1", 0, "[::ffff:1.2.3.4]:1"},
    };
    static const char *const bad[] = {"",
                                      "1.2.3.4:",
                                      "1.2.3.4:0",
                                      "1.2.3.4:65536",
                                      "1.2.3.4:053",
                                      "1.2.3.4:+1",
                                      ":53",
                                      "2001:db8::1",
                                      "2001:db8::1:53",
                                      "[2001:db8::1",
                                      "[2001:db8::1]53",
                                      "[::1]:",
                                      "[1.2.3.4]:53",
                                      "[]:53",
                                      "[",
                                      "[]",
                                      "[::1]]:53",
                                      "[::1%lo]:53",
                                      "host:53",
                                      "1.2.3.4:53 ",
                                      "[::1]:53:53",
                                      "1.2.3.4:53:53"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct endpoint_addr e;
        char text[ADDR_ENDPOINT_MAX];
        assert_int_equal(addr_endpoint_parse(str_of(good[i].in), good[i].def, &e), 0);
        assert_string_equal(addr_endpoint_format(&e, text), good[i].out);
    }
    struct endpoint_addr e = {.port = 99};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (addr_endpoint_parse(str_of(bad[i]), 53, &e) != -EINVAL)
            fail_msg("accepted %s", bad[i]);
    assert_int_equal(addr_endpoint_parse(STR_LIT("1.2.3.4"), 0, &e), -EINVAL); /* a port is required */
    assert_int_equal(addr_endpoint_parse(STR_LIT("[::1]"), 0, &e), -EINVAL);
    assert_int_equal(addr_endpoint_parse(STR_NONE, 53, &e), -EINVAL);
    assert_int_equal(e.port, 99);
    char text[ADDR_ENDPOINT_MAX];
    e = (struct endpoint_addr){.addr = addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), .port = 65535};
    assert_int_equal(strlen(addr_endpoint_format(&e, text)), 47);
}

static void sockaddrs(void **st)
{
    (void)st;
    static const char *const rows[] = {"192.0.2.1:443", "[2001:db8::5]:8443"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct endpoint_addr e, back;
        struct sockaddr_storage ss;
        assert_int_equal(addr_endpoint_parse(str_of(rows[i]), 0, &e), 0);
        socklen_t len = addr_to_sockaddr(&e, &ss);
        assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, len, &back), 0);
        assert_true(addr_eq(&e.addr, &back.addr));
        assert_int_equal(e.port, back.port);
        assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, len - 1, &back), -EAFNOSUPPORT);
        assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, 0, &back), -EAFNOSUPPORT);
    }
    struct endpoint_addr e = {.addr = addr("::ffff:192.0.2.9"), .port = 80}, back = {.port = 99};
    struct sockaddr_storage ss;
    char text[ADDR_ENDPOINT_MAX];
    socklen_t len = addr_to_sockaddr(&e, &ss);
    assert_int_equal(len, sizeof(struct sockaddr_in6));
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, len, &back), 0);
    assert_string_equal(addr_endpoint_format(&back, text), "192.0.2.9:80");
    ss.ss_family = AF_UNIX;
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, sizeof(ss), &back), -EAFNOSUPPORT);
    e.addr.family = AF_UNSPEC;
    assert_int_equal(addr_to_sockaddr(&e, &ss), 0);
}

/* Below, consecutive ranges cover the whole of each family; each begins where the one before it ends, so
 * every edge of every range is looked at from both sides. WRAP marks ranges of wrapped addresses, which have
 * tests of their own. */
#define WRAP (-1)

struct range {
    const char *first;
    int class;
};

static struct addr previous(struct addr a)
{
    for (int i = a.family == AF_INET ? 3 : 15; i >= 0 && a.bytes[i]-- == 0; i--)
        ;
    return a;
}

static void expect_class(const struct addr *a, int class)
{
    char text[ADDR_TEXT_MAX];
    if ((int)addr_classify(a) != class)
        fail_msg("%s is %s, not %s", addr_format(a, text), addr_class_name(addr_classify(a)),
                 addr_class_name((enum addr_class) class));
}

static void expect_ranges(const struct range *r, size_t n, const char *last)
{
    for (size_t i = 0; i < n; i++) {
        struct addr first = addr(r[i].first);
        struct addr end = i + 1 < n ? previous(addr(r[i + 1].first)) : addr(last);
        assert_true(memcmp(first.bytes, end.bytes, sizeof(first.bytes)) <= 0);
        if (r[i].class == WRAP)
            continue;
        expect_class(&first, r[i].class);
        expect_class(&end, r[i].class);
    }
}

static void classes_v4(void **st)
{
    (void)st;
    static const struct range ranges[] = {
        {"0.0.0.0", ADDR_UNSPECIFIED},        {"1.0.0.0", ADDR_GLOBAL},
        {"10.0.0.0", ADDR_PRIVATE},           {"11.0.0.0", ADDR_GLOBAL},
        {"100.64.0.0", ADDR_PRIVATE},         {"100.100.100.200", ADDR_METADATA},
        {"100.100.100.201", ADDR_PRIVATE},    {"100.128.0.0", ADDR_GLOBAL},
        {"127.0.0.0", ADDR_LOOPBACK},         {"128.0.0.0", ADDR_GLOBAL},
        {"168.63.129.16", ADDR_METADATA},     {"168.63.129.17", ADDR_GLOBAL},
        {"169.254.0.0", ADDR_LINK_LOCAL},     {"169.254.169.254", ADDR_METADATA},
        {"169.254.169.255", ADDR_LINK_LOCAL}, {"169.255.0.0", ADDR_GLOBAL},
        {"172.16.0.0", ADDR_PRIVATE},         {"172.32.0.0", ADDR_GLOBAL},
        {"192.0.0.0", ADDR_RESERVED},         {"192.0.0.9", ADDR_GLOBAL},
        {"192.0.0.11", ADDR_RESERVED},        {"192.0.1.0", ADDR_GLOBAL},
        {"192.0.2.0", ADDR_RESERVED},         {"192.0.3.0", ADDR_GLOBAL},
        {"192.88.99.0", ADDR_RESERVED},       {"192.88.100.0", ADDR_GLOBAL},
        {"192.168.0.0", ADDR_PRIVATE},        {"192.169.0.0", ADDR_GLOBAL},
        {"198.18.0.0", ADDR_RESERVED},        {"198.20.0.0", ADDR_GLOBAL},
        {"198.51.100.0", ADDR_RESERVED},      {"198.51.101.0", ADDR_GLOBAL},
        {"203.0.113.0", ADDR_RESERVED},       {"203.0.114.0", ADDR_GLOBAL},
        {"224.0.0.0", ADDR_MULTICAST},        {"240.0.0.0", ADDR_RESERVED},
    };
    expect_ranges(ranges, ARRAY_LEN(ranges), "255.255.255.255");
}

static void classes_v6(void **st)
{
    (void)st;
    static const struct range ranges[] = {
        {"::", ADDR_UNSPECIFIED},
        {"::1", ADDR_LOOPBACK},
        {"::2", ADDR_RESERVED},
        {"::ffff:0.0.0.0", WRAP},
        {"::1:0:0:0", ADDR_RESERVED},
        {"64:ff9b::", WRAP},
        {"64:ff9b::1:0:0", ADDR_RESERVED},
        {"64:ff9b:1::", ADDR_RESERVED},
        {"64:ff9b:2::", ADDR_RESERVED},
        {"100::", ADDR_RESERVED},
        {"100:0:0:1::", ADDR_RESERVED},
        {"100:0:0:2::", ADDR_RESERVED},
        {"2000::", ADDR_GLOBAL},
        {"2001::", WRAP},
        {"2001:1::", ADDR_RESERVED},
        {"2001:1::1", ADDR_GLOBAL},
        {"2001:1::4", ADDR_RESERVED},
        {"2001:2::", ADDR_RESERVED},
        {"2001:3::", ADDR_GLOBAL},
        {"2001:4::", ADDR_RESERVED},
        {"2001:4:112::", ADDR_GLOBAL},
        {"2001:4:113::", ADDR_RESERVED},
        {"2001:10::", ADDR_RESERVED},
        {"2001:20::", ADDR_GLOBAL},
        {"2001:30::", ADDR_GLOBAL},
        {"2001:40::", ADDR_RESERVED},
        {"2001:200::", ADDR_GLOBAL},
        {"2001:db8::", ADDR_RESERVED},
        {"2001:db9::", ADDR_GLOBAL},
        {"2002::", WRAP},
        {"2003::", ADDR_GLOBAL},
        {"2620:4f:8000::", ADDR_GLOBAL},
        {"3fff::", ADDR_RESERVED},
        {"3fff:1000::", ADDR_GLOBAL},
        {"4000::", ADDR_RESERVED},
        {"5f00::", ADDR_RESERVED},
        {"fc00::", ADDR_PRIVATE},
        {"fd00:ec2::254", ADDR_METADATA},
        {"fd00:ec2::255", ADDR_PRIVATE},
        {"fe00::", ADDR_RESERVED},
        {"fe80::", ADDR_LINK_LOCAL},
        {"fec0::", ADDR_LINK_LOCAL},
        {"ff00::", ADDR_MULTICAST},
    };
    expect_ranges(ranges, ARRAY_LEN(ranges), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

/* Whatever an IPv4 address is, it is in each of its wrappings too. */
static void wrapped(void **st)
{
    (void)st;
    static const char *const v4s[] = {
        "0.0.0.0",     "8.8.8.8",         "10.1.2.3",      "100.64.0.1",      "127.0.0.1",
        "169.254.0.1", "169.254.169.254", "168.63.129.16", "100.100.100.200", "172.31.255.255",
        "192.168.0.1", "192.0.2.1",       "224.0.0.1",     "255.255.255.255", "1.1.1.1",
        "192.0.0.9",   "192.0.0.8"};
    for (size_t i = 0; i < ARRAY_LEN(v4s); i++) {
        struct addr v4 = addr(v4s[i]);
        int class = (int)addr_classify(&v4);
        struct addr mapped = addr("::ffff:0:0"), nat64 = addr("64:ff9b::"), sixtofour = addr("2002::abcd:1");
        struct addr server = addr("2001::"), client = addr("2001:0:808:808::");
        memcpy(mapped.bytes + 12, v4.bytes, 4);
        memcpy(nat64.bytes + 12, v4.bytes, 4);
        memcpy(sixtofour.bytes + 2, v4.bytes, 4);
        memcpy(server.bytes + 4, v4.bytes, 4);
        memset(server.bytes + 12, (uint8_t)~8, 4); /* a client at 8.8.8.8 */
        for (unsigned k = 0; k < 4; k++)
            client.bytes[12 + k] = (uint8_t)~v4.bytes[k];
        expect_class(&mapped, class);
        expect_class(&nat64, class);
        expect_class(&sixtofour, class);
        expect_class(&server, class);
        expect_class(&client, class);
    }
    /* of two bad ones in a Teredo address a metadata address is the worse */
    struct addr a = addr("2001:0:0a00:0001::5601:5601"), b = addr("2001:0:a9fe:a9fe::f5ff:fffe");
    expect_class(&a, ADDR_METADATA);
    expect_class(&b, ADDR_METADATA);
}

/* Forms that are reserved as they stand, but may lead to a metadata address behind a translator. */
static void hidden_metadata(void **st)
{
    (void)st;
    static const struct range rows[] = {
        {"64:ff9b:1::169.254.169.254", ADDR_METADATA},
        {"64:ff9b:1:a9fe:a9:fe00::", ADDR_METADATA},   /* RFC 6052 section 2.2: /48 */
        {"64:ff9b:1:a9:fe:a9fe::", ADDR_METADATA},     /* /56 */
        {"64:ff9b:1:0:a9:fea9:fe00:0", ADDR_METADATA}, /* /64 */
        {"64:ff9b:1::169.254.169.253", ADDR_RESERVED},
        {"64:ff9b:1::8.8.8.8", ADDR_RESERVED},
        {"::169.254.169.254", ADDR_METADATA},
        {"::168.63.129.16", ADDR_METADATA},
        {"::8.8.8.8", ADDR_RESERVED},
        {"::127.0.0.1", ADDR_RESERVED},
        {"::ffff:0:100.100.100.200", ADDR_METADATA},
        {"::ffff:0:8.8.8.8", ADDR_RESERVED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr a = addr(rows[i].first);
        expect_class(&a, rows[i].class);
    }
    struct addr none = {0};
    expect_class(&none, ADDR_UNSPECIFIED);
    assert_string_equal(addr_class_name(ADDR_LINK_LOCAL), "link-local");
    assert_string_equal(addr_class_name((enum addr_class)99), "unknown");
}

static void equality(void **st)
{
    (void)st;
    struct addr a = addr("1.2.3.4"), b = addr("1.2.3.4"), c = addr("::ffff:1.2.3.4"), d = addr("1.2.3.5");
    b.bytes[9] = 7; /* beyond an IPv4 address: does not count */
    assert_true(addr_eq(&a, &b));
    assert_false(addr_eq(&a, &c));
    assert_false(addr_eq(&a, &d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_forms),      cmocka_unit_test(refused_texts), cmocka_unit_test(round_trip),
        cmocka_unit_test(prefixes),        cmocka_unit_test(endpoints),     cmocka_unit_test(sockaddrs),
        cmocka_unit_test(classes_v4),      cmocka_unit_test(classes_v6),    cmocka_unit_test(wrapped),
        cmocka_unit_test(hidden_metadata), cmocka_unit_test(equality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
