/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "proxyd/dns/dns.h"
#include "proxyd/dns/reply.h"

#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

/* id 1234, RD, one question */
#define ASK_HEADER "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#define Q_EXAMPLE                                                                                            \
    "\x03www\x07"                                                                                            \
    "example\x03"                                                                                            \
    "com\x00\x00\x01\x00\x01"

static void reads_a_golden_query(void **state)
{
    struct dns_ask ask;

    (void)state;
    assert_int_equal(dns_ask_read(BYTES(ASK_HEADER "\x03wWw\x07"
                                                   "ExamPLE\x03"
                                                   "com\x00\x00\x1c\x00\x01"),
                                  &ask),
                     0);
    assert_int_equal(ask.id, 0x1234);
    assert_true(ask.rd);
    assert_false(ask.edns);
    assert_int_equal(ask.udp_size, 512);
    assert_int_equal(ask.q.qtype, DNS_TYPE_AAAA);
    assert_int_equal(ask.q.qclass, DNS_CLASS_IN);
    assert_true(ask.host);
    assert_string_equal(ask.name.text, "www.example.com");
    assert_memory_equal(ask.q.qname.b, "\x03wWw", 4); /* the echo keeps the case */
}

static void reads_edns(void **state)
{
    static const char with_opt[] = "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01" Q_EXAMPLE
                                   "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";
    static const char version_1[] = "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01" Q_EXAMPLE
                                    "\x00\x00\x29\x10\x00\x00\x01\x00\x00\x00\x00";
    static const char twice[] = "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x02" Q_EXAMPLE
                                "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"
                                "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";
    static const char owned[] = "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01" Q_EXAMPLE
                                "\x01x\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";
    struct dns_ask ask;

    (void)state;
    assert_int_equal(dns_ask_read(BYTES(with_opt), &ask), 0);
    assert_true(ask.edns);
    assert_int_equal(ask.udp_size, 4096);
    assert_false(ask.rd);
    assert_int_equal(dns_ask_read(BYTES(version_1), &ask), -EBADMSG);
    assert_int_equal(dns_ask_read(BYTES(twice), &ask), -EBADMSG);
    assert_int_equal(dns_ask_read(BYTES(owned), &ask), -EBADMSG);
}

static void every_truncation_is_refused(void **state)
{
    static const char whole[] = "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01" Q_EXAMPLE
                                "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x00";
    struct dns_ask ask;

    (void)state;
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        /* a copy of its own, so that the sanitizer sees a read behind the end */
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, whole, n);
        assert_int_equal(dns_ask_read(cut, n, &ask), -EBADMSG);
        free(cut);
    }
    assert_int_equal(dns_ask_read(BYTES(whole), &ask), 0);
}

static void refuses_what_is_no_plain_query(void **state)
{
    static const struct {
        const char *what;
        const char *bytes;
        size_t n;
        bool readable;
    } cases[] = {
#define CASE(what, s, readable) {what, s, sizeof(s) - 1, readable}
        CASE("response", "\x00\x01\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00" Q_EXAMPLE, true),
        CASE("opcode", "\x00\x01\x10\x00\x00\x01\x00\x00\x00\x00\x00\x00" Q_EXAMPLE, true),
        CASE("no question", "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", false),
        CASE("two questions", "\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00" Q_EXAMPLE Q_EXAMPLE, true),
        CASE("65535 questions", "\x00\x01\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff" Q_EXAMPLE, true),
        CASE("an answer", "\x00\x01\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00" Q_EXAMPLE, true),
        CASE("65535 additional", "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\xff\xff" Q_EXAMPLE, true),
        CASE("trailing byte", ASK_HEADER Q_EXAMPLE "\x00", true),
        CASE("pointer to itself", ASK_HEADER "\xc0\x0c\x00\x01\x00\x01", false),
        CASE("pointer forward", ASK_HEADER "\xc0\x20\x00\x01\x00\x01\x01x\x00", false),
        CASE("pointer into the header", ASK_HEADER "\x01x\xc0\x00\x00\x01\x00\x01", false),
        CASE("pointer loop", ASK_HEADER "\x01x\xc0\x0c\x00\x01\x00\x01", false),
        CASE("pointer cut", ASK_HEADER "\x01x\xc0", false),
        CASE("label type 01", ASK_HEADER "\x41x\x00\x00\x01\x00\x01", false),
        CASE("label type 10", ASK_HEADER "\x81x\x00\x00\x01\x00\x01", false),
        CASE("label over the end", ASK_HEADER "\x3fx", false),
    };
    struct dns_ask ask;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (dns_ask_read((const uint8_t *)cases[i].bytes, cases[i].n, &ask) != -EBADMSG)
            fail_msg("taken: %s", cases[i].what);
        if ((ask.q.qname.len > 0) != cases[i].readable)
            fail_msg("name readable or not: %s", cases[i].what);
    }
}

