/* SPDX-License-Identifier: MIT */
/* Server names out of QUIC Initial packets: the RFCs' own samples, packets recorded from ngtcp2 (GnuTLS), and
 * hostile ones built here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>

#include "common/base/encoding.h"
#include "common/base/io.h"
#include "proxyd/quic/frames.h"
#include "proxyd/quic/initial.h"
#include "tests/unit/quic_packets.h"
#include "tests/unit/quic_rfc.h"

static size_t from_hex(const char *text, uint8_t *dst, size_t max)
{
    size_t n = strlen(text) / 2;
    assert_true(n <= max);
    for (size_t i = 0; i < n; i++) {
        unsigned v;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &v), 1);
        dst[i] = (uint8_t)v;
    }
    return n;
}

static struct quic_cid rfc_dcid(void)
{
    struct quic_cid c = {0};
    c.len = (uint8_t)from_hex(RFC_DCID, c.bytes, sizeof(c.bytes));
    return c;
}

/* ---- the RFCs ---- */

static const struct rfc {
    uint32_t version;
    const char *keys, *packet;
} rfcs[] = {
    {QUIC_V1, RFC9001_KEYS, RFC9001_CLIENT_INITIAL},
    {QUIC_V2, RFC9369_KEYS, RFC9369_CLIENT_INITIAL},
};

static void test_rfc_keys(void **state)
{
    (void)state;
    struct quic_cid dcid = rfc_dcid();
    for (size_t i = 0; i < ARRAY_LEN(rfcs); i++) {
        uint8_t want[44];
        struct quic_keys k;
        assert_int_equal(from_hex(rfcs[i].keys, want, sizeof(want)), 44);
        quic_keys_derive(rfcs[i].version, &dcid, &k);
        assert_memory_equal(k.key, want, 16);
        assert_memory_equal(k.iv, want + 16, 12);
        assert_memory_equal(k.hp, want + 28, 16);
    }
}

static void test_rfc_packets(void **state)
{
    (void)state;
    uint8_t frame[512], bytes[1500], text[1500];
    size_t nframe = from_hex(RFC_CRYPTO_FRAME, frame, sizeof(frame));
    struct quic_cid dcid = rfc_dcid();
    for (size_t i = 0; i < ARRAY_LEN(rfcs); i++) {
        size_t n = from_hex(rfcs[i].packet, bytes, sizeof(bytes));
        struct cursor c = cursor_of(bytes, n);
        struct quic_packet q;
        struct quic_keys k;
        assert_int_equal(n, 1200);
        assert_int_equal(quic_packet_next(&c, &q), QUIC_PACKET_OK);
        assert_int_equal(q.type, QUIC_INITIAL);
        assert_int_equal(q.version, rfcs[i].version);
        assert_true(quic_cid_eq(&q.dcid, &dcid));
        assert_int_equal(q.len, 1200);
        quic_keys_derive(q.version, &dcid, &k);
        assert_int_equal(quic_keys_open(&k, &q, text), 1162);
        assert_memory_equal(text, frame, nframe);
        for (size_t j = nframe; j < 1162; j++)
            assert_int_equal(text[j], 0);
        assert_int_equal(quic_packet_next(&c, &q), QUIC_PACKET_END);
    }
}

/* example.com, from a wire image nobody here made. */
static void test_rfc_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rfcs); i++) {
        struct quic_reader r = {0};
        uint8_t bytes[1500];
        size_t n = from_hex(rfcs[i].packet, bytes, sizeof(bytes));
        assert_int_equal(quic_read(&r, bytes, n, 1), QUIC_HELLO);
        assert_string_equal(r.hello.server_name.text, "example.com");
        assert_true(r.hello.has_alpn);
        assert_int_equal(quic_read(&r, bytes, n, 2), QUIC_PASS); /* sent again */
        quic_reader_done(&r);
    }
}

