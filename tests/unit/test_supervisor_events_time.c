/* SPDX-License-Identifier: MIT */
/* Times as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "supervisor/ctl/events_time.h"

#define NOW 1795975200123ull /* 2026-11-29T18:00:00.123Z */

static void good(const char *text, uint64_t want, uint64_t want_span)
{
    uint64_t at = 1, span = 1;
    if (events_time_parse(text, NOW, &at, &span) < 0)
        fail_msg("%s is refused", text);
    if (at != want || span != want_span)
        fail_msg("%s: %llu + %llu, not %llu + %llu", text, (unsigned long long)at, (unsigned long long)span,
                 (unsigned long long)want, (unsigned long long)want_span);
}

static void bad(const char *text)
{
    uint64_t at = 7, span = 8;
    if (events_time_parse(text, NOW, &at, &span) != -EINVAL)
        fail_msg("\"%s\" is taken", text);
    assert_int_equal(at, 7);
    assert_int_equal(span, 8);
}

static void zone(const char *name)
{
    assert_int_equal(setenv("TZ", name, 1), 0);
    tzset();
}

static void test_ago(void **state)
{
    (void)state;
    good("now", NOW, 0);
    good("250ms", NOW - 250, 0);
    good("90s", NOW - 90000, 0);
    good("10m", NOW - 600000, 0);
    good("10min", NOW - 600000, 0);
    good("1h30m", NOW - 5400000, 0);
    good("2d", NOW - 172800000, 0);
    good("-2d", NOW - 172800000, 0);
    good("1w ago", NOW - 604800000, 0);
    good("36500d", 0, 0); /* before the epoch */
}

static void test_stamps(void **state)
{
    (void)state;
    zone("UTC");
    good("2026-11-29T18:00:00Z", NOW - 123, 999);
    good("2026-11-29t18:00:00z", NOW - 123, 999);
    good("2026-11-29 18:00:00", NOW - 123, 999);
    good("2026-11-29T18:00:00.5Z", NOW - 123 + 500, 0);
    good("2026-11-29T18:00:00.123456789Z", NOW, 0);
    good("2026-11-29T20:30:00+02:30", NOW - 123, 999);
    good("2026-11-29T13:00:00-05:00", NOW - 123, 999);
    good("2026-11-29", NOW - 123 - 18 * 3600000, 999);
    good("2024-02-29", 1709164800000ull, 999);
    good("@1795975200", NOW - 123, 999);
    good("1970-01-01T00:00:00Z", 0, 999);
}

static void test_days(void **state)
{
    (void)state;
    zone("UTC");
    good("today", NOW - 123 - 18 * 3600000, 0);
    good("yesterday", NOW - 123 - 42 * 3600000ull, 0);
    good("14:30", NOW - 123 - 3 * 3600000 - 1800000, 999);
    good("14:30:05", NOW - 123 - 3 * 3600000 - 1795000, 999);
    zone("XST-5:30"); /* there it is 23:30 */
    good("today", NOW - 123 - 23 * 3600000ull - 1800000, 0);
    good("2026-11-29", NOW - 123 - 23 * 3600000ull - 1800000, 999);
    good("2026-11-29T18:00:00Z", NOW - 123, 999);
    zone("UTC");
}

/* The night in which the clocks change: the day before has 23 hours. */
static void test_a_short_day(void **state)
{
    const uint64_t noon = 1774864800000ull; /* 2026-03-30T12:00:00+02:00 in CEST */
    uint64_t at, span;
    (void)state;
    zone("CET-1CEST,M3.5.0,M10.5.0/3");
    assert_int_equal(events_time_parse("today", noon, &at, &span), 0);
    assert_int_equal(at, noon - 12 * 3600000ull);
    assert_int_equal(events_time_parse("yesterday", noon, &at, &span), 0);
    assert_int_equal(at, noon - (12 + 23) * 3600000ull);
    zone("UTC");
}

static void test_refused(void **state)
{
    static const char *const words[] = {"",
                                        "10",
                                        "m",
                                        "10x",
                                        "10m5",
                                        "1.5h",
                                        "10 m",
                                        "10mago",
                                        "99999999999999999999s",
                                        "36500000w",
                                        "tomorrow",
                                        "2026-11-29T18:00",
                                        "2026-11-29T18:00:00ZZ",
                                        "2026-11-29T18:00:00+2",
                                        "2026-11-29T24:00:00Z",
                                        "2026-11-29T18:60:00Z",
                                        "2026-02-30",
                                        "2026-13-01",
                                        "2026-1-1",
                                        "26-11-29",
                                        "2026-11-29T18:00:00.Z",
                                        "25:00",
                                        "14:3",
                                        "14:30:",
                                        "@",
                                        "@-1",
                                        "@1795975200x",
                                        "@99999999999999999999",
                                        "1969-12-31T23:59:59Z"};
    (void)state;
    zone("UTC");
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        bad(words[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ago),         cmocka_unit_test(test_stamps),  cmocka_unit_test(test_days),
        cmocka_unit_test(test_a_short_day), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