/* labels of one byte, total wire length n (odd) */
static size_t long_name(uint8_t *dst, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        dst[i] = 1;
        dst[i + 1] = 'a';
    }
    dst[n - 1] = 0;
    return n;
}

static void names_end_at_255_bytes(void **state)
{
    uint8_t msg[DNS_HEADER_LEN + 600] = {0};
    struct dns_wire_name name;
    struct name host;

    (void)state;
    for (size_t n = 251; n <= 513; n += 2) {
        size_t len = DNS_HEADER_LEN + long_name(msg + DNS_HEADER_LEN, n);
        struct dns_reader r = dns_reader_of(msg, len);
        r.at.p += DNS_HEADER_LEN;
        assert_int_equal(dns_name_read(&r, &name), n <= 255 ? 0 : -EBADMSG);
        if (n > 255)
            continue;
        assert_int_equal(name.len, n);
        assert_int_equal(cursor_left(&r.at), 0);
        assert_true(dns_name_host(&name, &host));
        struct dns_wire_name back = {.len = 0};
        dns_name_from_host(&host, &back);
        assert_true(dns_name_eq(&name, &back));
    }
}

/* A chain of pointers, each to the one before, is cut after DNS_JUMPS_MAX of them. */
static void pointer_chains_are_capped(void **state)
{
    uint8_t msg[1024] = {0};
    struct dns_wire_name name;
    size_t at = DNS_HEADER_LEN + 1; /* the root name at 12 */

    (void)state;
    for (unsigned jumps = 1; jumps < 100; jumps++, at += 2) {
        size_t target = jumps == 1 ? DNS_HEADER_LEN : at - 2;
        msg[at] = (uint8_t)(0xc0 | target >> 8);
        msg[at + 1] = (uint8_t)target;
        struct dns_reader r = dns_reader_of(msg, at + 2);
        r.at.p += at;
        assert_int_equal(dns_name_read(&r, &name), jumps <= DNS_JUMPS_MAX ? 0 : -EBADMSG);
    }
}

static void odd_labels_are_no_host_names(void **state)
{
    static const struct {
        struct dns_wire_name name;
        const char *text;
    } cases[] = {
        {{1, {0}}, "."},
        {{5, {3, 'a', 0, 'b', 0}}, "a\\000b"},
        {{5, {3, 'a', '.', 'b', 0}}, "a\\.b"},
        {{5, {3, 'A', ' ', '\\', 0}}, "a\\032\\\\"},
        {{5, {3, 'a', '*', 0xff, 0}}, "a*\\255"},
    };
    char text[DNS_NAME_TEXT_MAX];
    struct name host;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_false(dns_name_host(&cases[i].name, &host));
        assert_string_equal(dns_name_text(&cases[i].name, text), cases[i].text);
    }
}

static void escaped_text_is_bounded(void **state)
{
    struct dns_wire_name name = {.len = 255};
    char text[DNS_NAME_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < 254; i++)
        name.b[i] = i % 64 ? 0xff : i < 192 ? 63 : 61;
    name.b[254] = 0;
    dns_name_text(&name, text);
    size_t n = strlen(text);
    assert_in_range(n, 200, LIMIT_HOSTNAME);
    assert_string_equal(text + n - 3, "...");
    /* every full host name fits as it is */
    long_name(name.b, 255);
    assert_int_equal(strlen(dns_name_text(&name, text)), 253);
    assert_null(strstr(text, ".."));
    assert_int_equal(text[252], 'a');
}

static struct dns_ask ask_of(const char *bytes, size_t n)
{
    struct dns_ask ask;