/* What the builder of these tests makes is what the RFC prints. */
static void test_rfc_builder(void **state)
{
    (void)state;
    uint8_t frame[512], want[1500];
    size_t nframe = from_hex(RFC_CRYPTO_FRAME, frame, sizeof(frame));
    char dcid[9] = {0};
    from_hex(RFC_DCID, (uint8_t *)dcid, 8);
    for (size_t i = 0; i < ARRAY_LEN(rfcs); i++) {
        _cleanup_(buf_done) struct buf b = {0};
        struct make_packet m = {.version = rfcs[i].version, .dcid = dcid, .pn = 2, .npn = 4, .pad = 1162};
        buf_init(&b, 65536);
        make_initial(&b, &m, frame, nframe);
        assert_int_equal(b.len, from_hex(rfcs[i].packet, want, sizeof(want)));
        assert_memory_equal(b.data, want, b.len);
    }
}

/* A server's Initial is made with other keys. */
static void test_rfc_server(void **state)
{
    (void)state;
    struct quic_reader r = {0};
    uint8_t bytes[1500];
    size_t n = from_hex(RFC9001_SERVER_INITIAL, bytes, sizeof(bytes));
    assert_int_equal(quic_read(&r, bytes, n, 1), QUIC_NOT_QUIC);
    quic_reader_done(&r);
}

/* ---- real clients ---- */

static const struct golden {
    const char *file;
    enum quic_outcome outcome;
    const char *name;
} goldens[] = {
    {"ngtcp2_gnutls", QUIC_HELLO, "localhost"},
    {"ngtcp2_draft_v2", QUIC_NOT_QUIC, ""}, /* 0x709a50c4, RFC 9369 before its time */
};

static void corpus_read(const char *name, struct buf *b)
{
    char path[128];
    snprintf(path, sizeof(path), "tests/fuzz/corpus/quic_initial/%s", name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    buf_init(b, 1 << 20);
    assert_int_equal(io_read_to_end(fd, b), 0);
    buf_consume(b, 1); /* the fuzzer's mode */
    assert_int_equal(b->len, 1200);
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        _cleanup_(buf_done) struct buf b = {0};
        struct quic_reader r = {0};
        corpus_read(goldens[i].file, &b);
        assert_int_equal(quic_read(&r, b.data, b.len, 1), goldens[i].outcome);
        assert_string_equal(r.hello.server_name.text, goldens[i].name);
        quic_reader_done(&r);
    }
}

/* One bit wrong anywhere: never another name, never a crash; in the packet itself: not read at all. */
static void test_golden_bit_flips(void **state)
{
    (void)state;
    _cleanup_(buf_done) struct buf b = {0};
    corpus_read(goldens[0].file, &b);
    for (size_t i = 0; i < b.len; i++) {
        struct quic_reader r = {0};
        b.data[i] ^= 0x10;
        enum quic_outcome o = quic_read(&r, b.data, b.len, 1);
        assert_int_not_equal(o, QUIC_HELLO);
        assert_false(r.answered);
        b.data[i] ^= 0x10;
        quic_reader_done(&r);
    }
}

static void test_golden_truncated(void **state)
{
    (void)state;
    _cleanup_(buf_done) struct buf b = {0};
    corpus_read(goldens[0].file, &b);
    for (size_t n = 0; n < b.len; n++) {
        struct quic_reader r = {0};
        assert_int_equal(quic_read(&r, b.data, n, 1), QUIC_NOT_QUIC);
        quic_reader_done(&r);
    }
}

/* ---- built here ---- */

struct flow {
    struct quic_reader r;
    struct buf hello;
    uint64_t now;
};

static void flow_start(struct flow *f, const struct make_hello *h)
{
    *f = (struct flow){.now = 1};
    buf_init(&f->hello, 65536);
    make_hello(&f->hello, h);
}

static void flow_end(struct flow *f)
{
    quic_reader_done(&f->r);
    buf_done(&f->hello);
}

static enum quic_outcome send_frames(struct flow *f, const struct make_packet *m, const struct buf *frames)
{
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, 1 << 17);
    make_initial(&b, m, frames->data, frames->len);
    return quic_read(&f->r, b.data, b.len, f->now++);
}

/* One packet with the hello's bytes [from, to). */
static enum quic_outcome send_part(struct flow *f, const struct make_packet *m, size_t from, size_t to)
{
    _cleanup_(buf_done) struct buf frames = {0};
    buf_init(&frames, 1 << 17);
    make_crypto(&frames, from, f->hello.data + from, to - from);
    return send_frames(f, m, &frames);
}

