/* SPDX-License-Identifier: MIT */
#include "proto/limits.h"
#include "supervisor/spec/validate.h"

static void path_list(struct validate *v, const struct doc_at *at, const struct strs *other, struct strs *ret)
{
    size_t n;
    if (!doc_array(&v->doc, at, 0, LIMIT_PATHS, &n))
        return;
    struct str *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i);
        if (!validate_mount_path(v, &e, &list[i]))
            continue;
        bool twice = false;
        for (size_t k = 0; k < i; k++)
            twice = twice || (list[k].p && str_eq(list[k], list[i]));
        for (size_t k = 0; k < other->n; k++)
            twice = twice || (other->v[k].p && str_eq(other->v[k], list[i]));
        if (twice)
            doc_complain(&v->doc, &e, "unique", "is listed twice");
    }
    *ret = (struct strs){list, n};
}

void validate_filesystem(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {{"root", false},
                                          {"readOnly", false},
                                          {"readWrite", false},
                                          {"hidden", false},
                                          {"tmpfsMaxBytes", false}};
    struct spec_filesystem *fs = &v->spec->fs;
    struct strs none = {NULL, 0}, hidden;
    struct doc_at f;
    struct str s;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "root", &f) && doc_str(&v->doc, &f, LIMIT_PATH, &s) && !str_is(s, "host") &&
        s.p[0] != '/')
        doc_complain(&v->doc, &f, "one-of", "must be \"host\" or an absolute path");
    if (doc_member(at, "readOnly", &f))
        path_list(v, &f, &none, &fs->read_only);
    if (doc_member(at, "readWrite", &f))
        path_list(v, &f, &fs->read_only, &fs->read_write);
    if (doc_member(at, "hidden", &f))
        path_list(v, &f, &none, &hidden);
    if (doc_member(at, "tmpfsMaxBytes", &f))
        doc_uint(&v->doc, &f, SPEC_TMPFS_MIN, LIMIT_TMPFS, &fs->tmpfs_max_bytes);
}
