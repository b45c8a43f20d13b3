/* SPDX-License-Identifier: MIT */
#include "proto/secret_form.h"

#include <sodium.h>

#include "proto/limits.h"

#define GROWTH 6u /* the longest form: \u00XX for each byte */

void secret_fold(const char *p, size_t n, uint8_t *dst)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)p[i];

        dst[i] = (uint8_t)(c + (c >= 'A' && c <= 'Z' ? 'a' - 'A' : 0));
    }
}

static size_t form_hex(struct str v, char *dst)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < v.len; i++) {
        dst[2 * i] = digits[(uint8_t)v.p[i] >> 4];
        dst[2 * i + 1] = digits[(uint8_t)v.p[i] & 15];
    }
    return 2 * v.len;
}

/* RFC 3986 section 2.3: what is not unreserved. */
static size_t form_percent(struct str v, char *dst)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;

    for (size_t i = 0; i < v.len; i++) {
        uint8_t c = (uint8_t)v.p[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            (c && strchr("-._~", c))) {
            dst[n++] = (char)c;
            continue;
        }
        dst[n++] = '%';
        dst[n++] = digits[c >> 4];
        dst[n++] = digits[c & 15];
    }
    return n;
}

/* RFC 8259 section 7, with the short escapes, as most writers have it. */
static size_t form_json(struct str v, char *dst)
{
    static const char digits[] = "0123456789abcdef", from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    size_t n = 0;

    for (size_t i = 0; i < v.len; i++) {
        uint8_t c = (uint8_t)v.p[i];
        const char *at = c ? strchr(from, c) : NULL;

        if (at) {
            dst[n++] = '\\';
            dst[n++] = to[at - from];
        } else if (c < 0x20) {
            dst[n] = '\\';
            dst[n + 1] = 'u';
            dst[n + 2] = dst[n + 3] = '0';
            dst[n + 4] = digits[c >> 4];
            dst[n + 5] = digits[c & 15];
            n += 6;
        } else {
            dst[n++] = (char)c;
        }
    }
    return n;
}

/* The characters of RFC 4648 base64 that lie in the value alone when `before` bytes (0 to 2) of a group of
 * three come before it. */
static size_t form_base64(struct str v, size_t before, bool url, char *dst)
{
    static const char std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
                      safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *alphabet = url ? safe : std;
    size_t from = (8 * before + 5) / 6, to = 8 * (before + v.len) / 6, n = 0;

    for (size_t i = from; i < to; i++) {
        size_t bit = 6 * i - 8 * before, byte = bit / 8, shift = bit % 8;
        unsigned two = (unsigned)(uint8_t)v.p[byte] << 8 | (byte + 1 < v.len ? (uint8_t)v.p[byte + 1] : 0);
        dst[n++] = alphabet[two >> (10 - shift) & 63];
    }
    return n;
}

struct forms {
    struct str value;
    char *text;   /* the form as made */
    uint8_t *low; /* and lower-cased */
    int (*fn)(void *arg, const uint8_t *p, size_t n);
    void *arg;
};

static int give(struct forms *f, size_t n)
{
    secret_fold(f->text, n, f->low);
    return f->fn(f->arg, f->low, n);
}

static bool differs(const struct forms *f, size_t n)
{
    return n != f->value.len || memcmp(f->text, f->value.p, n) != 0;
}

static int give_base64(struct forms *f)
{
    int r = 0;

    for (size_t before = 0; before < 3 && r == 0; before++) {
        size_t n = form_base64(f->value, before, false, f->text);

        r = give(f, n);
        if (r == 0 && (memchr(f->text, '+', n) || memchr(f->text, '/', n)))
            r = give(f, form_base64(f->value, before, true, f->text));
    }
    return r;
}

static int give_all(struct forms *f)
{
    size_t n;
    int r;

    memcpy(f->text, f->value.p, f->value.len);
    r = give(f, f->value.len);
    if (r < 0 || f->value.len < LIMIT_SECRET_SEARCHED)
        return r;
    n = form_json(f->value, f->text);
    if (differs(f, n))
        r = give(f, n);
    n = r == 0 ? form_percent(f->value, f->text) : 0;
    if (r == 0 && differs(f, n))
        r = give(f, n);
    if (r == 0)
        r = give(f, form_hex(f->value, f->text));
    return r == 0 ? give_base64(f) : r;
}

int secret_forms(struct str value, int (*fn)(void *arg, const uint8_t *p, size_t n), void *arg)
{
    size_t room = GROWTH * value.len;
    struct forms f = {.value = value, .fn = fn, .arg = arg};
    char *both = sodium_malloc(2 * room);
    int r;

    if (!both)
        return -ENOMEM;
    f.text = both;
    f.low = (uint8_t *)both + room;
    r = give_all(&f);
    sodium_free(both);
    return r;
}
