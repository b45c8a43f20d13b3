/* SPDX-License-Identifier: MIT */
/* The bounded msgpack reader (msgpack spec, https://github.com/msgpack/msgpack/blob/master/spec.md) for the
 * subset of decisions 5: nil, bool, integers, str, bin, array; smallest encodings only. It allocates nothing:
 * every count is checked against the bytes that are left (one byte an element) before anybody acts on it.
 * Writing is msgpack-c's job (mp_write_*), which always chooses the smallest encoding. */
#pragma once

#include "common/base/buf.h"
#include "common/base/cursor.h"

enum mp_kind { MP_NIL, MP_BOOL, MP_UINT, MP_INT, MP_STR, MP_BIN, MP_ARRAY };

struct mp_token {
    enum mp_kind kind;
    uint64_t u;       /* MP_UINT value, MP_BOOL 0/1, MP_ARRAY element count */
    int64_t i;        /* MP_INT: always negative */
    struct str bytes; /* MP_STR (UTF-8 without NUL, checked) and MP_BIN; borrowed */
};

/* The next token. 0, or -EBADMSG for a truncated, oversized, non-smallest or unsupported encoding. */
int mp_read(struct cursor *c, struct mp_token *ret) MUST_CHECK;

void mp_write_nil(struct buf *b);
void mp_write_bool(struct buf *b, bool v);
void mp_write_uint(struct buf *b, uint64_t v);
void mp_write_int(struct buf *b, int64_t v);
void mp_write_str(struct buf *b, struct str s);
void mp_write_bin(struct buf *b, struct str s);
void mp_write_array(struct buf *b, size_t n);