    assert_int_equal(dns_ask_read((const uint8_t *)bytes, n, &ask), 0);
    return ask;
}

static void writes_a_golden_refusal(void **state)
{
    static const char plain[] = "\x12\x34\x81\x85\x00\x01\x00\x00\x00\x00\x00\x00" Q_EXAMPLE;
    static const char edns[] = "\x00\x01\x80\x85\x00\x01\x00\x00\x00\x00\x00\x01" Q_EXAMPLE
                               "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
    struct dns_ask ask = ask_of(ASK_HEADER Q_EXAMPLE, sizeof(ASK_HEADER Q_EXAMPLE) - 1);
    struct buf b;

    (void)state;
    buf_init(&b, 1024);
    assert_int_equal(dns_reply_write(&b, &ask, DNS_REFUSED, NULL, 0, 512), 0);
    assert_int_equal(b.len, sizeof(plain) - 1);
    assert_memory_equal(b.data, plain, b.len);
    ask = (struct dns_ask){.id = 1, .edns = true, .q = ask.q};
    buf_clear(&b);
    assert_int_equal(dns_reply_write(&b, &ask, DNS_REFUSED, NULL, 0, 512), 0);
    assert_int_equal(b.len, sizeof(edns) - 1);
    assert_memory_equal(b.data, edns, b.len);
    buf_done(&b);
}

/* n records of the name asked, 4 bytes each */
static struct dns_reply *reply_of(const struct dns_ask *ask, uint16_t n, uint32_t ttl)
{
    struct dns_rr rr = {.owner = ask->q.qname, .type = DNS_TYPE_A, .class = DNS_CLASS_IN, .rdlen = 4};
    struct dns_reply *reply;
    struct buf wire;

    buf_init(&wire, 1 << 20);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(dns_reply_put_rr(&wire, (const uint8_t *)"\x5d\xb8\xd8\x22", &rr, ttl), 0);
    reply = dns_reply_new(DNS_NOERROR, n, ttl, &wire);
    assert_non_null(reply);
    buf_done(&wire);
    return reply;
}

static void writes_a_golden_answer(void **state)
{
    static const char golden[] = "\x12\x34\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00" Q_EXAMPLE
                                 "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x37\x00\x04\x5d\xb8\xd8\x22"
                                 "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x37\x00\x04\x5d\xb8\xd8\x22";
    struct dns_ask ask = ask_of(ASK_HEADER Q_EXAMPLE, sizeof(ASK_HEADER Q_EXAMPLE) - 1);
    struct dns_reply *reply = reply_of(&ask, 2, 60);
    struct buf b;

    (void)state;
    buf_init(&b, 1024);
    reply->at_us = 1000000;
    /* five seconds old: 60 becomes 55 */
    assert_int_equal(dns_reply_write(&b, &ask, DNS_NOERROR, reply, 6000000, 512), 0);
    assert_int_equal(b.len, sizeof(golden) - 1);
    assert_memory_equal(b.data, golden, b.len);
    buf_done(&b);
    dns_reply_unref(reply);
}

static void too_long_an_answer_is_truncated(void **state)
{
    static const char golden[] = "\x12\x34\x83\x80\x00\x01\x00\x00\x00\x00\x00\x00" Q_EXAMPLE;
    struct dns_ask ask = ask_of(ASK_HEADER Q_EXAMPLE, sizeof(ASK_HEADER Q_EXAMPLE) - 1);
    /* 33 + 16 n: 29 records are 497 bytes, 30 are 513 */
    struct dns_reply *fits = reply_of(&ask, 29, 60), *longer = reply_of(&ask, 30, 60);
    struct buf b;

    (void)state;
    buf_init(&b, 65536);
    assert_int_equal(dns_reply_write(&b, &ask, DNS_NOERROR, fits, 0, 512), 0);
    assert_int_equal(b.len, 497);
    buf_clear(&b);
    assert_int_equal(dns_reply_write(&b, &ask, DNS_NOERROR, longer, 0, 512), 0);
    assert_int_equal(b.len, sizeof(golden) - 1);
    assert_memory_equal(b.data, golden, b.len);
    buf_done(&b);
    dns_reply_unref(fits);
    dns_reply_unref(longer);
}

