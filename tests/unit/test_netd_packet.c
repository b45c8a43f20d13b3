/* SPDX-License-Identifier: MIT */
#include "netd/packet.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after the standard headers it needs */
#include <cmocka.h>

#define V4(protocol, fragment)                                                                               \
    0x45, 0, 0, 40, 0x12, 0x34, (fragment) >> 8, (fragment)&0xff, 64, (protocol), 0, 0, 10, 88, 0, 2, 203,   \
        0, 113, 9
#define V6(next)                                                                                             \
    0x60, 0, 0, 0, 0, 20, (next), 64, 0xfd, 0, 0xce, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x20, 1, 0xd, \
        0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9
#define PORTS 0x1f, 0x90, 0x01, 0xbb /* 8080, 443 */

static struct packet_tuple parsed(const uint8_t *p, size_t n, uint64_t length)
{
    struct packet_tuple t = {0};
    uint64_t got = 0;
    assert_int_equal(packet_parse(p, n, &t, &got), 0);
    assert_int_equal(got, length);
    return t;
}

static void assert_ends(const struct packet_tuple *t, const char *protocol, const char *source,
                        const char *destination)
{
    char a[PACKET_PROTOCOL_MAX], b[ADDR_ENDPOINT_MAX];
    assert_string_equal(packet_protocol(t->protocol, a), protocol);
    assert_string_equal(packet_end(t, &t->source, b), source);
    assert_string_equal(packet_end(t, &t->destination, b), destination);
}

static void test_ipv4(void **state)
{
    (void)state;
    const uint8_t tcp[] = {V4(6, 0x4000), PORTS, 0, 0, 0, 0};
    const uint8_t udp[] = {V4(17, 0), PORTS};
    const uint8_t icmp[] = {V4(1, 0), 8, 0, 0, 0};
    const uint8_t gre[] = {V4(47, 0), PORTS};
    struct packet_tuple t = parsed(tcp, sizeof(tcp), 40);
    assert_ends(&t, "tcp", "10.88.0.2:8080", "203.0.113.9:443");
    t = parsed(udp, sizeof(udp), 40);
    assert_ends(&t, "udp", "10.88.0.2:8080", "203.0.113.9:443");
    t = parsed(icmp, sizeof(icmp), 40);
    assert_ends(&t, "icmp", "10.88.0.2", "203.0.113.9");
    t = parsed(gre, sizeof(gre), 40);
    assert_ends(&t, "47", "10.88.0.2", "203.0.113.9");
}

static void test_ipv4_options_and_fragments(void **state)
{
    (void)state;
    uint8_t options[] = {V4(17, 0), 0x94, 4, 0, 0, PORTS};
    const uint8_t first[] = {V4(17, 0x2000), PORTS}; /* more follow, offset 0 */
    const uint8_t later[] = {V4(17, 0x2001), PORTS}; /* what looks like ports is data */
    options[0] = 0x46;
    struct packet_tuple t = parsed(options, sizeof(options), 40);
    assert_ends(&t, "udp", "10.88.0.2:8080", "203.0.113.9:443");
    t = parsed(options, 20, 40); /* cut within the options */
    assert_ends(&t, "udp", "10.88.0.2", "203.0.113.9");
    options[0] = 0x44;
    uint64_t length = 0;
    assert_int_equal(packet_parse(options, sizeof(options), &t, &length), -EBADMSG);
    t = parsed(first, sizeof(first), 40);
    assert_true(t.has_ports);
    t = parsed(later, sizeof(later), 40);
    assert_false(t.has_ports);
}

