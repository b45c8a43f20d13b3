/* SPDX-License-Identifier: MIT */
#include "common/base/str.h"

#include <assert.h>
#include <stdlib.h>

/* The lead byte fixes the length and, against overlong forms, surrogates and values above U+10FFFF, the range
 * of the second byte (RFC 3629 section 4, the ABNF). Returns the length of the character at p, or 0 when it
 * is broken. */
static size_t utf8_one(const uint8_t *p, size_t left, uint32_t *ret)
{
    uint8_t c = p[0];
    if (c < 0x80) {
        *ret = c;
        return 1;
    }
    size_t n = c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
    if (n == 0 || left < n)
        return 0;
    uint8_t lo = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    uint8_t hi = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < lo || p[1] > hi)
        return 0;
    uint32_t v = c & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3F);
    }
    *ret = v;
    return n;
}

/* Eight bytes of 0x01 ... 0x7F. */
static bool utf8_ascii8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return ((v | (v - 0x0101010101010101u)) & 0x8080808080808080u) == 0;
}

bool str_utf8_valid(const char *p, size_t len)
{
    const uint8_t *b = (const uint8_t *)p;
    for (size_t i = 0; i < len;) {
        if (len - i >= 8 && utf8_ascii8(b + i)) {
            i += 8;
            continue;
        }
        uint32_t v;
        size_t n = utf8_one(b + i, len - i, &v);
        if (n == 0 || v == 0)
            return false;
        i += n;
    }
    return true;
}

/* What could move the cursor, reorder, hide or break the line it stands in. */
static bool unprintable(uint32_t v)
{
    static const struct {
        uint32_t lo, hi;
    } ranges[] = {
        {0x00, 0x1F},     {0x5C, 0x5C},     {0x7F, 0x9F},       {0xAD, 0xAD},     {0x061C, 0x061C},
        {0x180E, 0x180E}, {0x200B, 0x200F}, {0x2028, 0x202E},   {0x2060, 0x206F}, {0xFEFF, 0xFEFF},
        {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF}, {0xE0000, 0xE0FFF},
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        if (v >= ranges[i].lo && v <= ranges[i].hi)
            return true;
    return (v & 0xFFFE) == 0xFFFE;
}

/* The next unit of output, at most 4 bytes; returns how many input bytes it stands for. */
static size_t escape_one(const uint8_t *src, size_t left, char unit[4], size_t *ret_len)
{
    static const char hex[] = "0123456789abcdef";
    uint32_t v;
    size_t n = utf8_one(src, left, &v);
    if (n > 0 && !unprintable(v)) {
        memcpy(unit, src, n);
        *ret_len = n;
        return n;
    }
    unit[0] = '\\';
    unit[1] = 'x';
    unit[2] = hex[src[0] >> 4];
    unit[3] = hex[src[0] & 15];
    *ret_len = 4;
    return 1;
}

char *str_escape(char *dst, size_t cap, const char *src, size_t len)
{
    static const char dots[] = "...";
    assert(cap >= sizeof(dots));
    size_t pos = 0, cut = 0; /* cut: the last end of a unit behind which the dots still fit */
    for (size_t i = 0; i < len;) {
        char unit[4];
        size_t n;
        /* A continuation byte alone is broken UTF-8, so the rest of such a character escapes itself. */
        i += escape_one((const uint8_t *)src + i, len - i, unit, &n);
        if (pos + n > cap - 1) {
            memcpy(dst + cut, dots, sizeof(dots));
            return dst;
        }
        memcpy(dst + pos, unit, n);
        pos += n;
        if (pos + sizeof(dots) <= cap)
            cut = pos;
    }
    dst[pos] = 0;
    return dst;
}

char *str_dup(struct str s)
{
    if (s.len > 0 && memchr(s.p, 0, s.len))
        return NULL;
    char *p = malloc(s.len + 1);
    if (!p)
        return NULL;
    if (s.len > 0)
        memcpy(p, s.p, s.len);
    p[s.len] = 0;
    return p;
}