static void expands_names_in_rdata(void **state)
{
    /* an MX record whose exchange is a pointer to offset 12 */
    static const uint8_t msg[] = "............\x02mx\x00\x00\x0a\xc0\x0c";
    struct dns_rr rr = {.owner = {1, {0}}, .type = 15, .class = 1, .rdata = 16, .rdlen = 4};
    struct buf wire;

    (void)state;
    buf_init(&wire, 1024);
    assert_int_equal(dns_reply_put_rr(&wire, msg, &rr, 7), 0);
    assert_int_equal(wire.len, 1 + 10 + 6);
    assert_memory_equal(wire.data + 1 + 8, "\x00\x06\x00\x0a\x02mx\x00", 8);
    /* a name that goes on behind its rdata */
    rr.rdlen = 3;
    assert_int_equal(dns_reply_put_rr(&wire, msg, &rr, 7), -EBADMSG);
    buf_done(&wire);
}

static void matches_only_the_answer_to_the_question(void **state)
{
    static const char answer[] = "\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x03WWW\x07"
                                 "eXample\x03"
                                 "com\x00\x00\x01\x00\x01";
    struct dns_ask ask = ask_of(ASK_HEADER Q_EXAMPLE, sizeof(ASK_HEADER Q_EXAMPLE) - 1);
    uint8_t b[sizeof(answer) - 1];

    (void)state;
    memcpy(b, answer, sizeof(b));
    assert_true(dns_response_matches(b, sizeof(b), 0x1234, &ask.q));
    assert_false(dns_response_matches(b, sizeof(b), 0x1235, &ask.q));
    assert_false(dns_response_matches(b, sizeof(b) - 1, 0x1234, &ask.q));
    /* one changed byte: QR, opcode, count, a letter, type, class */
    static const struct {
        size_t at;
        uint8_t value;
    } changes[] = {{2, 0x01}, {2, 0x91}, {5, 0}, {5, 2}, {14, 'v'}, {sizeof(b) - 3, 28}, {sizeof(b) - 1, 3}};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        memcpy(b, answer, sizeof(b));
        b[changes[i].at] = changes[i].value;
        assert_false(dns_response_matches(b, sizeof(b), 0x1234, &ask.q));
    }
}

static void types_and_codes_have_names(void **state)
{
    char t[DNS_TYPE_TEXT_MAX], r[DNS_RCODE_TEXT_MAX];
    uint16_t n = 7;

    (void)state;
    assert_int_equal(dns_type_parse(STR_LIT("aaaa"), &n), 0);
    assert_int_equal(n, 28);
    assert_int_equal(dns_type_parse(STR_LIT("TYPE65535"), &n), 0);
    assert_int_equal(n, 65535);
    n = 7;
    assert_int_equal(dns_type_parse(STR_LIT("TYPE65536"), &n), -EINVAL);
    assert_int_equal(dns_type_parse(STR_LIT("AAAAA"), &n), -EINVAL);
    assert_int_equal(dns_type_parse(STR_LIT("AAA"), &n), -EINVAL);
    assert_int_equal(dns_type_parse(STR_LIT("TYPE"), &n), -EINVAL);
    assert_int_equal(dns_type_parse(STR_LIT(""), &n), -EINVAL);
    assert_int_equal(n, 7);
    assert_string_equal(dns_type_text(65, t), "HTTPS");
    assert_string_equal(dns_type_text(65535, t), "TYPE65535");
    assert_string_equal(dns_rcode_text(3, r), "NXDOMAIN");
    assert_string_equal(dns_rcode_text(15, r), "RCODE15");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_golden_query),
        cmocka_unit_test(reads_edns),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(refuses_what_is_no_plain_query),
        cmocka_unit_test(names_end_at_255_bytes),
        cmocka_unit_test(pointer_chains_are_capped),
        cmocka_unit_test(odd_labels_are_no_host_names),
        cmocka_unit_test(escaped_text_is_bounded),
        cmocka_unit_test(writes_a_golden_refusal),
        cmocka_unit_test(writes_a_golden_answer),
        cmocka_unit_test(too_long_an_answer_is_truncated),
        cmocka_unit_test(expands_names_in_rdata),
        cmocka_unit_test(matches_only_the_answer_to_the_question),
        cmocka_unit_test(types_and_codes_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
