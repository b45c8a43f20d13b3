/* SPDX-License-Identifier: MIT */
/* ClientHellos as real clients send them (tests/fuzz/corpus/client_hello, recorded from curl, openssl
 * s_client and Python), cut and wrapped in every way, and hostile ones built here byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/io.h"
#include "proxyd/tls/alert.h"
#include "proxyd/tls/client_hello.h"

#define CORPUS "tests/fuzz/corpus/client_hello/"

static void corpus_read(const char *name, struct buf *b)
{
    char path[128];
    snprintf(path, sizeof(path), CORPUS "%s", name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    buf_init(b, 1 << 20);
    assert_int_equal(io_read_to_end(fd, b), 0);
    assert_true(b->len > 100);
}

/* Everything at once. */
static enum client_hello_outcome read_all(const uint8_t *p, size_t n, struct client_hello *h)
{
    struct client_hello_reader r = {0};
    return client_hello_read(&r, p, n, h);
}

static const struct golden {
    const char *file, *name;
    bool alpn;
    enum client_hello_outcome outcome;
} goldens[] = {
    {"openssl_tls13", "example.test", false, CLIENT_HELLO_DONE},
    {"openssl_tls12", "example.test", false, CLIENT_HELLO_DONE}, /* sent as Example.TEST */
    {"openssl_alpn", "www.example.test", true, CLIENT_HELLO_DONE},
    {"openssl_max_frag", "frag.example.test", true, CLIENT_HELLO_DONE}, /* three records */
    {"curl", "curl.example.test", true, CLIENT_HELLO_DONE},
    {"python_ssl", "python.example.test", true, CLIENT_HELLO_DONE},
    {"openssl_no_name", "", false, CLIENT_HELLO_NO_NAME},
    {"curl_literal", "", true, CLIENT_HELLO_NO_NAME},
};

static void check_golden(const struct golden *g, enum client_hello_outcome o, const struct client_hello *h)
{
    assert_int_equal(o, g->outcome);
    if (o != CLIENT_HELLO_DONE)
        return;
    assert_string_equal(h->server_name.text, g->name);
    assert_int_equal(h->has_alpn, g->alpn);
    assert_false(h->has_ech);
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        _cleanup_(buf_done) struct buf b = {0};
        struct client_hello h = {0};
        corpus_read(goldens[i].file, &b);
        check_golden(&goldens[i], read_all(b.data, b.len, &h), &h);
    }
}

/* One byte more at each call: MORE until the last one. */
static void test_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        _cleanup_(buf_done) struct buf b = {0};
        struct client_hello_reader r = {0};
        struct client_hello h = {0};
        corpus_read(goldens[i].file, &b);
        for (size_t n = 0; n < b.len; n++)
            assert_int_equal(client_hello_read(&r, b.data, n, &h), CLIENT_HELLO_MORE);
        check_golden(&goldens[i], client_hello_read(&r, b.data, b.len, &h), &h);
    }
}

/* Two TCP segments, cut at every place. */
static void test_two_segments(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        _cleanup_(buf_done) struct buf b = {0};
        corpus_read(goldens[i].file, &b);
        for (size_t n = 1; n < b.len; n++) {
            struct client_hello_reader r = {0};
            struct client_hello h = {0};
            assert_int_equal(client_hello_read(&r, b.data, n, &h), CLIENT_HELLO_MORE);
            check_golden(&goldens[i], client_hello_read(&r, b.data, b.len, &h), &h);
        }
    }
}

/* The handshake bytes of a capture, without record headers. */
static void strip_records(const struct buf *in, struct buf *out)
{
    buf_init(out, 1 << 20);
    for (size_t at = 0; at < in->len;) {
        size_t len = (size_t)in->data[at + 3] << 8 | in->data[at + 4];
        buf_put(out, in->data + at + 5, len);
        at += 5 + len;
    }
}

static void put_record(struct buf *b, const uint8_t *p, size_t n)
{
    const uint8_t head[3] = {22, 3, 1};
    buf_put(b, head, 3);
    buf_put_be16(b, (uint16_t)n);
    buf_put(b, p, n);
}

