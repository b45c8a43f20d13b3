/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

static void compares(void **st)
{
    (void)st;
    assert_true(str_eq(STR_LIT("ab"), str_of("ab")));
    assert_false(str_eq(STR_LIT("ab"), STR_LIT("abc")));
    assert_false(str_eq(STR_LIT("ab"), STR_LIT("aB")));
    assert_true(str_eq(STR_NONE, STR_LIT("")));
    assert_null(str_of(NULL).p);
    assert_true(str_is(STR_LIT("x"), "x"));
    assert_false(str_is((struct str){"x\0", 2}, "x"));
}

static void utf8(void **st)
{
    (void)st;
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "caf\xc3\xa9"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xe2\x82",
                                      "\xe2\x82\x41",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf0\x9f\x98",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xfe",
                                      "\xff",
                                      "ok\xff"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(str_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(str_utf8_valid(bad[i], strlen(bad[i])));
    assert_false(str_utf8_valid("a\0b", 3));
    assert_true(str_utf8_valid(NULL, 0));
}

static void escapes(void **st)
{
    (void)st;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"plain text", "plain text"},
        {"caf\xc3\xa9 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xf0\x9f\x98\x80"},
        {"a\nb\tc\r", "a\\x0ab\\x09c\\x0d"},
        {"\x1b[31mred", "\\x1b[31mred"},
        {"\x7f", "\\x7f"},
        {"back\\slash", "back\\x5cslash"},
        {"\xc2\x9b"
         "2J",
         "\\xc2\\x9b2J"}, /* C1 control */
        {"\xe2\x80\xae"
         "x",
         "\\xe2\\x80\\xaex"},                         /* right-to-left override */
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},          /* line separator */
        {"\xef\xbb\xbf", "\\xef\\xbb\\xbf"},          /* byte order mark */
        {"\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81"}, /* tag character */
        {"\xff\xfe", "\\xff\\xfe"},
        {"\xe2\x82", "\\xe2\\x82"},
        {"", ""},
    };
    char out[64];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(str_escape(out, sizeof(out), rows[i].in, strlen(rows[i].in)), rows[i].out);
    assert_string_equal(str_escape(out, sizeof(out), "a\0b", 3), "a\\x00b");
}

static void escape_cuts(void **st)
{
    (void)st;
    char out[16];
    assert_string_equal(str_escape(out, 8, "1234567", 7), "1234567"); /* just fits */
    assert_string_equal(str_escape(out, 8, "12345678", 8), "1234...");
    assert_string_equal(str_escape(out, 4, "abc", 3), "abc");
    assert_string_equal(str_escape(out, 4, "abcd", 4), "...");
    /* never in the middle of a character or of an escape */
    assert_string_equal(str_escape(out, 8, "123\xc3\xa9\xc3\xa9\xc3\xa9", 9), "123...");
    assert_string_equal(str_escape(out, 8, "12\n34", 5), "12...");
    assert_string_equal(str_escape(out, 8, "\n123", 4), "\\x0a123");
    assert_string_equal(str_escape(out, 8, "\n1234", 5), "\\x0a...");
    for (size_t cap = 4; cap <= sizeof(out); cap++) {
        memset(out, '#', sizeof(out));
        str_escape(out, cap,
                   "ab\x01"
                   "cdefghijklmnopqrstuvw",
                   24);
        assert_true(strlen(out) < cap);
        for (size_t i = cap; i < sizeof(out); i++)
            assert_int_equal(out[i], '#');
    }
}

static void dups(void **st)
{
    (void)st;
    _cleanup_free_ char *a = str_dup((struct str){"hello", 4});
    assert_string_equal(a, "hell");
    _cleanup_free_ char *b = str_dup(STR_NONE);
    assert_string_equal(b, "");
    assert_null(str_dup((struct str){"a\0b", 3}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),    cmocka_unit_test(utf8), cmocka_unit_test(escapes),
        cmocka_unit_test(escape_cuts), cmocka_unit_test(dups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
