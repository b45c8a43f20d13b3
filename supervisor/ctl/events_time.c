/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/events_time.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define AGO_MAX_MS (100ull * 366 * 86400 * 1000) /* a hundred years */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Exactly n digits. */
static bool take(const char **p, size_t n, int *ret)
{
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit((*p)[i]))
            return false;
        v = 10 * v + ((*p)[i] - '0');
    }
    *p += n;
    *ret = v;
    return true;
}

static bool take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

/* ---- so long ago ---- */

static uint64_t unit_ms(const char **p)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1},      {"s", 1000},        {"min", 60000},     {"m", 60000},
                 {"h", 3600000}, {"d", 86400000ull}, {"w", 604800000ull}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t n = strlen(units[i].name);
        if (strncmp(*p, units[i].name, n) != 0)
            continue;
        *p += n;
        return units[i].ms;
    }
    return 0;
}

static bool parse_ago(const char *p, uint64_t now_ms, uint64_t *ret)
{
    uint64_t sum = 0;
    if (!is_digit(*p))
        return false;
    while (is_digit(*p)) {
        uint64_t v = 0;
        for (; is_digit(*p); p++) {
            v = 10 * v + (uint64_t)(*p - '0');
            if (v > AGO_MAX_MS)
                return false;
        }
        uint64_t ms = unit_ms(&p);
        if (ms == 0 || v > AGO_MAX_MS / ms)
            return false;
        sum += v * ms;
        if (sum > AGO_MAX_MS)
            return false;
    }
    if (strcmp(p, " ago") != 0 && *p)
        return false;
    *ret = sum < now_ms ? now_ms - sum : 0;
    return true;
}

/* ---- dates ---- */

/* mktime and timegm correct what does not exist (31 February): such a date is refused. */
static bool to_epoch(struct tm want, bool utc, int64_t *ret)
{
    struct tm t = want;
    t.tm_isdst = -1;
    time_t at = utc ? timegm(&t) : mktime(&t);
    if (at < 0 || t.tm_mday != want.tm_mday || t.tm_mon != want.tm_mon || want.tm_hour > 23 ||
        want.tm_min > 59 || want.tm_sec > 59)
        return false;
    *ret = (int64_t)at;
    return true;
}

static bool take_date(const char **p, struct tm *t)
{
    if (!take(p, 4, &t->tm_year) || !take_char(p, '-') || !take(p, 2, &t->tm_mon) || !take_char(p, '-') ||
        !take(p, 2, &t->tm_mday))
        return false;
    t->tm_year -= 1900;
    t->tm_mon -= 1;
    return true;
}

/* "hh:mm" and, wanted or there, ":ss". */
static bool take_clock(const char **p, struct tm *t, bool seconds)
{
    if (!take(p, 2, &t->tm_hour) || !take_char(p, ':') || !take(p, 2, &t->tm_min))
        return false;
    if (**p != ':')
        return !seconds;
    (*p)++;
    return take(p, 2, &t->tm_sec);
}

static bool take_fraction(const char **p, uint64_t *ret_ms, uint64_t *ret_span)
{
    uint64_t ms = 0, scale = 100;
    if (**p != '.')
        return true;
    (*p)++;
    if (!is_digit(**p))
        return false;
    for (; is_digit(**p); (*p)++, scale /= 10)
        ms += scale * (uint64_t)(**p - '0');
    *ret_ms = ms;
    *ret_span = 0;
    return true;
}

/* "Z", "+02:00", or nothing: local time. */
static bool take_zone(const char **p, bool *ret_utc, int64_t *ret_offset_s)
{
    int h = 0, m = 0, sign = **p == '-' ? -1 : 1;
    *ret_utc = **p != '\0';
    if (**p == '\0' || take_char(p, 'Z') || take_char(p, 'z'))
        return **p == '\0';
    if (!take_char(p, '+') && !take_char(p, '-'))
        return false;
    if (!take(p, 2, &h) || !take_char(p, ':') || !take(p, 2, &m) || h > 23 || m > 59 || **p)
        return false;
    *ret_offset_s = sign * (3600 * h + 60 * m);
    return true;
}

static bool parse_stamp(const char *p, uint64_t *ret, uint64_t *ret_span)
{
    struct tm t = {.tm_mday = 1};
    uint64_t ms = 0, span = 999;
    int64_t offset = 0, at;
    bool utc = false;
    if (!take_date(&p, &t))
        return false;
    if (*p && *p != 'T' && *p != 't' && *p != ' ')
        return false;
    if (*p && (p++, !take_clock(&p, &t, true) || !take_fraction(&p, &ms, &span)))
        return false;
    if (!take_zone(&p, &utc, &offset) || !to_epoch(t, utc, &at) || at < offset)
        return false;
    *ret = (uint64_t)(at - offset) * 1000 + ms;
    *ret_span = span;
    return true;
}

/* Midnight so many days ago, or that time of today. */
static bool local_day(uint64_t now_ms, int days, const char *p, uint64_t *ret)
{
    time_t now = (time_t)(now_ms / 1000);
    struct tm t;
    int64_t at;
    if (!localtime_r(&now, &t))
        return false;
    t.tm_hour = t.tm_min = t.tm_sec = 0;
    if (p && (!take_clock(&p, &t, false) || *p))
        return false;
    if (days) { /* to noon of that day: no day is shorter than half of one */
        t.tm_hour = 12;
        t.tm_isdst = -1;
        time_t noon = mktime(&t) - (time_t)days * 86400;
        if (!localtime_r(&noon, &t))
            return false;
        t.tm_hour = t.tm_min = t.tm_sec = 0;
    }
    if (!to_epoch(t, false, &at))
        return false;
    *ret = (uint64_t)at * 1000;
    return true;
}

static bool parse_epoch(const char *p, uint64_t *ret)
{
    uint64_t v = 0;
    if (!is_digit(*p) || strspn(p, "0123456789") != strlen(p) || strlen(p) > 12)
        return false;
    for (; *p; p++)
        v = 10 * v + (uint64_t)(*p - '0');
    *ret = v * 1000;
    return true;
}

int events_time_parse(const char *text, uint64_t now_ms, uint64_t *ret, uint64_t *ret_span)
{
    uint64_t at = now_ms, span = 0;
    bool ok;
    if (strcmp(text, "now") == 0)
        ok = true;
    else if (strcmp(text, "today") == 0 || strcmp(text, "yesterday") == 0)
        ok = local_day(now_ms, text[0] == 'y', NULL, &at);
    else if (text[0] == '@')
        ok = parse_epoch(text + 1, &at);
    else if (strlen(text) > 2 && text[2] == ':')
        ok = local_day(now_ms, 0, text, &at);
    else
        ok = parse_ago(text[0] == '-' ? text + 1 : text, now_ms, &at) || parse_stamp(text, &at, &span);
    if (!ok)
        return -EINVAL;
    if (text[0] == '@' || (strlen(text) > 2 && text[2] == ':'))
        span = 999;
    *ret = at;
    *ret_span = span;
    return 0;
}
