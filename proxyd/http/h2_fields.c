/* SPDX-License-Identifier: MIT */
#include "proxyd/http/h2_fields.h"

#define FIELD_OVERHEAD 32u /* RFC 9113 section 6.5.2 */

int h2_fields_add(struct h2_fields *f, struct str name, struct str value, bool secret, size_t max)
{
    size_t size = name.len + value.len + FIELD_OVERHEAD;

    if (f->n >= H2_FIELDS_MAX || size > max - f->size)
        return -ENOBUFS;
    if (f->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 8;
        struct h2_field *list = reallocarray(f->list, cap, sizeof(*list));
        if (!list)
            return -ENOMEM;
        f->list = list;
        f->cap = cap;
    }
    f->text.max = max;
    struct h2_field *to = &f->list[f->n];
    *to = (struct h2_field){.name = (uint32_t)f->text.len, .name_len = (uint32_t)name.len, .secret = secret};
    buf_put_str(&f->text, name);
    to->value = (uint32_t)f->text.len;
    to->value_len = (uint32_t)value.len;
    buf_put_str(&f->text, value);
    if (f->text.err < 0)
        return f->text.err;
    f->n++;
    f->size += size;
    return 0;
}

void h2_fields_done(struct h2_fields *f)
{
    buf_done(&f->text);
    free(f->list);
    *f = (struct h2_fields){0};
}

struct str h2_field_name(const struct h2_fields *f, size_t i)
{
    return (struct str){(const char *)f->text.data + f->list[i].name, f->list[i].name_len};
}

struct str h2_field_value(const struct h2_fields *f, size_t i)
{
    return (struct str){(const char *)f->text.data + f->list[i].value, f->list[i].value_len};
}

size_t h2_fields_nv(const struct h2_fields *f, nghttp2_nv dst[H2_FIELDS_MAX])
{
    for (size_t i = 0; i < f->n; i++)
        dst[i] = (nghttp2_nv){
            .name = f->text.data + f->list[i].name,
            .namelen = f->list[i].name_len,
            .value = f->text.data + f->list[i].value,
            .valuelen = f->list[i].value_len,
            .flags = f->list[i].secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE,
        };
    return f->n;
}