static void test_ipv6_and_its_extensions(void **state)
{
    (void)state;
    const uint8_t plain[] = {V6(6), PORTS};
    const uint8_t icmp[] = {V6(58), 128, 0, 0, 0};
    const uint8_t chain[] = {
        V6(0), 60, 0, 1, 4, 0, 0, 0, 0,                      /* hop by hop, 8 bytes */
        43,    1,  1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* destination options, 16 */
        44,    0,  0, 0, 0, 0, 0, 0,                         /* routing, 8 */
        51,    0,  0, 1, 0, 0, 0, 1,                         /* first fragment */
        17,    4,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* AH, 24 */
        PORTS};
    struct packet_tuple t = parsed(plain, sizeof(plain), 60);
    assert_ends(&t, "tcp", "[fd00:ce11::2]:8080", "[2001:db8::9]:443");
    t = parsed(icmp, sizeof(icmp), 60);
    assert_ends(&t, "icmp", "fd00:ce11::2", "2001:db8::9");
    t = parsed(chain, sizeof(chain), 60);
    assert_ends(&t, "udp", "[fd00:ce11::2]:8080", "[2001:db8::9]:443");
    t = parsed(chain, sizeof(chain) - 1, 60); /* half a port is none */
    assert_ends(&t, "udp", "fd00:ce11::2", "2001:db8::9");
    t = parsed(chain, 50, 60); /* cut within the second header: its number is the last one known */
    assert_ends(&t, "60", "fd00:ce11::2", "2001:db8::9");
}

static void test_ipv6_fragment_in_the_middle(void **state)
{
    (void)state;
    const uint8_t later[] = {V6(44), 17, 0, 0, 9, 0, 0, 0, 1, PORTS};
    struct packet_tuple t = parsed(later, sizeof(later), 60);
    assert_ends(&t, "udp", "fd00:ce11::2", "2001:db8::9");
}

/* A chain without an end costs a bounded number of steps, and claims no ports. */
static void test_endless_extensions(void **state)
{
    (void)state;
    uint8_t p[40 + 8 * 32] = {V6(0)};
    for (size_t i = 40; i < sizeof(p); i += 8)
        memcpy(p + i, (const uint8_t[]){i + 8 < sizeof(p) ? 0 : 17, 0, 1, 4, 0, 0, 0, 0}, 8);
    struct packet_tuple t = parsed(p, sizeof(p), 60);
    assert_int_equal(t.protocol, 0);
    assert_false(t.has_ports);
}

/* At every length: an answer or a refusal, and never ports that are not there. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    const uint8_t v4[] = {V4(6, 0), PORTS}, v6[] = {V6(6), PORTS};
    struct packet_tuple t;
    uint64_t length;
    for (size_t n = 0; n < sizeof(v4); n++) {
        int r = packet_parse(v4, n, &t, &length);
        assert_int_equal(r, n < 20 ? -EBADMSG : 0);
        assert_false(r == 0 && t.has_ports);
    }
    for (size_t n = 0; n < sizeof(v6); n++) {
        int r = packet_parse(v6, n, &t, &length);
        assert_int_equal(r, n < 40 ? -EBADMSG : 0);
        assert_false(r == 0 && t.has_ports);
    }
    assert_int_equal(packet_parse(NULL, 0, &t, &length), -EBADMSG);
    assert_int_equal(packet_parse("\x50", 1, &t, &length), -EBADMSG);
}

static void test_equal(void **state)
{
    (void)state;
    const uint8_t p[] = {V4(6, 0), PORTS};
    const struct packet_tuple a = parsed(p, sizeof(p), 40);
    struct packet_tuple b = a;
    assert_true(packet_tuple_eq(&a, &b));
    b.protocol = 17;
    assert_false(packet_tuple_eq(&a, &b));
    b = a;
    b.source.port++;
    assert_false(packet_tuple_eq(&a, &b));
    b = a;
    b.destination.addr.bytes[3]++;
    assert_false(packet_tuple_eq(&a, &b));
    b = a;
    b.has_ports = false;
    assert_false(packet_tuple_eq(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipv4),
        cmocka_unit_test(test_ipv4_options_and_fragments),
        cmocka_unit_test(test_ipv6_and_its_extensions),
        cmocka_unit_test(test_ipv6_fragment_in_the_middle),
        cmocka_unit_test(test_endless_extensions),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