static enum quic_outcome send_raw(struct flow *f, const void *p, size_t n)
{
    return quic_read(&f->r, p, n, f->now++);
}

#define NAME(text)                                                                                           \
    (&(struct make_hello){                                                                                   \
        .name = (text),                                                                                      \
    })
#define V1    (&(struct make_packet){0})
#define PN(n) (&(struct make_packet){.pn = (n)})

static void test_any_order(void **state)
{
    (void)state;
    static const size_t orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}};
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        struct flow f;
        flow_start(&f, &(struct make_hello){.name = "big.example.test", .filler = 3000});
        size_t third = f.hello.len / 3, ends[4] = {0, third, 2 * third, f.hello.len};
        for (size_t j = 0; j < 3; j++) {
            size_t k = orders[i][j];
            assert_int_equal(send_part(&f, PN((uint32_t)j), ends[k], ends[k + 1]),
                             j < 2 ? QUIC_MORE : QUIC_HELLO);
            assert_int_equal(quic_waits(&f.r), j < 2);
        }
        assert_string_equal(f.r.hello.server_name.text, "big.example.test");
        flow_end(&f);
    }
}

/* As browsers scramble them: many small frames, overlapping, between PING and PADDING, in one packet. */
static void test_scrambled(void **state)
{
    (void)state;
    struct flow f;
    _cleanup_(buf_done) struct buf frames = {0};
    buf_init(&frames, 1 << 17);
    flow_start(&f, NAME("scrambled.example.test"));
    for (size_t at = f.hello.len; at > 0;) {
        size_t from = at > 7 ? at - 7 : 0, to = at + 3 < f.hello.len ? at + 3 : f.hello.len;
        make_crypto(&frames, from, f.hello.data + from, to - from);
        buf_put(&frames, "\1\0\0", 3);
        at = from;
    }
    assert_int_equal(send_frames(&f, V1, &frames), QUIC_HELLO);
    assert_string_equal(f.r.hello.server_name.text, "scrambled.example.test");
    flow_end(&f);
}

static void test_all_frames(void **state)
{
    (void)state;
    struct flow f;
    _cleanup_(buf_done) struct buf frames = {0};
    buf_init(&frames, 1 << 17);
    flow_start(&f, NAME("frames.example.test"));
    buf_put(&frames, "\2\5\0\1\0\0\0", 7);   /* ACK with one range */
    buf_put(&frames, "\3\5\0\0\0\1\2\3", 8); /* ACK with ECN counts */
    make_crypto(&frames, 0, f.hello.data, f.hello.len);
    buf_put(&frames, "\x1c\1\0\3abc", 7); /* CONNECTION_CLOSE */
    assert_int_equal(send_frames(&f, V1, &frames), QUIC_HELLO);
    flow_end(&f);
}

static void test_bad_frames(void **state)
{
    (void)state;
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
        {"\x08\1a", 3},                                   /* STREAM */
        {"\x1d\1\0", 3},                                  /* CONNECTION_CLOSE of the application */
        {"\x1e", 1},                                      /* HANDSHAKE_DONE */
        {"\x1c\1\0\x40\x50", 5},                          /* a reason longer than the packet */
        {"\2\5\0\xff\xff\xff\xff\xff\xff\xff\xff\0", 12}, /* 2^62 ranges */
        {"\2\5\0\5\0", 5},                                /* five ranges that are not there */
        {"\6\0\x7f\xff"
         "abc",
         7},                                           /* CRYPTO longer than the packet */
        {"\6\xff\xff\xff\xff\xff\xff\xff\xff\1a", 11}, /* CRYPTO at 2^62 - 1 */
        {"\6\x80\0\x40\0\1a", 7},                      /* ... one byte behind the limit */
        {"\6", 1},
        {"\x40", 1}, /* half a type */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct crypto_stream s = {0};
        assert_int_equal(quic_frames_read((const uint8_t *)bad[i].p, bad[i].n, &s), -EBADMSG);
        crypto_stream_done(&s);
        struct flow f;
        _cleanup_(buf_done) struct buf frames = {0};
        buf_init(&frames, 1 << 17);
        flow_start(&f, NAME("frames.example.test"));
        buf_put(&frames, "\1\1\1\1", 4);
        buf_put(&frames, bad[i].p, bad[i].n);
        assert_int_equal(send_frames(&f, V1, &frames), QUIC_NOT_QUIC);
        assert_int_equal(send_part(&f, V1, 0, f.hello.len), QUIC_NOT_QUIC); /* the attempt is spoilt */
        flow_end(&f);
    }
    struct crypto_stream s = {0};
    assert_int_equal(quic_frames_read((const uint8_t *)"", 0, &s), -EBADMSG); /* RFC 9000 section 12.4 */
}

