/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/buf.h"

static void grows_and_reads_back(void **st)
{
    (void)st;
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(buf_str(&b).len, 0);
    for (unsigned i = 0; i < 4096; i++)
        buf_putc(&b, (uint8_t)i);
    assert_int_equal(b.err, 0);
    assert_int_equal(b.len, 4096);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(b.data[i], (uint8_t)i);
    buf_done(&b);
    assert_null(b.data);
    buf_done(&b);
    buf_done(NULL);
}

static void big_endian(void **st)
{
    (void)st;
    struct buf b;
    buf_init(&b, 64);
    buf_put_be16(&b, 0x0102);
    buf_put_be32(&b, 0x03040506);
    buf_put_be64(&b, 0x0708090a0b0c0d0e);
    assert_int_equal(b.len, 14);
    for (unsigned i = 0; i < 14; i++)
        assert_int_equal(b.data[i], i + 1);
    buf_done(&b);
}

static void limit_is_exact_and_sticky(void **st)
{
    (void)st;
    struct buf b;
    buf_init(&b, 5);
    buf_puts(&b, "12345");
    assert_int_equal(b.err, 0);
    assert_string_equal(buf_cstr(&b), "12345"); /* the NUL does not count */
    buf_puts(&b, "");
    assert_int_equal(b.err, 0);
    buf_putc(&b, '6');
    assert_int_equal(b.err, -ENOBUFS);
    assert_int_equal(b.len, 5);
    buf_puts(&b, "");
    assert_int_equal(b.err, -ENOBUFS);
    assert_null(buf_cstr(&b));
    assert_null(buf_reserve(&b, 0));
    buf_clear(&b);
    buf_put(&b, "123456", 6); /* not even a part of it */
    assert_int_equal(b.err, -ENOBUFS);
    assert_int_equal(b.len, 0);
    buf_clear(&b);
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(b.err, -ENOBUFS);
    buf_done(&b);
}

static void print_and_strings(void **st)
{
    (void)st;
    struct buf b;
    buf_init(&b, 10);
    buf_printf(&b, "%s-%d", "ab", 42);
    buf_put_str(&b, STR_LIT("xyz"));
    buf_put_str(&b, STR_NONE);
    assert_string_equal(buf_cstr(&b), "ab-42xyz");
    buf_printf(&b, "%d", 99); /* fills it to the last byte */
    assert_int_equal(b.err, 0);
    assert_true(str_is(buf_str(&b), "ab-42xyz99"));
    buf_printf(&b, "%s", "!");
    assert_int_equal(b.err, -ENOBUFS);
    buf_done(&b);
}

static void consume_from_the_front(void **st)
{
    (void)st;
    struct buf b;
    buf_init(&b, 100);
    buf_consume(&b, 0);
    buf_puts(&b, "hello world");
    buf_consume(&b, 6);
    assert_true(str_is(buf_str(&b), "world"));
    buf_consume(&b, 5);
    assert_int_equal(b.len, 0);
    uint8_t *p = buf_reserve(&b, 100);
    assert_non_null(p);
    memset(p, 'x', 100);
    b.len += 100;
    assert_null(buf_reserve(&b, 1));
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_reads_back),      cmocka_unit_test(big_endian),
        cmocka_unit_test(limit_is_exact_and_sticky), cmocka_unit_test(print_and_strings),
        cmocka_unit_test(consume_from_the_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
