/* SPDX-License-Identifier: MIT */
/* A growable byte buffer with a hard upper limit. Writes after an error are no-ops: a writer checks buf->err
 * once, at the end. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

struct buf {
    uint8_t *data; /* owned; may be NULL while len == 0 */
    size_t len;
    size_t cap;
    size_t max; /* never grows beyond; set by buf_init */
    int err;    /* 0, -ENOMEM or -ENOBUFS (limit reached); sticky */
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);  /* frees; NULL-safe; the struct may be initialised again */
void buf_clear(struct buf *b); /* len = 0, err = 0; keeps the memory */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_putc(struct buf *b, uint8_t c);
void buf_puts(struct buf *b, const char *s);
void buf_put_str(struct buf *b, struct str s);
void buf_put_be16(struct buf *b, uint16_t v);
void buf_put_be32(struct buf *b, uint32_t v);
void buf_put_be64(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Room for n more bytes at the end; NULL on error. The caller writes there and then adds to b->len. */
uint8_t *buf_reserve(struct buf *b, size_t n);

/* Drops n bytes (n <= len) from the front. */
void buf_consume(struct buf *b, size_t n);

/* Adds a NUL (not counted in len) and returns the text; NULL on error. */
const char *buf_cstr(struct buf *b);

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){(const char *)b->data, b->len};
}
