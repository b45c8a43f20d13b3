/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "common/base/nearest.h"
#include "proto/limits.h"
#include "supervisor/spec/doc.h"

#define QUOTE_MAX 80 /* bytes of a foreign text that a message repeats */

/* ---- where ---- */

static bool plain_key(const char *k)
{
    if (!*k)
        return false;
    for (; *k; k++)
        if (!((*k >= 'a' && *k <= 'z') || (*k >= 'A' && *k <= 'Z') || (*k >= '0' && *k <= '9') || *k == '_'))
            return false;
    return true;
}

static void append(char *dst, size_t cap, const char *s)
{
    size_t have = strlen(dst);
    if (have + 1 < cap)
        (void)snprintf(dst + have, cap - have, "%s", s);
}

static void path_step(const struct doc_at *at, char *dst, size_t cap)
{
    char quoted[QUOTE_MAX], step[QUOTE_MAX + 8];
    if (!at->key)
        (void)snprintf(step, sizeof(step), "[%zu]", at->index);
    else if (plain_key(at->key))
        (void)snprintf(step, sizeof(step), "%s%.*s", *dst ? "." : "", QUOTE_MAX, at->key);
    else
        (void)snprintf(step, sizeof(step), "[\"%s\"]",
                       str_escape(quoted, sizeof(quoted), at->key, strlen(at->key)));
    append(dst, cap, step);
}

const char *doc_path(const struct doc_at *at, char *dst, size_t cap)
{
    const struct doc_at *way[LIMIT_SPEC_DEPTH + 2];
    size_t n = 0;
    for (; at->up && n < ARRAY_LEN(way); at = at->up)
        way[n++] = at;
    dst[0] = '\0';
    if (n == 0)
        append(dst, cap, "document");
    while (n > 0)
        path_step(way[--n], dst, cap);
    return dst;
}

void doc_complain(struct doc *d, const struct doc_at *at, const char *rule, const char *fmt, ...)
{
    char path[VIOLATION_PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    violations_addv(d->out, doc_path(at, path, sizeof(path)), rule, fmt, ap);
    va_end(ap);
}

/* ---- what ---- */

const char *doc_type_name(const json_t *j)
{
    if (!j)
        return "nothing";
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "unknown";
}

static bool is_type(struct doc *d, const struct doc_at *at, bool yes, const char *wanted)
{
    if (!yes)
        doc_complain(d, at, "type", "must be %s, not %s", wanted, doc_type_name(at->json));
    return yes;
}

static void unknown_key(struct doc *d, const struct doc_at *at, const char *key, const struct doc_key *keys,
                        size_t n)
{
    const char *words[32];
    size_t nwords = n < ARRAY_LEN(words) ? n : ARRAY_LEN(words);
    for (size_t i = 0; i < nwords; i++)
        words[i] = keys[i].name;
    struct doc_at here = {.up = at, .key = key};
    const char *near = nearest_word(key, words, nwords);
    if (near)
        doc_complain(d, &here, "unknown-key", "unknown key, did you mean \"%s\"?", near);
    else
        doc_complain(d, &here, "unknown-key", "unknown key");
}

bool doc_object(struct doc *d, const struct doc_at *at, const struct doc_key *keys, size_t n)
{
    if (!is_type(d, at, json_is_object(at->json), "an object"))
        return false;
    const char *key;
    json_t *value;
    json_object_foreach(at->json, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < n && !known; i++)
            known = strcmp(key, keys[i].name) == 0;
        if (!known)
            unknown_key(d, at, key, keys, n);
    }
    for (size_t i = 0; i < n; i++) {
        struct doc_at member = {.up = at, .key = keys[i].name};
        if (keys[i].required && !json_object_get(at->json, keys[i].name))
            doc_complain(d, &member, "required", "is required");
    }
    return true;
}

bool doc_member(const struct doc_at *at, const char *key, struct doc_at *ret)
{
    *ret = (struct doc_at){.up = at, .key = key, .json = json_object_get(at->json, key)};
    return ret->json != NULL;
}

bool doc_array(struct doc *d, const struct doc_at *at, size_t min, size_t max, size_t *ret_n)
{
    if (!is_type(d, at, json_is_array(at->json), "an array"))
        return false;
    size_t n = json_array_size(at->json);
    if (n < min) {
        doc_complain(d, at, "not-empty", "must not be empty");
        return false;
    }
    if (n > max) {
        doc_complain(d, at, "too-many", "must have at most %zu entries, not %zu", max, n);
        return false;
    }
    *ret_n = n;
    return true;
}

struct doc_at doc_element(const struct doc_at *at, size_t i)
{
    return (struct doc_at){.up = at, .index = i, .json = json_array_get(at->json, i)};
}

bool doc_text(struct doc *d, const struct doc_at *at, size_t max, struct str *ret)
{
    if (!is_type(d, at, json_is_string(at->json), "a string"))
        return false;
    struct str s = {json_string_value(at->json), json_string_length(at->json)};
    if (s.len > max) {
        doc_complain(d, at, "length", "must be at most %zu bytes, not %zu", max, s.len);
        return false;
    }
    struct str copy = arena_copy(d->arena, s);
    if (!copy.p) {
        d->out->err = -ENOMEM;
        return false;
    }
    *ret = copy;
    return true;
}

bool doc_str(struct doc *d, const struct doc_at *at, size_t max, struct str *ret)
{
    struct str s;
    if (!doc_text(d, at, max, &s))
        return false;
    if (s.len == 0) {
        doc_complain(d, at, "not-empty", "must not be empty");
        return false;
    }
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f) {
            doc_complain(d, at, "character", "must not contain control characters");
            return false;
        }
    *ret = s;
    return true;
}

bool doc_uint(struct doc *d, const struct doc_at *at, uint64_t min, uint64_t max, uint64_t *ret)
{
    if (!is_type(d, at, json_is_integer(at->json), "an integer"))
        return false;
    json_int_t v = json_integer_value(at->json);
    if (v < 0 || (uint64_t)v < min || (uint64_t)v > max) {
        doc_complain(d, at, "range", "must be between %llu and %llu, not %lld", (unsigned long long)min,
                     (unsigned long long)max, (long long)v);
        return false;
    }
    *ret = (uint64_t)v;
    return true;
}

bool doc_bool(struct doc *d, const struct doc_at *at, bool *ret)
{
    if (!is_type(d, at, json_is_boolean(at->json), "a boolean"))
        return false;
    *ret = json_is_true(at->json);
    return true;
}

bool doc_enum(struct doc *d, const struct doc_at *at, const struct enum_names *e, uint32_t *ret)
{
    if (!is_type(d, at, json_is_string(at->json), "a string"))
        return false;
    struct str s = {json_string_value(at->json), json_string_length(at->json)};
    uint32_t v = enum_value(e, s);
    if (v != 0) {
        *ret = v;
        return true;
    }
    char list[256] = "", quoted[QUOTE_MAX];
    for (uint32_t i = 0; i < e->n; i++) {
        append(list, sizeof(list), i ? ", " : "");
        append(list, sizeof(list), e->names[i]);
    }
    doc_complain(d, at, "one-of", "must be one of %s, not \"%s\"", list,
                 str_escape(quoted, sizeof(quoted), s.p, s.len));
    return false;
}

void *doc_alloc(struct doc *d, size_t n, size_t size)
{
    void *p = arena_alloc(d->arena, n ? n * size : size);
    if (!p)
        d->out->err = -ENOMEM;
    return p;
}