/* ---- hostile hellos ---- */

static void test_names(void **state)
{
    (void)state;
    static const struct {
        struct make_hello h;
        enum quic_outcome outcome;
        const char *name;
    } cases[] = {
        {{.name = "Example.TEST"}, QUIC_HELLO, "example.test"},
        {{.name = "example.test", .ech = true}, QUIC_HELLO, "example.test"},
        {{.name = NULL}, QUIC_NO_NAME, ""},
        {{.name = "192.0.2.1"}, QUIC_BAD_NAME, ""},
        {{.name = "a.test\0.evil", .name_len = 12}, QUIC_BAD_NAME, ""},
        {{.name = "under_score.test"}, QUIC_BAD_NAME, ""},
        {{.name = "caf\xc3\xa9.test"}, QUIC_BAD_NAME, ""},
        {{.name = "a.test", .second = "b.test"}, QUIC_BAD_NAME, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flow f;
        flow_start(&f, &cases[i].h);
        assert_int_equal(send_part(&f, V1, 0, f.hello.len), cases[i].outcome);
        assert_string_equal(f.r.hello.server_name.text, cases[i].name);
        assert_int_equal(f.r.hello.has_ech, cases[i].h.ech);
        flow_end(&f);
    }
}

static void test_overlap_conflict(void **state)
{
    (void)state;
    struct flow f;
    flow_start(&f, NAME("good.example.test"));
    assert_int_equal(send_part(&f, V1, 0, f.hello.len - 10), QUIC_MORE);
    f.hello.data[f.hello.len - 15] ^= 1;
    assert_int_equal(send_part(&f, PN(1), f.hello.len - 20, f.hello.len), QUIC_BAD_NAME);
    f.hello.data[f.hello.len - 15] ^= 1;
    assert_int_equal(send_part(&f, PN(2), 0, f.hello.len), QUIC_BAD_NAME); /* for good */
    flow_end(&f);
}

/* The allowed hello in a datagram the server will drop (too small, RFC 9000 section 14.1), then another with
 * the same connection id. */
static void test_swapped_after_the_answer(void **state)
{
    (void)state;
    struct flow f;
    flow_start(&f, NAME("good.example.test"));
    assert_int_equal(send_part(&f, V1, 0, f.hello.len), QUIC_HELLO);
    f.hello.len = 0;
    make_hello(&f.hello, NAME("evil.example.test"));
    assert_int_equal(send_part(&f, PN(1), 0, f.hello.len), QUIC_BAD_NAME);
    assert_string_equal(f.r.hello.server_name.text, "good.example.test");
    flow_end(&f);
}

static void test_second_hello(void **state)
{
    (void)state;
    static const char *const names[] = {"good.example.test", "evil.example.test", NULL};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct flow f;
        flow_start(&f, NAME("good.example.test"));
        size_t first = f.hello.len;
        assert_int_equal(send_part(&f, V1, 0, first), QUIC_HELLO);
        make_hello(&f.hello, NAME(names[i])); /* after HelloRetryRequest: behind the first in the stream */
        assert_int_equal(send_part(&f, PN(1), first, first + 30), QUIC_MORE);
        assert_true(quic_waits(&f.r));
        assert_int_equal(send_part(&f, PN(2), first + 30, f.hello.len), i == 0 ? QUIC_PASS : QUIC_BAD_NAME);
        assert_false(quic_waits(&f.r));
        flow_end(&f);
    }
}

