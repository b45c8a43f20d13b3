/* SPDX-License-Identifier: MIT */
/* What is written here is public: signatures, digests, hashes. A key's own text is made by libsodium's
 * codecs, which run in constant time. */
#include "common/base/encoding.h"

#include <sodium.h>

#define ENCODING_CHUNK 48u /* a multiple of 3, so that only the last chunk is padded */

void encoding_base64_put(struct buf *b, const void *p, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = p;
    uint8_t *out = n > 0 ? buf_reserve(b, (n + 2) / 3 * 4) : NULL;

    if (!out)
        return;
    b->len += (n + 2) / 3 * 4;
    for (; n >= 3; n -= 3, in += 3, out += 4) {
        out[0] = (uint8_t)digit[in[0] >> 2];
        out[1] = (uint8_t)digit[(in[0] & 3) << 4 | in[1] >> 4];
        out[2] = (uint8_t)digit[(in[1] & 15) << 2 | in[2] >> 6];
        out[3] = (uint8_t)digit[in[2] & 63];
    }
    if (n == 0)
        return;
    out[0] = (uint8_t)digit[in[0] >> 2];
    out[1] = (uint8_t)digit[(in[0] & 3) << 4 | (n > 1 ? in[1] >> 4 : 0)];
    out[2] = n > 1 ? (uint8_t)digit[(in[1] & 15) << 2] : '=';
    out[3] = '=';
}

/* The value of a digit; X for every other character, and for all bytes above 0x7F. */
#define X 0xff
static const uint8_t base64_value[256] = {
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  X,  X,
    X,  62, X,
    X,  X,  63,
    52, 53, 54,
    55, 56, 57,
    58, 59, 60,
    61, X,  X,
    X,  X,  X,
    X,  X,  0,
    1,  2,  3,
    4,  5,  6,
    7,  8,  9,
    10, 11, 12,
    13, 14, 15,
    16, 17, 18,
    19, 20, 21,
    22, 23, 24,
    25, X,  X,
    X,  X,  X,
    X,  26, 27,
    28, 29, 30,
    31, 32, 33,
    34, 35, 36,
    37, 38, 39,
    40, 41, 42,
    43, 44, 45,
    46, 47, 48,
    49, 50, 51,
    X,  X,  X,
    X,  X,  [128 ... 255] = X,
};
#undef X

/* Four digits: their 24 bits, or a number above these when one is no digit. */
static inline __attribute__((always_inline)) uint32_t base64_group(const uint8_t *in)
{
    uint8_t a = base64_value[in[0]], b = base64_value[in[1]], c = base64_value[in[2]],
            d = base64_value[in[3]];

    return (a | b | c | d) > 63 ? UINT32_MAX : (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | d;
}

/* The last group, which may be padded; n: the bytes it holds. Bits that stand for nothing must be zero. */
static bool base64_last(const uint8_t *in, size_t n, uint8_t *out)
{
    const uint8_t whole[4] = {in[0], in[1], n > 1 ? in[2] : 'A', n > 2 ? in[3] : 'A'};
    uint32_t v = base64_group(whole);

    if (v == UINT32_MAX || (n == 1 && (v & 0xffff) != 0) || (n == 2 && (v & 0xff) != 0))
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(v >> (16 - 8 * i));
    return true;
}

int encoding_base64_get(struct str s, struct buf *b)
{
    const uint8_t *in = (const uint8_t *)s.p;
    size_t groups = s.len / 4, n;
    uint8_t *out;

    if (b->err)
        return b->err;
    if (s.len % 4 != 0)
        return -EBADMSG;
    if (s.len == 0)
        return 0;
    n = groups * 3 - (s.p[s.len - 1] == '=') - (s.p[s.len - 1] == '=' && s.p[s.len - 2] == '=');
    out = buf_reserve(b, n);
    if (!out)
        return b->err;
    for (size_t i = 0; i + 1 < groups; i++, in += 4, out += 3) {
        uint32_t v = base64_group(in);

        if (v == UINT32_MAX)
            return -EBADMSG;
        out[0] = (uint8_t)(v >> 16);
        out[1] = (uint8_t)(v >> 8);
        out[2] = (uint8_t)v;
    }
    if (!base64_last(in, n - 3 * (groups - 1), out))
        return -EBADMSG;
    b->len += n;
    return 0;
}

void encoding_hex_put(struct buf *b, const void *p, size_t n)
{
    char text[2 * ENCODING_CHUNK + 1];
    for (size_t i = 0; i < n; i += ENCODING_CHUNK) {
        size_t part = n - i < ENCODING_CHUNK ? n - i : ENCODING_CHUNK;
        sodium_bin2hex(text, sizeof(text), (const uint8_t *)p + i, part);
        buf_put(b, text, 2 * part);
    }
    sodium_memzero(text, sizeof(text));
}

/* 16 for what is no digit. */
static unsigned hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

int encoding_hex_get(struct str s, uint8_t *ret, size_t n)
{
    if (s.len % 2 != 0 || s.len / 2 != n)
        return -EBADMSG;
    for (size_t i = 0; i < s.len; i++)
        if (hex_digit(s.p[i]) > 15)
            return -EBADMSG;
    for (size_t i = 0; i < n; i++)
        ret[i] = (uint8_t)(hex_digit(s.p[2 * i]) << 4 | hex_digit(s.p[2 * i + 1]));
    return 0;
}
