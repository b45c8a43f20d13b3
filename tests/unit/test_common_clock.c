/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "common/base/clock.h"

#define DAY_S    86400u
#define LAST_DAY 2932896u /* 9999-12-31 */

static void known_times(void **st)
{
    (void)st;
    static const struct {
        uint64_t s;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00Z"},
        {59, "1970-01-01T00:00:59Z"},
        {951782399, "2000-02-28T23:59:59Z"},
        {951782400, "2000-02-29T00:00:00Z"},
        {951868800, "2000-03-01T00:00:00Z"},
        {1709164800, "2024-02-29T00:00:00Z"},
        {4107542400, "2100-03-01T00:00:00Z"},
        {1795410600, "2026-11-23T05:10:00Z"},
        {253402300799, "9999-12-31T23:59:59Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[CLOCK_RFC3339_LEN + 1];
        uint64_t s;
        assert_int_equal(clock_format_rfc3339(rows[i].s, out), 0);
        assert_string_equal(out, rows[i].text);
        assert_int_equal(clock_parse_rfc3339(str_of(out), &s), 0);
        assert_true(s == rows[i].s);
    }
    char out[CLOCK_RFC3339_LEN + 1] = "same";
    assert_int_equal(clock_format_rfc3339(253402300800, out), -ERANGE);
    assert_int_equal(clock_format_rfc3339(UINT64_MAX, out), -ERANGE);
    assert_string_equal(out, "same");
}

/* Every day there is, against the C library, and back. */
static void every_day(void **st)
{
    (void)st;
    for (uint64_t day = 0; day <= LAST_DAY; day++) {
        uint64_t s = day * DAY_S + day * 7919 % DAY_S, back;
        char out[CLOCK_RFC3339_LEN + 1], want[64];
        time_t t = (time_t)s;
        struct tm tm;
        assert_int_equal(clock_format_rfc3339(s, out), 0);
        gmtime_r(&t, &tm);
        if (day % 16 == 0 || tm.tm_mday >= 28 || tm.tm_mday == 1) {
            strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%SZ", &tm);
            if (strcmp(out, want) != 0)
                assert_string_equal(out, want);
        }
        if (clock_parse_rfc3339(str_of(out), &back) != 0 || back != s)
            fail_msg("%s does not read back", out);
    }
}

static void refuses(void **st)
{
    (void)st;
    static const char *const bad[] = {
        "",
        "2026-02-29T00:00:00Z", /* no leap year */
        "2100-02-29T00:00:00Z", /* nor a century */
        "2000-02-30T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-00-10T00:00:00Z",
        "2026-13-10T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z", /* leap second */
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "2026-01-01t00:00:00Z",
        "2026-01-01T00:00:00z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T00:00:00.0Z",
        "2026-1-01T00:00:000Z",
        "+026-01-01T00:00:00Z",
        "2026-01-01T00:00:0 Z",
        " 2026-01-01T00:00:00Z",
        "12026-01-01T00:00:00Z",
    };
    uint64_t s = 77;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (clock_parse_rfc3339(str_of(bad[i]), &s) != -EBADMSG)
            fail_msg("accepted %s", bad[i]);
    assert_int_equal(clock_parse_rfc3339((struct str){"2026-01-01T00:00:00\0", 20}, &s), -EBADMSG);
    assert_int_equal(s, 77);
}

static void clocks_run(void **st)
{
    (void)st;
    uint64_t a = clock_boottime_us();
    struct timespec pause = {.tv_nsec = 2000000};
    nanosleep(&pause, NULL);
    uint64_t b = clock_boottime_us();
    assert_true(b >= a + 2000 && b < a + 60000000);
    uint64_t ms = clock_realtime_ms(), now = (uint64_t)time(NULL);
    assert_true(ms / 1000 >= now - 5 && ms / 1000 <= now + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_times),
        cmocka_unit_test(every_day),
        cmocka_unit_test(refuses),
        cmocka_unit_test(clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
