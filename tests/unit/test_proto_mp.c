/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <msgpack.h>

#include "proto/mp.h"
#include "tests/unit/proto_random.h"

#define BYTES(...) ((const uint8_t[]){__VA_ARGS__})
#define N(...)     sizeof(BYTES(__VA_ARGS__))

static int read_one(const void *p, size_t n, struct mp_token *t)
{
    struct cursor c = cursor_of(p, n);
    int r = mp_read(&c, t);
    assert_int_equal(cursor_left(&c), r < 0 ? n : n - (size_t)((const uint8_t *)c.p - (const uint8_t *)p));
    return r;
}

/* ---- every encoding ---- */

static void test_scalars(void **state)
{
    struct mp_token t;
    (void)state;
    assert_int_equal(read_one(BYTES(0xc0), 1, &t), 0);
    assert_int_equal(t.kind, MP_NIL);
    assert_int_equal(read_one(BYTES(0xc2), 1, &t), 0);
    assert_true(t.kind == MP_BOOL && t.u == 0);
    assert_int_equal(read_one(BYTES(0xc3), 1, &t), 0);
    assert_true(t.kind == MP_BOOL && t.u == 1);
}

struct number {
    uint8_t bytes[9];
    size_t n;
    bool negative;
    uint64_t u;
    int64_t i;
};
#define UINT_(v, ...)                                                                                        \
    {                                                                                                        \
        {__VA_ARGS__}, N(__VA_ARGS__), false, (v), 0                                                         \
    }
#define INT_(v, ...)                                                                                         \
    {                                                                                                        \
        {__VA_ARGS__}, N(__VA_ARGS__), true, 0, (v)                                                          \
    }

/* First and last value of every width. */
static const struct number numbers[] = {
    UINT_(0, 0x00),
    UINT_(0x7f, 0x7f),
    UINT_(0x80, 0xcc, 0x80),
    UINT_(0xff, 0xcc, 0xff),
    UINT_(0x100, 0xcd, 0x01, 0x00),
    UINT_(0xffff, 0xcd, 0xff, 0xff),
    UINT_(0x10000, 0xce, 0, 1, 0, 0),
    UINT_(0xffffffff, 0xce, 0xff, 0xff, 0xff, 0xff),
    UINT_(0x100000000, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0),
    UINT_(UINT64_MAX, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
    INT_(-1, 0xff),
    INT_(-32, 0xe0),
    INT_(-33, 0xd0, 0xdf),
    INT_(-128, 0xd0, 0x80),
    INT_(-129, 0xd1, 0xff, 0x7f),
    INT_(-32768, 0xd1, 0x80, 0x00),
    INT_(-32769, 0xd2, 0xff, 0xff, 0x7f, 0xff),
    INT_(INT32_MIN, 0xd2, 0x80, 0, 0, 0),
    INT_(INT32_MIN - 1LL, 0xd3, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff),
    INT_(INT64_MIN, 0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0),
};

static void test_numbers(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(numbers); k++) {
        const struct number *x = &numbers[k];
        _cleanup_(buf_done) struct buf b = {0};
        struct mp_token t;

        assert_int_equal(read_one(x->bytes, x->n, &t), 0);
        assert_int_equal(t.kind, x->negative ? MP_INT : MP_UINT);
        assert_true(x->negative ? t.i == x->i : t.u == x->u);
        buf_init(&b, 16);
        if (x->negative)
            mp_write_int(&b, x->i);
        else
            mp_write_uint(&b, x->u);
        assert_int_equal(b.err, 0);
        assert_int_equal(b.len, x->n);
        assert_memory_equal(b.data, x->bytes, x->n);
        if (!x->negative && x->u <= INT64_MAX) { /* a positive int has one encoding only */
            buf_clear(&b);
            mp_write_int(&b, (int64_t)x->u);
            assert_memory_equal(b.data, x->bytes, x->n);
        }
    }
}

