/* SPDX-License-Identifier: MIT */
#include "common/base/cursor.h"

static int cursor_be(struct cursor *c, unsigned bytes, uint64_t *ret)
{
    if (cursor_left(c) < bytes)
        return -EBADMSG;
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | c->p[i];
    c->p += bytes;
    *ret = v;
    return 0;
}

int cursor_u8(struct cursor *c, uint8_t *ret)
{
    uint64_t v;
    int r = cursor_be(c, 1, &v);
    if (r == 0)
        *ret = (uint8_t)v;
    return r;
}

int cursor_be16(struct cursor *c, uint16_t *ret)
{
    uint64_t v;
    int r = cursor_be(c, 2, &v);
    if (r == 0)
        *ret = (uint16_t)v;
    return r;
}

int cursor_be24(struct cursor *c, uint32_t *ret)
{
    uint64_t v;
    int r = cursor_be(c, 3, &v);
    if (r == 0)
        *ret = (uint32_t)v;
    return r;
}

int cursor_be32(struct cursor *c, uint32_t *ret)
{
    uint64_t v;
    int r = cursor_be(c, 4, &v);
    if (r == 0)
        *ret = (uint32_t)v;
    return r;
}

int cursor_be64(struct cursor *c, uint64_t *ret)
{
    return cursor_be(c, 8, ret);
}

int cursor_skip(struct cursor *c, size_t n)
{
    const uint8_t *ignored;
    return cursor_bytes(c, n, &ignored);
}

int cursor_bytes(struct cursor *c, size_t n, const uint8_t **ret)
{
    if (cursor_left(c) < n)
        return -EBADMSG;
    const uint8_t *p = c->p;
    if (n > 0)
        c->p += n;
    *ret = p;
    return 0;
}

int cursor_sub(struct cursor *c, size_t n, struct cursor *ret)
{
    const uint8_t *p;
    int r = cursor_bytes(c, n, &p);
    if (r == 0)
        *ret = cursor_of(p, n);
    return r;
}
