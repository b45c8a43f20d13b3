/* SPDX-License-Identifier: MIT */
#include "proto/codec.h"

#include "common/base/io.h"
#include "common/evidence/digest.h"
#include "proto/limits.h"

static const char *member(const void *rec, const struct field *f)
{
    return (const char *)rec + f->offset;
}

/* ---- encode ---- */

static int encode_scalar(const struct field *f, const char *m, struct buf *b)
{
    if (f->kind == FIELD_UINT) {
        const struct opt_uint *o = (const void *)m;
        uint64_t v = f->optional ? o->v : *(const uint64_t *)(const void *)m;
        if (f->optional && !o->set)
            mp_write_nil(b);
        else if (v > f->max)
            return -EINVAL;
        else
            mp_write_uint(b, v);
    } else if (f->kind == FIELD_INT) {
        const struct opt_int *o = (const void *)m;
        int64_t v = f->optional ? o->v : *(const int64_t *)(const void *)m;
        if (f->optional && !o->set)
            mp_write_nil(b);
        else if ((v < 0 ? 0 - (uint64_t)v : (uint64_t)v) > f->max)
            return -EINVAL;
        else
            mp_write_int(b, v);
    } else if (f->kind == FIELD_BOOL) {
        const struct opt_bool *o = (const void *)m;
        if (f->optional && !o->set)
            mp_write_nil(b);
        else
            mp_write_bool(b, f->optional ? o->v : *(const bool *)m);
    } else {
        uint32_t v = *(const uint32_t *)(const void *)m;
        if (v == 0 && f->optional)
            mp_write_nil(b);
        else if (v == 0 || v > f->names->n)
            return -EINVAL;
        else
            mp_write_uint(b, v);
    }
    return 0;
}

static int encode_bytes(const struct field *f, const struct str *s, struct buf *b)
{
    if (!s->p && f->optional) {
        mp_write_nil(b);
        return 0;
    }
    if (s->len > f->max || (!s->p && s->len > 0))
        return -EINVAL;
    if (f->kind == FIELD_BIN) {
        mp_write_bin(b, *s);
        return 0;
    }
    if (!str_utf8_valid(s->p ? s->p : "", s->len))
        return -EINVAL;
    mp_write_str(b, *s);
    return 0;
}

static int encode_strs(const struct field *f, const struct strs *l, struct buf *b)
{
    if (!l->v && f->optional) {
        mp_write_nil(b);
        return 0;
    }
    if (l->n > f->max || (!l->v && l->n > 0))
        return -EINVAL;
    mp_write_array(b, l->n);
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].len > f->entry_max || (!l->v[i].p && l->v[i].len > 0) ||
            !str_utf8_valid(l->v[i].p ? l->v[i].p : "", l->v[i].len))
            return -EINVAL;
        mp_write_str(b, l->v[i]);
    }
    return 0;
}

static int encode_list(const struct field *f, const struct schema_list *l, struct buf *b)
{
    if (!l->v && f->optional) {
        mp_write_nil(b);
        return 0;
    }
    if (l->n > f->max || (!l->v && l->n > 0))
        return -EINVAL;
    mp_write_array(b, l->n);
    for (size_t i = 0; i < l->n; i++) {
        int r = codec_encode(f->sub, (const char *)l->v + i * f->sub->size, b);
        if (r < 0)
            return r;
    }
    return 0;
}

static int encode_obj(const struct field *f, const void *obj, struct buf *b)
{
    if (obj)
        return codec_encode(f->sub, obj, b);
    if (!f->optional)
        return -EINVAL;
    mp_write_nil(b);
    return 0;
}

static int encode_field(const struct field *f, const char *m, struct buf *b)
{
    switch (f->kind) {
    case FIELD_STR:
    case FIELD_BIN:
        return encode_bytes(f, (const struct str *)(const void *)m, b);
    case FIELD_STRS:
        return encode_strs(f, (const struct strs *)(const void *)m, b);
    case FIELD_LIST:
        return encode_list(f, (const struct schema_list *)(const void *)m, b);
    case FIELD_OBJ:
        return encode_obj(f, *(const void *const *)(const void *)m, b);
    case FIELD_UINT:
    case FIELD_INT:
    case FIELD_BOOL:
    case FIELD_ENUM:
        break;
    }
    return encode_scalar(f, m, b);
}

int codec_encode(const struct schema *s, const void *rec, struct buf *b)
{
    mp_write_array(b, s->n);
    return codec_encode_fields(s, rec, b);
}

int codec_encode_fields(const struct schema *s, const void *rec, struct buf *b)
{
    for (size_t i = 0; i < s->n; i++) {
        int r = encode_field(&s->fields[i], member(rec, &s->fields[i]), b);
        if (r < 0)
            return r;
    }
    return b->err;
}

/* ---- decode ---- */

static int decode_scalar(const struct field *f, const struct mp_token *t, char *m)
{
    if (f->kind == FIELD_UINT) {
        if (t->kind != MP_UINT || t->u > f->max)
            return -EBADMSG;
        if (f->optional)
            *(struct opt_uint *)(void *)m = OPT_UINT(t->u);
        else
            *(uint64_t *)(void *)m = t->u;
    } else if (f->kind == FIELD_INT) {
        if (t->kind != MP_INT && (t->kind != MP_UINT || t->u > INT64_MAX))
            return -EBADMSG;
        int64_t v = t->kind == MP_INT ? t->i : (int64_t)t->u;
        if ((v < 0 ? 0 - (uint64_t)v : (uint64_t)v) > f->max)
            return -EBADMSG;
        if (f->optional)
            *(struct opt_int *)(void *)m = OPT_INT(v);
        else
            *(int64_t *)(void *)m = v;
    } else if (f->kind == FIELD_BOOL) {
        if (t->kind != MP_BOOL)
            return -EBADMSG;
        if (f->optional)
            *(struct opt_bool *)(void *)m = OPT_BOOL(t->u != 0);
        else
            *(bool *)m = t->u != 0;
    } else {
        if (t->kind != MP_UINT || t->u == 0 || t->u > f->names->n)
            return -EBADMSG;
        *(uint32_t *)(void *)m = (uint32_t)t->u;
    }
    return 0;
}