/* Both at once, before the server can have asked for the second. */
static void test_two_hellos_at_once(void **state)
{
    (void)state;
    struct flow f;
    flow_start(&f, NAME("good.example.test"));
    size_t first = f.hello.len;
    make_hello(&f.hello, NAME("evil.example.test"));
    assert_int_equal(send_part(&f, V1, 0, f.hello.len), QUIC_BAD_NAME);
    flow_end(&f);
    flow_start(&f, NAME("good.example.test"));
    make_hello(&f.hello, NAME("evil.example.test"));
    assert_int_equal(send_part(&f, V1, 0, first + 20), QUIC_NOT_QUIC);
    flow_end(&f);
}

static void test_not_a_hello(void **state)
{
    (void)state;
    struct flow f;
    flow_start(&f, NAME("good.example.test"));
    f.hello.data[0] = 2; /* ServerHello */
    assert_int_equal(send_part(&f, V1, 0, f.hello.len), QUIC_NOT_QUIC);
    flow_end(&f);
    flow_start(&f, NAME("good.example.test"));
    f.hello.data[1] = 1; /* 64 KiB and more */
    assert_int_equal(send_part(&f, V1, 0, f.hello.len), QUIC_NOT_QUIC);
    flow_end(&f);
    flow_start(&f, &(struct make_hello){.name = "endless.test", .filler = 20000});
    for (size_t at = 0; at + 1000 <= LIMIT_PEEK; at += 1000)
        assert_int_equal(send_part(&f, V1, at, at + 1000), QUIC_NOT_QUIC);
    flow_end(&f);
}

/* ---- packets ---- */

static void test_headers(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct make_packet m;
        enum quic_outcome outcome;
    } cases[] = {
        {"v1", {0}, QUIC_HELLO},
        {"v2", {.version = QUIC_V2}, QUIC_HELLO},
        {"longest connection id", {.dcid = "20 bytes connection "}, QUIC_HELLO},
        {"shortest connection id", {.dcid = "8 bytes!"}, QUIC_HELLO},
        {"short connection id", {.dcid = "7 bytes"}, QUIC_NOT_QUIC},
        {"no connection id", {.dcid = ""}, QUIC_NOT_QUIC},
        {"keys of another id", {.key_dcid = "whatever"}, QUIC_NOT_QUIC},
        {"token", {.token = 100}, QUIC_HELLO},
        {"long token", {.token = 20000}, QUIC_HELLO},
        {"2-byte number", {.pn = 300, .npn = 2}, QUIC_HELLO},
        {"3-byte number", {.pn = 70000, .npn = 3}, QUIC_HELLO},
        {"4-byte number", {.pn = 0xfffffffe, .npn = 4}, QUIC_HELLO},
        {"reserved bit", {.reserved = 4}, QUIC_NOT_QUIC},
        {"other reserved bit", {.reserved = 8}, QUIC_NOT_QUIC},
        {"draft 29", {.version = 0xff00001d}, QUIC_NOT_QUIC},
        {"greased version", {.version = 0x1a2a3a4a}, QUIC_NOT_QUIC},
        {"0-RTT", {.type = 0x10}, QUIC_NOT_QUIC},
        {"Handshake", {.type = 0x20}, QUIC_NOT_QUIC},
        {"Retry", {.type = 0x30}, QUIC_NOT_QUIC},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flow f;
        flow_start(&f, NAME("header.example.test"));
        enum quic_outcome o = send_part(&f, &cases[i].m, 0, f.hello.len);
        if (o != cases[i].outcome)
            fail_msg("%s: %d", cases[i].what, o);
        flow_end(&f);
    }
}