/* Two records, cut at every place; and records of one byte each. */
static void test_many_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        _cleanup_(buf_done) struct buf b = {0}, msg = {0}, wrapped = {0};
        struct client_hello h = {0};
        corpus_read(goldens[i].file, &b);
        strip_records(&b, &msg);
        buf_init(&wrapped, 1 << 20);
        for (size_t n = 1; n < msg.len; n++) {
            buf_clear(&wrapped);
            put_record(&wrapped, msg.data, n);
            put_record(&wrapped, msg.data + n, msg.len - n);
            check_golden(&goldens[i], read_all(wrapped.data, wrapped.len, &h), &h);
        }
        buf_clear(&wrapped);
        for (size_t n = 0; n < msg.len; n++)
            put_record(&wrapped, msg.data + n, 1);
        check_golden(&goldens[i], read_all(wrapped.data, wrapped.len, &h), &h);
    }
}

static void test_early_data_behind(void **state)
{
    (void)state;
    _cleanup_(buf_done) struct buf b = {0};
    struct client_hello h = {0};
    corpus_read("openssl_tls13", &b);
    buf_put(&b, "\x14\x03\x03\x00\x01\x01\x17\x03\x03\xff\xff", 11);
    check_golden(&goldens[0], read_all(b.data, b.len, &h), &h);
}

/* ---- built ---- */

static void put_ext(struct buf *b, uint16_t type, const void *p, size_t n)
{
    buf_put_be16(b, type);
    buf_put_be16(b, (uint16_t)n);
    buf_put(b, p, n);
}

/* server_name with these bytes as the one host_name */
static void put_sni(struct buf *b, const char *p, size_t n)
{
    _cleanup_(buf_done) struct buf e = {0};
    buf_init(&e, 4096);
    buf_put_be16(&e, (uint16_t)(n + 3));
    buf_putc(&e, 0);
    buf_put_be16(&e, (uint16_t)n);
    buf_put(&e, p, n);
    put_ext(b, 0, e.data, e.len);
}

/* A whole record around these extensions. */
static void build(struct buf *out, const struct buf *ext)
{
    _cleanup_(buf_done) struct buf body = {0}, msg = {0};
    static const uint8_t random_bytes[32] = {1, 2, 3};
    buf_init(&body, 1 << 17);
    buf_init(&msg, 1 << 17);
    buf_init(out, 1 << 17);
    buf_put_be16(&body, 0x0303);
    buf_put(&body, random_bytes, 32);
    buf_putc(&body, 0);
    buf_put(&body, "\x00\x02\x13\x01\x01\x00", 6);
    if (ext) {
        buf_put_be16(&body, (uint16_t)ext->len);
        buf_put(&body, ext->data, ext->len);
    }
    buf_putc(&msg, 1);
    buf_putc(&msg, (uint8_t)(body.len >> 16));
    buf_put_be16(&msg, (uint16_t)body.len);
    buf_put(&msg, body.data, body.len);
    for (size_t at = 0; at < msg.len; at += 16384)
        put_record(out, msg.data + at, msg.len - at < 16384 ? msg.len - at : 16384);
}

static enum client_hello_outcome read_built(const struct buf *ext, struct client_hello *h)
{
    _cleanup_(buf_done) struct buf b = {0};
    build(&b, ext);
    return read_all(b.data, b.len, h);
}

static enum client_hello_outcome with_name(const char *p, size_t n, struct client_hello *h)
{
    _cleanup_(buf_done) struct buf e = {0};
    buf_init(&e, 1 << 16);
    put_sni(&e, p, n);
    return read_built(&e, h);
}