static int decode_bytes(const struct field *f, const struct mp_token *t, struct str *m)
{
    if (t->kind != (f->kind == FIELD_STR ? MP_STR : MP_BIN) || t->bytes.len > f->max)
        return -EBADMSG;
    *m = t->bytes;
    return 0;
}

static int decode_strs(const struct field *f, const struct mp_token *t, struct cursor *c, struct arena *a,
                       struct strs *m)
{
    struct str *v = arena_alloc(a, (size_t)t->u * sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < t->u; i++) {
        struct mp_token e;
        if (mp_read(c, &e) < 0 || e.kind != MP_STR || e.bytes.len > f->entry_max)
            return -EBADMSG;
        v[i] = e.bytes;
    }
    *m = (struct strs){v, (size_t)t->u};
    return 0;
}

static int decode_list(const struct field *f, const struct mp_token *t, struct cursor *c, unsigned depth,
                       struct arena *a, struct schema_list *m)
{
    char *v = arena_alloc(a, (size_t)t->u * f->sub->size);
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < t->u; i++) {
        int r = codec_decode(f->sub, c, depth, a, v + i * f->sub->size);
        if (r < 0)
            return r;
    }
    *m = (struct schema_list){v, (size_t)t->u};
    return 0;
}

static int decode_obj(const struct field *f, struct cursor *c, unsigned depth, struct arena *a,
                      const void **m)
{
    void *v = arena_alloc(a, f->sub->size);
    if (!v)
        return -ENOMEM;
    int r = codec_decode(f->sub, c, depth, a, v);
    if (r < 0)
        return r;
    *m = v;
    return 0;
}

static int decode_field(const struct field *f, struct cursor *c, unsigned depth, struct arena *a, char *m)
{
    struct cursor before = *c;
    struct mp_token t;
    if (mp_read(c, &t) < 0)
        return -EBADMSG;
    if (t.kind == MP_NIL)
        return f->optional ? 0 : -EBADMSG; /* the record is zeroed: zero is "absent" for every kind */
    if (f->kind == FIELD_STR || f->kind == FIELD_BIN)
        return decode_bytes(f, &t, (struct str *)(void *)m);
    if (f->kind != FIELD_STRS && f->kind != FIELD_LIST && f->kind != FIELD_OBJ)
        return decode_scalar(f, &t, m);
    if (t.kind != MP_ARRAY || depth >= LIMIT_DEPTH)
        return -EBADMSG;
    if (f->kind == FIELD_OBJ) { /* codec_decode reads the array head itself */
        *c = before;
        return decode_obj(f, c, depth, a, (const void **)(void *)m);
    }
    if (t.u > f->max) /* before the allocation; mp_read has held the count against the bytes left */
        return -EBADMSG;
    if (f->kind == FIELD_STRS)
        return decode_strs(f, &t, c, a, (struct strs *)(void *)m);
    return decode_list(f, &t, c, depth + 1, a, (struct schema_list *)(void *)m);
}

int codec_decode(const struct schema *s, struct cursor *c, unsigned depth, struct arena *a, void *ret)
{
    struct mp_token t;
    if (depth >= LIMIT_DEPTH || mp_read(c, &t) < 0 || t.kind != MP_ARRAY || t.u != s->n)
        return -EBADMSG;
    return codec_decode_fields(s, c, depth + 1, a, ret);
}

int codec_decode_fields(const struct schema *s, struct cursor *c, unsigned depth, struct arena *a, void *ret)
{
    memset(ret, 0, s->size);
    for (size_t i = 0; i < s->n; i++) {
        int r = decode_field(&s->fields[i], c, depth, a, (char *)ret + s->fields[i].offset);
        if (r < 0)
            return r;
    }
    return 0;
}

int codec_decode_all(const struct schema *s, struct str bytes, struct arena *a, void *ret)
{
    struct cursor c = cursor_of(bytes.p, bytes.len);
    int r = codec_decode(s, &c, 0, a, ret);
    if (r < 0)
        return r;
    return cursor_left(&c) == 0 ? 0 : -EBADMSG;
}

/* ---- documents ---- */

int codec_to_memfd(const struct schema *s, const void *rec, size_t max, uint8_t ret_sha256[32])
{
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, max);
    int r = codec_encode(s, rec, &b);
    if (r < 0)
        return r;
    int fd = io_memfd_sealed(s->name, b.data, b.len);
    if (fd >= 0)
        digest_sha256(b.data, b.len, ret_sha256);
    return fd;
}

int codec_from_memfd(const struct schema *s, int fd, size_t max, struct str sha256, struct buf *b,
                     struct arena *a, void *ret)
{
    uint8_t digest[32];
    int r = io_memfd_read(fd, max, b);
    if (r < 0)
        return r;
    digest_sha256(b->data, b->len, digest);
    if (sha256.len != sizeof(digest) || memcmp(digest, sha256.p, sizeof(digest)) != 0)
        return -EBADMSG;
    return codec_decode_all(s, buf_str(b), a, ret);
}