static void test_hostile_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *p;
        size_t n;
    } cases[] = {
        {"", 0},
        {"\xc0", 1},
        {"\xc0\0\0\0\1", 5},
        {"\xc0\0\0\0\1\x15"
         "123456789012345678901",
         27}, /* 21 bytes of connection id */
        {"\xc0\0\0\0\1\xff"
         "12345678",
         14}, /* 255, not there */
        {"\xc0\0\0\0\1\x08"
         "12345678"
         "\0\xff\xff\xff\xff\xff\xff\xff\xff",
         23}, /* token of 2^62 - 1 */
        {"\xc0\0\0\0\1\x08"
         "12345678"
         "\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
         24},
        {"\xc0\0\0\0\1\x08"
         "12345678"
         "\0\0\0",
         17}, /* length 0 */
        {"\xc0\0\0\0\1\x08"
         "12345678"
         "\0\0\x14"
         "12345678901234567890",
         37}, /* no room for a tag */
        {"\x40\1\2\3", 4},
        {"\0\0\0\0", 4},
        {"\x80\0\0\0\0\0\0", 7}, /* Version Negotiation is the server's */
        {"GET / HTTP/1.1\r\n\r\n", 18},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flow f;
        flow_start(&f, NAME("x.test"));
        assert_int_equal(send_raw(&f, cases[i].p, cases[i].n), QUIC_NOT_QUIC);
        flow_end(&f);
    }
}

static void test_wrong_tag(void **state)
{
    (void)state;
    struct flow f;
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, 65536);
    flow_start(&f, NAME("tag.test"));
    make_first_datagram(&b, V1, NAME("tag.test"));
    b.data[b.len - 1] ^= 1;
    assert_int_equal(send_raw(&f, b.data, b.len), QUIC_NOT_QUIC);
    b.data[b.len - 1] ^= 1;
    assert_int_equal(send_raw(&f, b.data, b.len), QUIC_HELLO);
    flow_end(&f);
}

/* Initial, 0-RTT, and zeros behind them; a foreign connection id among them; a broken one behind a good one.
 */
static void test_coalesced(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct make_packet second;
        const char *rest;
        size_t nrest;
        enum quic_outcome outcome;
    } cases[] = {
        {"0-RTT", {.type = 0x10}, "", 0, QUIC_HELLO},
        {"zeros", {.type = 0x10}, "\0\0\0", 3, QUIC_HELLO},
        {"another connection id", {.type = 0x10, .dcid = "other id"}, "", 0, QUIC_NOT_QUIC},
        {"an Initial of other keys", {.key_dcid = "whatever"}, "", 0, QUIC_NOT_QUIC},
        {"another version", {.version = 0x1a2a3a4a}, "", 0, QUIC_NOT_QUIC},
        {"half a header", {.type = 0x10}, "\xc0\0\0", 3, QUIC_NOT_QUIC},
        {"Retry", {.type = 0x30}, "", 0, QUIC_NOT_QUIC},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flow f;
        _cleanup_(buf_done) struct buf b = {0};
        buf_init(&b, 65536);
        flow_start(&f, NAME("x.test"));
        make_first_datagram(&b, &(struct make_packet){.pad = 400}, NAME("coalesced.test"));
        make_initial(&b, &cases[i].second, (const uint8_t *)"\1\1\1\1", 4);
        buf_put(&b, cases[i].rest, cases[i].nrest);
        enum quic_outcome o = send_raw(&f, b.data, b.len);
        if (o != cases[i].outcome)
            fail_msg("%s: %d", cases[i].what, o);
        flow_end(&f);
    }
}

/* ---- the life of a flow ---- */

/* Retry: a new connection id, a token, the same hello; later packets go to the server's id with the old keys;
 * the rest of the handshake is none of our business. */
static void test_retry_and_after(void **state)
{
    (void)state;
    struct flow f;
    flow_start(&f, NAME("retry.example.test"));
    assert_int_equal(send_part(&f, V1, 0, f.hello.len), QUIC_HELLO);
    struct make_packet retried = {.dcid = "retry", .token = 60, .pn = 1};
    assert_int_equal(send_part(&f, &retried, 0, 20), QUIC_MORE);
    assert_int_equal(send_raw(&f, "\x40\1\2\3", 4), QUIC_PASS); /* what has its way keeps it */
    assert_int_equal(send_part(&f, &retried, 20, f.hello.len), QUIC_PASS);
    struct make_packet later = {.dcid = "srv", .key_dcid = "retry", .pn = 2};
    _cleanup_(buf_done) struct buf ack = {0};
    buf_init(&ack, 64);
    buf_put(&ack, "\2\0\0\0\0", 5);
    assert_int_equal(send_frames(&f, &later, &ack), QUIC_PASS);
    later.dcid = ""; /* a server may have none */
    assert_int_equal(send_frames(&f, &later, &ack), QUIC_PASS);
    struct make_packet handshake = {.type = 0x20, .dcid = "srv"};
    assert_int_equal(send_frames(&f, &handshake, &ack), QUIC_PASS);
    assert_int_equal(send_raw(&f, "\x40\1\2\3", 4), QUIC_PASS);
    assert_int_equal(send_raw(&f, "\0\1\2\3", 4), QUIC_PASS); /* RFC 9287 greases the bit */
    assert_int_equal(send_raw(&f, "\xc0\xff\0\0\x1d\0\0", 7), QUIC_NOT_QUIC);
    flow_end(&f);
}

