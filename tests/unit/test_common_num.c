/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/num.h"

static void accepts(void **st)
{
    (void)st;
    static const struct {
        const char *text;
        uint64_t value;
    } rows[] = {
        {"0", 0}, {"1", 1}, {"10", 10}, {"65535", 65535}, {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v = 77;
        assert_int_equal(num_parse_u64(str_of(rows[i].text), 0, UINT64_MAX, &v), 0);
        assert_true(v == rows[i].value);
    }
}

static void refuses(void **st)
{
    (void)st;
    static const char *const rows[] = {"",
                                       "-1",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "01",
                                       "00",
                                       "0x10",
                                       "1e3",
                                       "1.0",
                                       "a",
                                       "1a",
                                       "1\n",
                                       "\t",
                                       "--1",
                                       "١",
                                       "18446744073709551616x"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v = 77;
        assert_int_equal(num_parse_u64(str_of(rows[i]), 0, UINT64_MAX, &v), -EINVAL);
        assert_int_equal(v, 77);
    }
    uint64_t v = 77;
    assert_int_equal(num_parse_u64(STR_NONE, 0, 1, &v), -EINVAL);
    assert_int_equal(num_parse_u64((struct str){"1\0", 2}, 0, 1, &v), -EINVAL);
    assert_int_equal(v, 77);
}

static void ranges(void **st)
{
    (void)st;
    uint64_t v = 77;
    assert_int_equal(num_parse_u64(STR_LIT("0"), 1, 10, &v), -ERANGE);
    assert_int_equal(num_parse_u64(STR_LIT("11"), 1, 10, &v), -ERANGE);
    assert_int_equal(num_parse_u64(STR_LIT("18446744073709551616"), 0, UINT64_MAX, &v), -ERANGE);
    assert_int_equal(num_parse_u64(STR_LIT("99999999999999999999999999999999"), 0, UINT64_MAX, &v), -ERANGE);
    assert_int_equal(v, 77);
    assert_int_equal(num_parse_u64(STR_LIT("1"), 1, 10, &v), 0);
    assert_int_equal(v, 1);
    assert_int_equal(num_parse_u64(STR_LIT("10"), 1, 10, &v), 0);
    assert_int_equal(v, 10);
    /* counted, not terminated */
    assert_int_equal(num_parse_u64((struct str){"123456", 3}, 0, 1000, &v), 0);
    assert_int_equal(v, 123);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(accepts), cmocka_unit_test(refuses),
                                       cmocka_unit_test(ranges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
