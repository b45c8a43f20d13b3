/* SPDX-License-Identifier: MIT */
#include "supervisor/spec/validate.h"
#include "proto/limits.h"

static void constant(struct validate *v, const struct doc_at *at, const char *wanted)
{
    struct str s;
    if (doc_str(&v->doc, at, LIMIT_LABEL, &s) && !str_is(s, wanted))
        doc_complain(&v->doc, at, "constant", "must be \"%s\"", wanted);
}

static void lifetime(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {{"ttlSeconds", true}};
    struct doc_at f;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "ttlSeconds", &f))
        doc_uint(&v->doc, &f, 1, LIMIT_TTL_S, &v->spec->ttl_s);
}

/* Refused as a whole by unsupported.c; kept here so that a wrong type is named as such. */
static void identity(struct validate *v, const struct doc_at *at)
{
    struct doc_at f;
    struct str s;
    if (!json_is_object(at->json)) {
        doc_complain(&v->doc, at, "type", "must be an object, not %s", doc_type_name(at->json));
        return;
    }
    if (!doc_member(at, "kind", &f))
        doc_complain(&v->doc, &f, "required", "is required");
    else
        doc_str(&v->doc, &f, LIMIT_LABEL, &s);
    if (doc_member(at, "audience", &f))
        doc_str(&v->doc, &f, LIMIT_LABEL, &s);
}

static void policy(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {{"packId", true}, {"packVersion", true}};
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct doc_at f;
        struct str s;
        if (doc_member(at, keys[i].name, &f))
            doc_str(&v->doc, &f, LIMIT_LABEL, &s);
    }
}

static void spec_members(struct validate *v, const struct doc_at *at)
{
    static const struct {
        const char *name;
        void (*validate)(struct validate *v, const struct doc_at *at);
    } rows[] = {
        {"lifetime", lifetime},
        {"authority", validate_authority},
        {"run", validate_run},
        {"export", validate_export},
        {"identity", identity},
        {"policy", policy},
        {"placement", validate_placement},
        {"correlation", validate_correlation},
    };
    struct doc_at f;
    if (doc_member(at, "id", &f))
        validate_id(v, &f, LIMIT_CELL_ID, "._-", &v->spec->id);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (doc_member(at, rows[i].name, &f))
            rows[i].validate(v, &f);
}

void validate_document(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key top[] = {{"apiVersion", true}, {"kind", true}, {"spec", true}};
    static const struct doc_key keys[] = {
        {"id", true},      {"authority", true},  {"lifetime", true},
        {"run", false},    {"export", false},    {"identity", false},
        {"policy", false}, {"placement", false}, {"correlation", false},
    };
    struct doc_at f;
    if (!doc_object(&v->doc, at, top, ARRAY_LEN(top)))
        return;
    if (doc_member(at, "apiVersion", &f))
        constant(v, &f, SPEC_API_VERSION);
    if (doc_member(at, "kind", &f))
        constant(v, &f, SPEC_KIND);
    if (doc_member(at, "spec", &f) && doc_object(&v->doc, &f, keys, ARRAY_LEN(keys)))
        spec_members(v, &f);
}
