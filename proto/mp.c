/* SPDX-License-Identifier: MIT */
#include "proto/mp.h"

#include <msgpack.h>

/* Unsigned big-endian of 1, 2, 4 or 8 bytes; smaller than `least` means a shorter encoding existed. */
static int read_be(struct cursor *c, unsigned width, uint64_t least, uint64_t *ret)
{
    const uint8_t *p;
    if (cursor_bytes(c, width, &p) < 0)
        return -EBADMSG;
    uint64_t v = 0;
    for (unsigned i = 0; i < width; i++)
        v = v << 8 | p[i];
    if (v < least)
        return -EBADMSG;
    *ret = v;
    return 0;
}

static int read_bytes(struct cursor *c, enum mp_kind kind, uint64_t n, struct mp_token *t)
{
    const uint8_t *p;
    if (n > cursor_left(c) || cursor_bytes(c, (size_t)n, &p) < 0)
        return -EBADMSG;
    t->kind = kind;
    t->bytes = (struct str){(const char *)p, (size_t)n};
    if (kind == MP_STR && !str_utf8_valid(t->bytes.p, t->bytes.len))
        return -EBADMSG;
    return 0;
}

static int read_array(struct cursor *c, uint64_t n, struct mp_token *t)
{
    if (n > cursor_left(c)) /* every element takes at least one byte */
        return -EBADMSG;
    t->kind = MP_ARRAY;
    t->u = n;
    return 0;
}

/* Negative integers: two's complement of the given width, above = the greatest value that needs this width.
 */
static int read_negative(struct cursor *c, unsigned width, int64_t above, struct mp_token *t)
{
    uint64_t u;
    if (read_be(c, width, 0, &u) < 0)
        return -EBADMSG;
    unsigned shift = 64 - 8 * width;
    int64_t v = (int64_t)(u << shift) >> shift;
    if (v > above)
        return -EBADMSG;
    t->kind = MP_INT;
    t->i = v;
    return 0;
}

static int read_uint(struct cursor *c, unsigned width, uint64_t least, struct mp_token *t)
{
    t->kind = MP_UINT;
    return read_be(c, width, least, &t->u);
}

static int read_long(struct cursor *c, uint8_t tag, struct mp_token *t)
{
    uint64_t n;
    switch (tag) {
    case 0xc0:
        t->kind = MP_NIL;
        return 0;
    case 0xc2:
    case 0xc3:
        t->kind = MP_BOOL;
        t->u = tag & 1u;
        return 0;
    case 0xc4: /* bin 8: has no shorter form */
        return read_be(c, 1, 0, &n) < 0 ? -EBADMSG : read_bytes(c, MP_BIN, n, t);
    case 0xc5:
        return read_be(c, 2, 0x100, &n) < 0 ? -EBADMSG : read_bytes(c, MP_BIN, n, t);
    case 0xc6:
        return read_be(c, 4, 0x10000, &n) < 0 ? -EBADMSG : read_bytes(c, MP_BIN, n, t);
    case 0xcc:
        return read_uint(c, 1, 0x80, t);
    case 0xcd:
        return read_uint(c, 2, 0x100, t);
    case 0xce:
        return read_uint(c, 4, 0x10000, t);
    case 0xcf:
        return read_uint(c, 8, 0x100000000, t);
    case 0xd0:
        return read_negative(c, 1, -33, t);
    case 0xd1:
        return read_negative(c, 2, -129, t);
    case 0xd2:
        return read_negative(c, 4, -32769, t);
    case 0xd3:
        return read_negative(c, 8, -2147483649LL, t);
    case 0xd9:
        return read_be(c, 1, 0x20, &n) < 0 ? -EBADMSG : read_bytes(c, MP_STR, n, t);
    case 0xda:
        return read_be(c, 2, 0x100, &n) < 0 ? -EBADMSG : read_bytes(c, MP_STR, n, t);
    case 0xdb:
        return read_be(c, 4, 0x10000, &n) < 0 ? -EBADMSG : read_bytes(c, MP_STR, n, t);
    case 0xdc:
        return read_be(c, 2, 0x10, &n) < 0 ? -EBADMSG : read_array(c, n, t);
    case 0xdd:
        return read_be(c, 4, 0x10000, &n) < 0 ? -EBADMSG : read_array(c, n, t);
    default: /* maps, floats, extension types */
        return -EBADMSG;
    }
}

static int read_token(struct cursor *c, struct mp_token *t)
{
    uint8_t tag;
    if (cursor_u8(c, &tag) < 0)
        return -EBADMSG;
    if (tag <= 0x7f) {
        t->kind = MP_UINT;
        t->u = tag;
        return 0;
    }
    if (tag >= 0xe0) {
        t->kind = MP_INT;
        t->i = (int64_t)tag - 0x100;
        return 0;
    }
    if (tag >= 0x90 && tag <= 0x9f)
        return read_array(c, tag & 0x0fu, t);
    if (tag >= 0xa0 && tag <= 0xbf)
        return read_bytes(c, MP_STR, tag & 0x1fu, t);
    return read_long(c, tag, t);
}

int mp_read(struct cursor *c, struct mp_token *ret)
{
    struct cursor at = *c;
    struct mp_token t = {0};
    if (read_token(&at, &t) < 0)
        return -EBADMSG;
    *c = at;
    *ret = t;
    return 0;
}

static int to_buf(void *data, const char *p, size_t n)
{
    struct buf *b = data;
    buf_put(b, p, n);
    return b->err;
}

static msgpack_packer packer(struct buf *b)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, b, to_buf);
    return pk;
}

void mp_write_nil(struct buf *b)
{
    msgpack_packer pk = packer(b);
    (void)msgpack_pack_nil(&pk); /* buf keeps the error */
}

void mp_write_bool(struct buf *b, bool v)
{
    msgpack_packer pk = packer(b);
    (void)(v ? msgpack_pack_true(&pk) : msgpack_pack_false(&pk));
}

void mp_write_uint(struct buf *b, uint64_t v)
{
    msgpack_packer pk = packer(b);
    (void)msgpack_pack_uint64(&pk, v);
}

void mp_write_int(struct buf *b, int64_t v)
{
    msgpack_packer pk = packer(b);
    (void)msgpack_pack_int64(&pk, v);
}

void mp_write_str(struct buf *b, struct str s)
{
    msgpack_packer pk = packer(b);
    (void)msgpack_pack_str(&pk, s.len);
    (void)msgpack_pack_str_body(&pk, s.p ? s.p : "", s.len);
}

void mp_write_bin(struct buf *b, struct str s)
{
    msgpack_packer pk = packer(b);
    (void)msgpack_pack_bin(&pk, s.len);
    (void)msgpack_pack_bin_body(&pk, s.p ? s.p : "", s.len);
}

void mp_write_array(struct buf *b, size_t n)
{
    msgpack_packer pk = packer(b);
    (void)msgpack_pack_array(&pk, n);
}
