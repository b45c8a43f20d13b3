/* SPDX-License-Identifier: MIT */
/* The one checked reader over untrusted bytes. It cannot advance past its end; every getter answers 0, or
 * -EBADMSG with the cursor and the out-parameter untouched. Network byte order. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

struct cursor {
    const uint8_t *p;
    const uint8_t *end;
};

static inline struct cursor cursor_of(const void *p, size_t n)
{
    const uint8_t *b = p;
    return (struct cursor){b, b ? b + n : b};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->p);
}

int cursor_u8(struct cursor *c, uint8_t *ret) MUST_CHECK;
int cursor_be16(struct cursor *c, uint16_t *ret) MUST_CHECK;
int cursor_be24(struct cursor *c, uint32_t *ret) MUST_CHECK;
int cursor_be32(struct cursor *c, uint32_t *ret) MUST_CHECK;
int cursor_be64(struct cursor *c, uint64_t *ret) MUST_CHECK;
int cursor_skip(struct cursor *c, size_t n) MUST_CHECK;

/* The next n bytes, borrowed. */
int cursor_bytes(struct cursor *c, size_t n, const uint8_t **ret) MUST_CHECK;

/* The next n bytes as a cursor of their own (a length-prefixed vector). */
int cursor_sub(struct cursor *c, size_t n, struct cursor *ret) MUST_CHECK;
