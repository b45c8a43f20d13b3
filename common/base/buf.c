/* SPDX-License-Identifier: MIT */
#include "common/base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define BUF_MIN_CAP 64u

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->err = 0;
}

/* Makes the memory at least want bytes. The limit is the caller's business: a NUL behind a full buffer is
 * allowed. */
static bool buf_grow(struct buf *b, size_t want)
{
    if (want <= b->cap)
        return true;
    size_t cap = b->cap < BUF_MIN_CAP ? BUF_MIN_CAP : b->cap;
    while (cap < want)
        cap = cap > SIZE_MAX / 2 ? want : cap * 2;
    uint8_t *data = realloc(b->data, cap);
    if (!data) {
        b->err = -ENOMEM;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->err)
        return NULL;
    if (b->len > b->max || n > b->max - b->len) {
        b->err = -ENOBUFS;
        return NULL;
    }
    /* At least one byte, so that success is never NULL. */
    if (!buf_grow(b, b->len + (n ? n : 1)))
        return NULL;
    return b->data + b->len;
}

/* Most of what is put has its room already. */
static bool buf_has_room(const struct buf *b, size_t n)
{
    return !b->err && n < b->cap - b->len && b->len <= b->max && n <= b->max - b->len;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    uint8_t *dst = buf_has_room(b, n) ? b->data + b->len : buf_reserve(b, n);
    if (!dst || n == 0)
        return;
    memcpy(dst, p, n);
    b->len += n;
}

void buf_putc(struct buf *b, uint8_t c)
{
    buf_put(b, &c, 1);
}

void buf_puts(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_put_str(struct buf *b, struct str s)
{
    buf_put(b, s.p, s.len);
}

static void buf_put_be(struct buf *b, uint64_t v, unsigned bytes)
{
    uint8_t out[8];
    for (unsigned i = 0; i < bytes; i++)
        out[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    buf_put(b, out, bytes);
}

void buf_put_be16(struct buf *b, uint16_t v)
{
    buf_put_be(b, v, 2);
}

void buf_put_be32(struct buf *b, uint32_t v)
{
    buf_put_be(b, v, 4);
}

void buf_put_be64(struct buf *b, uint64_t v)
{
    buf_put_be(b, v, 8);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        if (!b->err)
            b->err = -EINVAL;
    } else if (buf_reserve(b, (size_t)n) && buf_grow(b, b->len + (size_t)n + 1)) {
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n == 0)
        return;
    b->len -= n;
    memmove(b->data, b->data + n, b->len);
}

const char *buf_cstr(struct buf *b)
{
    if (b->err || !buf_grow(b, b->len + 1))
        return NULL;
    b->data[b->len] = 0;
    return (const char *)b->data;
}
