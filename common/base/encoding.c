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

/* libsodium 1.0.18 takes its characters as signed and reads some bytes above 0x7F as digits. */
static bool ascii(struct str s)
{
    uint8_t all = 0;
    for (size_t i = 0; i < s.len; i++)
        all |= (uint8_t)s.p[i];
    return all < 0x80;
}

int encoding_base64_get(struct str s, struct buf *b)
{
    if (b->err)
        return b->err;
    if (s.len % 4 != 0 || !ascii(s))
        return -EBADMSG;
    if (s.len == 0)
        return 0;
    size_t n = s.len / 4 * 3 - (s.p[s.len - 1] == '=') - (s.p[s.len - 2] == '=');
    uint8_t *dst = buf_reserve(b, n);
    if (!dst)
        return b->err;
    size_t got = 0;
    if (sodium_base642bin(dst, n, s.p, s.len, /* ignore= */ NULL, &got, /* b64_end= */ NULL,
                          sodium_base64_VARIANT_ORIGINAL) < 0 ||
        got != n)
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
