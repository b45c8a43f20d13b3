/* SPDX-License-Identifier: MIT */
#include "common/base/clock.h"

#include <time.h>

#define DAY_S        86400u
#define EPOCH_S_MAX  253402300799u /* 9999-12-31T23:59:59Z */
#define DAYS_TO_1970 719468u       /* from 0000-03-01, the start of this calendar's count */
#define DAYS_ERA     146097u       /* 400 Gregorian years */

uint64_t clock_boottime_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t clock_realtime_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

struct civil {
    uint32_t year, month, day;
};

/* Years are counted from March, so that the leap day is a year's last day and month lengths follow one
 * formula. */
static struct civil civil_of_days(uint64_t days_since_epoch)
{
    uint64_t z = days_since_epoch + DAYS_TO_1970;
    uint64_t era = z / DAYS_ERA;
    uint32_t doe = (uint32_t)(z % DAYS_ERA);
    uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint32_t mp = (5 * doy + 2) / 153;
    uint32_t month = mp < 10 ? mp + 3 : mp - 9;
    uint32_t year = (uint32_t)(era * 400) + yoe + (month <= 2);
    return (struct civil){year, month, doy - (153 * mp + 2) / 5 + 1};
}

static uint64_t days_of_civil(struct civil c)
{
    uint32_t y = c.year - (c.month <= 2);
    uint32_t yoe = y % 400;
    uint32_t mp = c.month > 2 ? c.month - 3 : c.month + 9;
    uint32_t doy = (153 * mp + 2) / 5 + c.day - 1;
    uint32_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return (uint64_t)(y / 400) * DAYS_ERA + doe - DAYS_TO_1970;
}

static void put_digits(char *dst, uint32_t v, unsigned n)
{
    while (n-- > 0) {
        dst[n] = (char)('0' + v % 10);
        v /= 10;
    }
}

int clock_format_rfc3339(uint64_t epoch_s, char *dst)
{
    if (epoch_s > EPOCH_S_MAX)
        return -ERANGE;
    struct civil c = civil_of_days(epoch_s / DAY_S);
    uint32_t s = (uint32_t)(epoch_s % DAY_S);
    memcpy(dst, "0000-00-00T00:00:00Z", CLOCK_RFC3339_LEN + 1);
    put_digits(dst, c.year, 4);
    put_digits(dst + 5, c.month, 2);
    put_digits(dst + 8, c.day, 2);
    put_digits(dst + 11, s / 3600, 2);
    put_digits(dst + 14, s / 60 % 60, 2);
    put_digits(dst + 17, s % 60, 2);
    return 0;
}

static uint32_t get_digits(const char *p, unsigned n)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v = v * 10 + (uint32_t)(p[i] - '0');
    return v;
}

static uint32_t month_days(struct civil c)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = c.year % 4 == 0 && (c.year % 100 != 0 || c.year % 400 == 0);
    return c.month == 2 && leap ? 29u : days[c.month - 1];
}

int clock_parse_rfc3339(struct str s, uint64_t *ret_epoch_s)
{
    static const char form[] = "0000-00-00T00:00:00Z";
    if (s.len != CLOCK_RFC3339_LEN)
        return -EBADMSG;
    for (size_t i = 0; i < s.len; i++)
        if (form[i] == '0' ? s.p[i] < '0' || s.p[i] > '9' : s.p[i] != form[i])
            return -EBADMSG;
    struct civil c = {get_digits(s.p, 4), get_digits(s.p + 5, 2), get_digits(s.p + 8, 2)};
    uint32_t h = get_digits(s.p + 11, 2), m = get_digits(s.p + 14, 2), sec = get_digits(s.p + 17, 2);
    /* Years before the epoch have no value here; a leap second has no inverse. */
    if (c.year < 1970 || c.month < 1 || c.month > 12 || c.day < 1 || c.day > month_days(c) || h > 23 ||
        m > 59 || sec > 59)
        return -EBADMSG;
    uint32_t in_day = (h * 60u + m) * 60u + sec;
    *ret_epoch_s = days_of_civil(c) * DAY_S + in_day;
    return 0;
}
