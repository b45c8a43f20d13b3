/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/cursor.h"

static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static void reads_big_endian(void **st)
{
    (void)st;
    struct cursor c = cursor_of(bytes, sizeof(bytes));
    uint8_t a;
    uint16_t b;
    uint32_t d;
    assert_int_equal(cursor_u8(&c, &a), 0);
    assert_int_equal(cursor_be16(&c, &b), 0);
    assert_int_equal(cursor_be24(&c, &d), 0);
    assert_int_equal(a, 1);
    assert_int_equal(b, 0x0203);
    assert_int_equal(d, 0x040506);
    assert_int_equal(cursor_left(&c), 3);
    c = cursor_of(bytes, sizeof(bytes));
    uint64_t e;
    assert_int_equal(cursor_be32(&c, &d), 0);
    assert_int_equal(d, 0x01020304);
    c = cursor_of(bytes + 1, 8);
    assert_int_equal(cursor_be64(&c, &e), 0);
    assert_true(e == 0x0203040506070809);
    assert_int_equal(cursor_left(&c), 0);
}

/* Each getter, one byte short: an error, and neither the cursor nor the result has moved. */
static void refuses_one_byte_short(void **st)
{
    (void)st;
    for (size_t have = 0; have < 8; have++) {
        struct cursor c = cursor_of(bytes, have), old = c, sub = {NULL, bytes};
        uint8_t a = 0xAA;
        uint16_t b = 0xAA;
        uint32_t d = 0xAA;
        uint64_t e = 0xAA;
        const uint8_t *p = NULL;
        if (have < 1)
            assert_int_equal(cursor_u8(&c, &a), -EBADMSG);
        if (have < 2)
            assert_int_equal(cursor_be16(&c, &b), -EBADMSG);
        if (have < 3)
            assert_int_equal(cursor_be24(&c, &d), -EBADMSG);
        if (have < 4)
            assert_int_equal(cursor_be32(&c, &d), -EBADMSG);
        assert_int_equal(cursor_be64(&c, &e), -EBADMSG);
        assert_int_equal(cursor_skip(&c, have + 1), -EBADMSG);
        assert_int_equal(cursor_bytes(&c, have + 1, &p), -EBADMSG);
        assert_int_equal(cursor_sub(&c, SIZE_MAX, &sub), -EBADMSG);
        assert_ptr_equal(c.p, old.p);
        assert_ptr_equal(c.end, old.end);
        assert_int_equal(a, 0xAA);
        assert_int_equal(b, 0xAA);
        assert_int_equal(d, 0xAA);
        assert_int_equal(e, 0xAA);
        assert_null(p);
        assert_ptr_equal(sub.end, bytes);
    }
}

static void parts(void **st)
{
    (void)st;
    struct cursor c = cursor_of(bytes, sizeof(bytes)), sub;
    const uint8_t *p;
    assert_int_equal(cursor_skip(&c, 2), 0);
    assert_int_equal(cursor_sub(&c, 3, &sub), 0);
    assert_ptr_equal(sub.p, bytes + 2);
    assert_int_equal(cursor_left(&sub), 3);
    assert_int_equal(cursor_skip(&sub, 4), -EBADMSG); /* the rest of the outer bytes is out of its reach */
    assert_int_equal(cursor_bytes(&c, 4, &p), 0);
    assert_ptr_equal(p, bytes + 5);
    assert_int_equal(cursor_left(&c), 0);
    assert_int_equal(cursor_bytes(&c, 0, &p), 0);
    struct cursor none = cursor_of(NULL, 0);
    assert_int_equal(cursor_left(&none), 0);
    assert_int_equal(cursor_skip(&none, 0), 0);
    assert_int_equal(cursor_skip(&none, 1), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_big_endian),
        cmocka_unit_test(refuses_one_byte_short),
        cmocka_unit_test(parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