/* The head of n bytes, or n elements, in every width; ours and the reader agree. */
static void check_sized(enum mp_kind kind, size_t n, const uint8_t *head, size_t head_len)
{
    _cleanup_(buf_done) struct buf b = {0};
    struct mp_token t;
    char *text = malloc(n + 1);

    assert_non_null(text);
    memset(text, kind == MP_ARRAY ? 0xc0 : 'a', n);
    buf_init(&b, n + 16);
    if (kind == MP_STR)
        mp_write_str(&b, (struct str){text, n});
    else if (kind == MP_BIN)
        mp_write_bin(&b, (struct str){text, n});
    else
        mp_write_array(&b, n);
    assert_int_equal(b.len, head_len + (kind == MP_ARRAY ? 0 : n));
    assert_memory_equal(b.data, head, head_len);
    if (kind == MP_ARRAY)
        buf_put(&b, text, n);
    assert_int_equal(b.err, 0);

    struct cursor c = cursor_of(b.data, b.len);
    assert_int_equal(mp_read(&c, &t), 0);
    assert_int_equal(t.kind, kind);
    assert_int_equal(kind == MP_ARRAY ? t.u : t.bytes.len, n);
    if (kind != MP_ARRAY) {
        assert_memory_equal(t.bytes.p, text, n);
        assert_int_equal(cursor_left(&c), 0);
    }
    if (n > 0) { /* one byte less than announced */
        c = cursor_of(b.data, b.len - 1);
        assert_int_equal(mp_read(&c, &t), -EBADMSG);
    }
    free(text);
}
#define SIZED(kind, n, ...) check_sized(kind, n, BYTES(__VA_ARGS__), N(__VA_ARGS__))

static void test_lengths(void **state)
{
    (void)state;
    SIZED(MP_STR, 0, 0xa0);
    SIZED(MP_STR, 31, 0xbf);
    SIZED(MP_STR, 32, 0xd9, 32);
    SIZED(MP_STR, 255, 0xd9, 255);
    SIZED(MP_STR, 256, 0xda, 1, 0);
    SIZED(MP_STR, 65535, 0xda, 255, 255);
    SIZED(MP_STR, 65536, 0xdb, 0, 1, 0, 0);
    SIZED(MP_BIN, 0, 0xc4, 0);
    SIZED(MP_BIN, 255, 0xc4, 255);
    SIZED(MP_BIN, 256, 0xc5, 1, 0);
    SIZED(MP_BIN, 65535, 0xc5, 255, 255);
    SIZED(MP_BIN, 65536, 0xc6, 0, 1, 0, 0);
    SIZED(MP_ARRAY, 0, 0x90);
    SIZED(MP_ARRAY, 15, 0x9f);
    SIZED(MP_ARRAY, 16, 0xdc, 0, 16);
    SIZED(MP_ARRAY, 65535, 0xdc, 255, 255);
    SIZED(MP_ARRAY, 65536, 0xdd, 0, 1, 0, 0);
}

/* ---- every refusal ---- */

static void refused(const uint8_t *p, size_t n)
{
    struct mp_token t = {.kind = MP_ARRAY, .u = 77};
    assert_int_equal(read_one(p, n, &t), -EBADMSG);
    assert_true(t.kind == MP_ARRAY && t.u == 77); /* untouched */
}
#define REFUSED(...) refused(BYTES(__VA_ARGS__), N(__VA_ARGS__))