static void test_names(void **state)
{
    (void)state;
    struct client_hello h;
    assert_int_equal(with_name("a.example", 9, &h), CLIENT_HELLO_DONE);
    assert_string_equal(h.server_name.text, "a.example");
    assert_int_equal(with_name("A.Example.", 10, &h), CLIENT_HELLO_DONE);
    assert_string_equal(h.server_name.text, "a.example");

    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
        {"good.example\0.evil.example", 26},
        {"good.example\0", 13},
        {"192.0.2.1", 9},
        {"[2001:db8::1]", 13},
        {"2001:db8::1", 11},
        {"b\xc3\xbc.example", 10},
        {"a b.example", 11},
        {"*.example", 9},
        {"a..example", 10},
        {".example", 8},
        {"-a.example", 10},
        {"under_score.example", 19},
        {"a.example:443", 13},
        {"a/example", 9},
        {"1", 1},
        {"a.example\n", 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(with_name(bad[i].p, bad[i].n, &h), CLIENT_HELLO_BAD_NAME);
    char longest[260];
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(with_name(longest, sizeof(longest), &h), CLIENT_HELLO_BAD_NAME);
}

static void test_two_names(void **state)
{
    (void)state;
    struct client_hello h;
    _cleanup_(buf_done) struct buf e = {0}, list = {0};
    buf_init(&e, 4096);
    put_sni(&e, "good.example", 12);
    put_sni(&e, "evil.example", 12); /* the extension twice */
    assert_int_equal(read_built(&e, &h), CLIENT_HELLO_BAD_NAME);

    buf_init(&list, 4096); /* two host_names in one list */
    buf_put(&list,
            "\x00\x1e\x00\x00\x0cgood.example\x00\x00\x0c"
            "evil.example",
            32);
    buf_clear(&e);
    put_ext(&e, 0, list.data, list.len);
    assert_int_equal(read_built(&e, &h), CLIENT_HELLO_BAD_NAME);

    buf_clear(&e); /* a name of an unknown type */
    put_ext(&e, 0, "\x00\x05\x07\x00\x02hi", 7);
    assert_int_equal(read_built(&e, &h), CLIENT_HELLO_BAD_NAME);
}

static void test_malformed_extensions(void **state)
{
    (void)state;
    struct client_hello h;
    static const struct {
        uint16_t type;
        const char *p;
        size_t n;
    } bad[] = {
        {0, "", 0},                       /* empty server_name is a server's answer */
        {0, "\x00\x00", 2},               /* an empty list */
        {0, "\x00\x03\x00\x00\x00", 5},   /* an empty name */
        {0, "\x00\x04\x00\x00\x05g", 6},  /* longer than the list */
        {0, "\x00\x09\x00\x00\x01g", 6},  /* list longer than the extension */
        {0, "\x00\x04\x00\x00\x01gX", 7}, /* bytes behind the list */
        {16, "\x00\x00", 2},              /* no protocol */
        {16, "\x00\x03\x00h2", 5},        /* an empty protocol */
        {16, "\x00\x03\x05h2", 5},        /* longer than the list */
        {16, "\x00\x03\x02h2X", 6},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_(buf_done) struct buf e = {0};
        buf_init(&e, 4096);
        if (bad[i].type != 0)
            put_sni(&e, "good.example", 12);
        put_ext(&e, bad[i].type, bad[i].p, bad[i].n);
        assert_int_equal(read_built(&e, &h), CLIENT_HELLO_NOT_TLS);
    }
    _cleanup_(buf_done) struct buf e = {0}; /* any other extension twice, and a cut one */
    buf_init(&e, 4096);
    put_sni(&e, "good.example", 12);
    put_ext(&e, 0x1234, "", 0);
    put_ext(&e, 0x1234, "", 0);
    assert_int_equal(read_built(&e, &h), CLIENT_HELLO_NOT_TLS);
    buf_clear(&e);
    put_sni(&e, "good.example", 12);
    buf_put(&e, "\x00\x2b\x00", 3);
    assert_int_equal(read_built(&e, &h), CLIENT_HELLO_NOT_TLS);
}

static void test_ech_and_no_extensions(void **state)
{
    (void)state;
    struct client_hello h;
    _cleanup_(buf_done) struct buf e = {0};
    buf_init(&e, 4096);
    put_ext(&e, 0xfe0d, "\x00", 1);
    put_sni(&e, "public.example", 14);
    assert_int_equal(read_built(&e, &h), CLIENT_HELLO_DONE);
    assert_true(h.has_ech);
    assert_int_equal(read_built(NULL, &h), CLIENT_HELLO_NO_NAME);
}

/* Not TLS at all is known from the first wrong byte on, not at the time limit. */
static void test_not_tls(void **state)
{
    (void)state;
    struct client_hello h;
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
        {"\x16\x02", 2},                                  /* SSL 2 as a record version */
        {"\x16\x03\x05\x00\x10", 5},                      /* a version that does not exist */
        {"\x17\x03\x01\x00\x10", 5},                      /* application data first */
        {"\x16\x03\x01\x00\x00", 5},                      /* an empty record */
        {"\x16\x03\x01\x40\x01", 5},                      /* larger than a record may be */
        {"\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9},      /* ServerHello */
        {"\x16\x03\x01\x00\x04\x01\xff\xff\xff", 9},      /* 16 MiB */
        {"\x16\x03\x01\x00\x05\x01\x00\x00\x00\x00", 10}, /* an empty hello and something behind it */
        {"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9},      /* an empty hello */
        {"\x16\x03\x01\x00\x02\x01\x00\x15\x03\x01", 10}, /* an alert between two fragments */
        {"\x80\x2e\x01\x03\x01", 5},                      /* the SSL 2 form */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(read_all((const uint8_t *)bad[i].p, bad[i].n, &h), CLIENT_HELLO_NOT_TLS);
}

/* A second handshake message in the hello's record would be a second name. */
static void test_second_message(void **state)
{
    (void)state;
    struct client_hello h;
    _cleanup_(buf_done) struct buf b = {0}, msg = {0}, wrapped = {0};
    corpus_read("openssl_tls13", &b);
    strip_records(&b, &msg);
    size_t n = msg.len;
    buf_put(&msg, msg.data, 40);
    buf_init(&wrapped, 1 << 16);
    put_record(&wrapped, msg.data, msg.len);
    assert_int_equal(read_all(wrapped.data, wrapped.len, &h), CLIENT_HELLO_NOT_TLS);
    buf_clear(&wrapped); /* in a record of its own it is the server's to refuse */
    put_record(&wrapped, msg.data, n);
    put_record(&wrapped, msg.data + n, 40);
    assert_int_equal(read_all(wrapped.data, wrapped.len, &h), CLIENT_HELLO_DONE);
}

static void test_limit(void **state)
{
    (void)state;
    struct client_hello h;
    static uint8_t fill[20000];
    for (size_t pad = 16000; pad < 16700; pad += 50) {
        _cleanup_(buf_done) struct buf e = {0}, b = {0};
        buf_init(&e, 1 << 16);
        put_sni(&e, "good.example", 12);
        put_ext(&e, 21, fill, pad);
        build(&b, &e);
        assert_int_equal(read_all(b.data, b.len, &h),
                         b.len <= LIMIT_PEEK ? CLIENT_HELLO_DONE : CLIENT_HELLO_NOT_TLS);
    }
    /* records of one byte: their headers count as well */
    _cleanup_(buf_done) struct buf tiny = {0};
    buf_init(&tiny, 1 << 16);
    struct client_hello_reader r = {0};
    uint8_t message[4] = {1, 0, 0x20, 0};
    enum client_hello_outcome o = CLIENT_HELLO_MORE;
    for (size_t i = 0; o == CLIENT_HELLO_MORE && i < 4000; i++) {
        put_record(&tiny, i < 4 ? &message[i] : fill, 1);
        o = client_hello_read(&r, tiny.data, tiny.len, &h);
    }
    assert_int_equal(o, CLIENT_HELLO_NOT_TLS);
    assert_true(tiny.len <= LIMIT_PEEK + 6);
}

static void test_alert(void **state)
{
    (void)state;
    uint8_t b[ALERT_LEN];
    alert_record(ALERT_UNRECOGNIZED_NAME, b);
    assert_memory_equal(b, "\x15\x03\x03\x00\x02\x02\x70", 7);
    alert_record(ALERT_ACCESS_DENIED, b);
    assert_memory_equal(b, "\x15\x03\x03\x00\x02\x02\x31", 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_two_segments),
        cmocka_unit_test(test_many_records),
        cmocka_unit_test(test_early_data_behind),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_two_names),
        cmocka_unit_test(test_malformed_extensions),
        cmocka_unit_test(test_ech_and_no_extensions),
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_second_message),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_alert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