/* The version of an attempt may change (RFC 9368), its stream goes on. */
static void test_version_changes(void **state)
{
    (void)state;
    struct flow f;
    flow_start(&f, NAME("version.example.test"));
    assert_int_equal(send_part(&f, V1, 0, 40), QUIC_MORE);
    struct make_packet v2 = {.version = QUIC_V2, .dcid = "server's", .key_dcid = "8 bytes ", .pn = 1};
    assert_int_equal(send_part(&f, &v2, 40, f.hello.len), QUIC_HELLO);
    flow_end(&f);
}

/* Another connection behind the same address: not under the first one's decision. */
static void test_another_name(void **state)
{
    (void)state;
    struct flow f;
    flow_start(&f, NAME("good.example.test"));
    assert_int_equal(send_part(&f, V1, 0, f.hello.len), QUIC_HELLO);
    f.hello.len = 0;
    make_hello(&f.hello, NAME("evil.example.test"));
    struct make_packet other = {.dcid = "another one"};
    assert_int_equal(send_part(&f, &other, 0, 50), QUIC_MORE);
    assert_int_equal(send_part(&f, &other, 50, f.hello.len), QUIC_BAD_NAME);
    assert_int_equal(send_part(&f, &other, 50, f.hello.len), QUIC_BAD_NAME); /* sent again */
    f.hello.len = 0;
    make_hello(&f.hello, &(struct make_hello){.name = "good.example.test", .ech = true});
    assert_int_equal(send_part(&f, &(struct make_packet){.dcid = "third one"}, 0, f.hello.len),
                     QUIC_BAD_NAME);
    flow_end(&f);
}

static void test_many_attempts(void **state)
{
    (void)state;
    struct flow f;
    flow_start(&f, NAME("many.example.test"));
    for (unsigned i = 0; i <= QUIC_ATTEMPTS_MAX; i++) {
        char dcid[16];
        snprintf(dcid, sizeof(dcid), "attempt %u", i);
        enum quic_outcome want = i == 0 ? QUIC_HELLO : i < QUIC_ATTEMPTS_MAX ? QUIC_PASS : QUIC_NOT_QUIC;
        assert_int_equal(send_part(&f, &(struct make_packet){.dcid = dcid}, 0, f.hello.len), want);
    }
    f.now += QUIC_ATTEMPT_MS + 100; /* nobody waits for those any more */
    assert_int_equal(send_part(&f, &(struct make_packet){.dcid = "attempt 8"}, 0, f.hello.len), QUIC_PASS);
    flow_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_keys),
        cmocka_unit_test(test_rfc_packets),
        cmocka_unit_test(test_rfc_name),
        cmocka_unit_test(test_rfc_builder),
        cmocka_unit_test(test_rfc_server),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_golden_bit_flips),
        cmocka_unit_test(test_golden_truncated),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_scrambled),
        cmocka_unit_test(test_all_frames),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_overlap_conflict),
        cmocka_unit_test(test_swapped_after_the_answer),
        cmocka_unit_test(test_second_hello),
        cmocka_unit_test(test_two_hellos_at_once),
        cmocka_unit_test(test_not_a_hello),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_hostile_lengths),
        cmocka_unit_test(test_wrong_tag),
        cmocka_unit_test(test_coalesced),
        cmocka_unit_test(test_retry_and_after),
        cmocka_unit_test(test_version_changes),
        cmocka_unit_test(test_another_name),
        cmocka_unit_test(test_many_attempts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