static void test_not_smallest(void **state)
{
    (void)state;
    REFUSED(0xcc, 0x00);
    REFUSED(0xcc, 0x7f);
    REFUSED(0xcd, 0x00, 0xff);
    REFUSED(0xce, 0, 0, 0xff, 0xff);
    REFUSED(0xcf, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
    REFUSED(0xd0, 0xe0); /* -32 */
    REFUSED(0xd0, 0xff);
    REFUSED(0xd1, 0xff, 0x80); /* -128 */
    REFUSED(0xd2, 0xff, 0xff, 0x80, 0x00);
    REFUSED(0xd3, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0);
    REFUSED(0xd0, 0x00); /* positive in a signed form */
    REFUSED(0xd0, 0x7f);
    REFUSED(0xd1, 0x7f, 0xff);
    REFUSED(0xd2, 0x7f, 0xff, 0xff, 0xff);
    REFUSED(0xd3, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    REFUSED(0xd9, 0x01, 'a');
    REFUSED(0xda, 0x00, 0x01, 'a');
    REFUSED(0xdb, 0, 0, 0, 1, 'a');
    REFUSED(0xc5, 0x00, 0x01, 'a');
    REFUSED(0xc6, 0, 0, 0, 1, 'a');
    REFUSED(0xdc, 0x00, 0x01, 0xc0);
    REFUSED(0xdd, 0, 0, 0, 1, 0xc0);
}

static void test_unsupported(void **state)
{
    uint8_t b[64] = {0};
    (void)state;
    for (unsigned tag = 0x80; tag <= 0x8f; tag++) { /* fixmap */
        b[0] = (uint8_t)tag;
        refused(b, sizeof(b));
    }
    static const uint8_t tags[] = {0xc1,                         /* never used */
                                   0xc7, 0xc8, 0xc9,             /* ext */
                                   0xca, 0xcb,                   /* float */
                                   0xd4, 0xd5, 0xd6, 0xd7, 0xd8, /* fixext */
                                   0xde, 0xdf};                  /* map */
    for (size_t i = 0; i < sizeof(tags); i++) {
        b[0] = tags[i];
        refused(b, sizeof(b));
    }
}

static void test_truncated(void **state)
{
    (void)state;
    refused(NULL, 0);
    for (size_t k = 0; k < ARRAY_LEN(numbers); k++)
        for (size_t n = 0; n < numbers[k].n; n++)
            refused(numbers[k].bytes, n);
    REFUSED(0xd9);
    REFUSED(0xda, 1);
    REFUSED(0xdb, 0, 1, 0);
    REFUSED(0xc4);
    REFUSED(0xc5, 1);
    REFUSED(0xc6, 0, 1, 0);
    REFUSED(0xdc, 0);
    REFUSED(0xdd, 0, 1, 0);
}

/* The declared count must not be believed before the bytes are there. */
static void test_huge_counts(void **state)
{
    (void)state;
    REFUSED(0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0, 0xc0);
    REFUSED(0xdc, 0xff, 0xff, 0xc0);
    REFUSED(0x9f, 0xc0);
    REFUSED(0xdb, 0xff, 0xff, 0xff, 0xff, 'a');
    REFUSED(0xc6, 0xff, 0xff, 0xff, 0xff, 'a');
    REFUSED(0xbf, 'a');
}

static void test_text(void **state)
{
    struct mp_token t;
    (void)state;
    REFUSED(0xa1, 0x00);
    REFUSED(0xa3, 'a', 0x00, 'b');
    REFUSED(0xa1, 0x80);
    REFUSED(0xa2, 0xc0, 0x80);             /* overlong NUL */
    REFUSED(0xa2, 0xc3, 'a');              /* broken */
    REFUSED(0xa3, 0xed, 0xa0, 0x80);       /* surrogate */
    REFUSED(0xa4, 0xf4, 0x90, 0x80, 0x80); /* above U+10FFFF */
    REFUSED(0xa1, 0xff);
    assert_int_equal(read_one(BYTES(0xa4, 0xf0, 0x9f, 0x98, 0x80), 5, &t), 0);
    assert_int_equal(t.bytes.len, 4);
    assert_int_equal(read_one(BYTES(0xc4, 2, 0x00, 0xff), 4, &t), 0); /* bin is free */
    assert_memory_equal(t.bytes.p, "\0\xff", 2);
}

/* ---- msgpack-c as the oracle ---- */

static void write_random(struct rng *g, struct buf *b, unsigned depth)
{
    char text[400];
    switch (rng_below(g, depth < 3 ? 7 : 6)) {
    case 0:
        mp_write_nil(b);
        break;
    case 1:
        mp_write_bool(b, rng_below(g, 2));
        break;
    case 2:
        mp_write_uint(b, rng_wide(g));
        break;
    case 3:
        mp_write_int(b, (int64_t)rng_wide(g));
        break;
    case 4:
        mp_write_str(b, rng_text(g, text, rng_below(g, sizeof(text))));
        break;
    case 5:
        mp_write_bin(b, rng_bytes(g, text, rng_below(g, sizeof(text))));
        break;
    default: {
        size_t n = rng_below(g, 20);
        mp_write_array(b, n);
        for (size_t i = 0; i < n; i++)
            write_random(g, b, depth + 1);
    }
    }
}

/* The next value of c is this object of msgpack-c's. */
static void same_value(struct cursor *c, const msgpack_object *o)
{
    struct mp_token t;
    assert_int_equal(mp_read(c, &t), 0);
    switch (t.kind) {
    case MP_NIL:
        assert_int_equal(o->type, MSGPACK_OBJECT_NIL);
        break;
    case MP_BOOL:
        assert_int_equal(o->type, MSGPACK_OBJECT_BOOLEAN);
        assert_int_equal(o->via.boolean, t.u);
        break;
    case MP_UINT:
        assert_int_equal(o->type, MSGPACK_OBJECT_POSITIVE_INTEGER);
        assert_true(o->via.u64 == t.u);
        break;
    case MP_INT:
        assert_int_equal(o->type, MSGPACK_OBJECT_NEGATIVE_INTEGER);
        assert_true(o->via.i64 == t.i);
        break;
    case MP_STR:
        assert_int_equal(o->type, MSGPACK_OBJECT_STR);
        assert_true(str_eq(t.bytes, (struct str){o->via.str.ptr, o->via.str.size}));
        break;
    case MP_BIN:
        assert_int_equal(o->type, MSGPACK_OBJECT_BIN);
        assert_true(str_eq(t.bytes, (struct str){o->via.bin.ptr, o->via.bin.size}));
        break;
    case MP_ARRAY:
        assert_int_equal(o->type, MSGPACK_OBJECT_ARRAY);
        assert_int_equal(o->via.array.size, t.u);
        for (uint32_t i = 0; i < o->via.array.size; i++)
            same_value(c, &o->via.array.ptr[i]);
        break;
    }
}

static void test_oracle_reads_ours(void **state)
{
    struct rng g = {1};
    (void)state;
    for (int round = 0; round < 3000; round++) {
        _cleanup_(buf_done) struct buf b = {0};
        msgpack_unpacked u;
        size_t off = 0;

        buf_init(&b, 4 << 20);
        write_random(&g, &b, 0);
        assert_int_equal(b.err, 0);
        msgpack_unpacked_init(&u);
        assert_int_equal(msgpack_unpack_next(&u, (const char *)b.data, b.len, &off), MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(off, b.len);
        struct cursor c = cursor_of(b.data, b.len);
        same_value(&c, &u.data);
        assert_int_equal(cursor_left(&c), 0);
        msgpack_unpacked_destroy(&u);
    }
}

/* A random object packed by msgpack-c itself; floats and maps must be refused, everything else read. */
static bool pack_random(struct rng *g, msgpack_packer *pk, unsigned depth)
{
    char text[300];
    struct str s;
    switch (rng_below(g, depth < 3 ? 9 : 8)) {
    case 0:
        return msgpack_pack_nil(pk), true;
    case 1:
        return msgpack_pack_true(pk), true;
    case 2:
        return msgpack_pack_uint64(pk, rng_wide(g)), true;
    case 3:
        return msgpack_pack_int64(pk, (int64_t)rng_wide(g)), true;
    case 4:
        s = rng_text(g, text, rng_below(g, sizeof(text)));
        return msgpack_pack_str(pk, s.len), msgpack_pack_str_body(pk, s.p, s.len), true;
    case 5:
        s = rng_bytes(g, text, rng_below(g, sizeof(text)));
        return msgpack_pack_bin(pk, s.len), msgpack_pack_bin_body(pk, s.p, s.len), true;
    case 6: /* rare, else hardly any value stays readable */
        if (rng_below(g, 10) > 0)
            return msgpack_pack_nil(pk), true;
        return msgpack_pack_double(pk, 1.5), false;
    case 7:
        if (rng_below(g, 10) > 0)
            return msgpack_pack_false(pk), true;
        return msgpack_pack_map(pk, 0), false;
    default: {
        bool good = true;
        size_t n = rng_below(g, 20);
        msgpack_pack_array(pk, n);
        for (size_t i = 0; i < n; i++)
            good &= pack_random(g, pk, depth + 1);
        return good;
    }
    }
}

/* Reads one value with everything inside; -EBADMSG at the first bad token. */
static int walk(struct cursor *c)
{
    struct mp_token t;
    if (mp_read(c, &t) < 0)
        return -EBADMSG;
    for (uint64_t i = 0; t.kind == MP_ARRAY && i < t.u; i++)
        if (walk(c) < 0)
            return -EBADMSG;
    return 0;
}

static void test_ours_reads_oracle(void **state)
{
    struct rng g = {2};
    int refusals = 0;
    (void)state;
    for (int round = 0; round < 3000; round++) {
        msgpack_sbuffer sb;
        msgpack_packer pk;
        msgpack_sbuffer_init(&sb);
        msgpack_packer_init(&pk, &sb, msgpack_sbuffer_write);
        bool good = pack_random(&g, &pk, 0);
        struct cursor c = cursor_of(sb.data, sb.size);
        assert_int_equal(walk(&c), good ? 0 : -EBADMSG);
        if (good) {
            msgpack_unpacked u;
            size_t off = 0;
            assert_int_equal(cursor_left(&c), 0);
            msgpack_unpacked_init(&u);
            assert_int_equal(msgpack_unpack_next(&u, sb.data, sb.size, &off), MSGPACK_UNPACK_SUCCESS);
            c = cursor_of(sb.data, sb.size);
            same_value(&c, &u.data);
            msgpack_unpacked_destroy(&u);
        }
        refusals += !good;
        msgpack_sbuffer_destroy(&sb);
    }
    assert_in_range(refusals, 100, 2900); /* both kinds were tried */
}

/* Any bytes: what we read, msgpack-c reads the same. */
static void test_random_bytes(void **state)
{
    struct rng g = {3};
    int accepted = 0;
    (void)state;
    for (int round = 0; round < 200000; round++) {
        char bytes[12];
        struct str s = rng_bytes(&g, bytes, 1 + rng_below(&g, sizeof(bytes)));
        struct cursor c = cursor_of(s.p, s.len);
        if (walk(&c) < 0)
            continue;
        accepted++;
        size_t off = 0, used = s.len - cursor_left(&c);
        msgpack_unpacked u;
        msgpack_unpacked_init(&u);
        assert_true(msgpack_unpack_next(&u, s.p, s.len, &off) >= 0);
        assert_int_equal(off, used);
        c = cursor_of(s.p, s.len);
        same_value(&c, &u.data);
        msgpack_unpacked_destroy(&u);
    }
    assert_true(accepted > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),           cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_lengths),           cmocka_unit_test(test_not_smallest),
        cmocka_unit_test(test_unsupported),       cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_huge_counts),       cmocka_unit_test(test_text),
        cmocka_unit_test(test_oracle_reads_ours), cmocka_unit_test(test_ours_reads_oracle),
        cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
