/* SPDX-License-Identifier: MIT */
#include "proto/limits.h"
#include "supervisor/spec/validate.h"

#define EXPORTS_MAX 64u

/* ---- export: checked here, refused by unsupported.c ---- */

static const char *artifact_name_fault(struct str s)
{
    if (s.p[0] == '~')
        return "must not begin with \"~\"";
    if (memchr(s.p, '/', s.len) || memchr(s.p, '\\', s.len))
        return "must not contain a path separator";
    if (strstr(s.p, ".."))
        return "must not contain \"..\"";
    return NULL;
}

static void artifact(struct validate *v, const struct doc_at *at, struct str *names, size_t *nnames)
{
    static const struct doc_key keys[] = {{"name", true}, {"path", true}, {"target", false}};
    struct doc_at f;
    struct str s;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "name", &f) && doc_str(&v->doc, &f, LIMIT_LABEL, &s)) {
        const char *fault = artifact_name_fault(s);
        if (fault)
            doc_complain(&v->doc, &f, "pattern", "%s", fault);
        for (size_t i = 0; i < *nnames; i++)
            if (str_eq(names[i], s))
                doc_complain(&v->doc, &f, "unique", "must be unique");
        names[(*nnames)++] = s;
    }
    if (doc_member(at, "path", &f))
        doc_str(&v->doc, &f, LIMIT_PATH, &s);
    if (doc_member(at, "target", &f))
        doc_str(&v->doc, &f, LIMIT_LABEL, &s);
}

void validate_export(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {{"artifacts", true}};
    struct str names[EXPORTS_MAX];
    struct doc_at f;
    size_t n, nnames = 0;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (!doc_member(at, "artifacts", &f) || !doc_array(&v->doc, &f, 0, EXPORTS_MAX, &n))
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(&f, i);
        artifact(v, &e, names, &nnames);
    }
}

/* ---- placement ---- */

static void namespace_name(struct validate *v, const struct doc_at *at, struct str *ret)
{
    struct str s;
    if (!doc_str(&v->doc, at, 63, &s))
        return;
    bool good = s.p[0] != '-' && s.p[s.len - 1] != '-';
    for (size_t i = 0; i < s.len; i++)
        good =
            good && ((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-');
    if (good)
        *ret = s;
    else
        doc_complain(&v->doc, at, "pattern",
                     "must be 1-63 characters of [a-z0-9-], the first and the last alphanumeric");
}

void validate_placement(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {
        {"poolId", false}, {"kubernetesNamespace", false}, {"queueName", false}};
    struct doc_at f;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    struct ev_placement *p = doc_alloc(&v->doc, 1, sizeof(*p));
    if (!p)
        return;
    if (doc_member(at, "poolId", &f))
        doc_str(&v->doc, &f, LIMIT_LABEL, &p->pool_id);
    if (doc_member(at, "kubernetesNamespace", &f))
        namespace_name(v, &f, &p->kubernetes_namespace);
    if (doc_member(at, "queueName", &f))
        doc_str(&v->doc, &f, LIMIT_LABEL, &p->queue_name);
    v->spec->placement = p;
}

/* ---- correlation ---- */

static void label(struct validate *v, const struct doc_at *at, struct ev_label *l)
{
    struct str key = {at->key, strlen(at->key)};
    if (key.len == 0 || key.len > LIMIT_LABEL) {
        doc_complain(&v->doc, at, "length", "the label's name must be 1 to %u bytes", LIMIT_LABEL);
        return;
    }
    if (!doc_str(&v->doc, at, LIMIT_LABEL, &l->value))
        return;
    l->key = arena_copy(v->doc.arena, key);
    if (!l->key.p)
        v->doc.out->err = -ENOMEM;
}

static void labels(struct validate *v, const struct doc_at *at, struct ev_correlation *c)
{
    if (!json_is_object(at->json)) {
        doc_complain(&v->doc, at, "type", "must be an object, not %s", doc_type_name(at->json));
        return;
    }
    size_t n = json_object_size(at->json), i = 0;
    if (n > LIMIT_LABELS) {
        doc_complain(&v->doc, at, "too-many", "must have at most %u entries, not %zu", LIMIT_LABELS, n);
        return;
    }
    struct ev_label *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    const char *key;
    json_t *value;
    json_object_foreach(at->json, key, value)
    {
        struct doc_at e = {.up = at, .key = key, .json = value};
        label(v, &e, &list[i++]);
    }
    c->labels.v = list;
    c->labels.n = n;
}

static void tenant(struct validate *v, const struct doc_at *at, struct str *ret)
{
    struct str s;
    if (!doc_str(&v->doc, at, LIMIT_LABEL, &s))
        return;
    if (strpbrk(s.p, " .*>"))
        doc_complain(&v->doc, at, "pattern", "must not contain a space, \".\", \"*\" or \">\"");
    else
        *ret = s;
}

void validate_correlation(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {{"platform", false},      {"externalRunId", false},
                                          {"externalJobId", false}, {"tenantId", false},
                                          {"correlationId", false}, {"labels", false}};
    struct doc_at f;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    struct ev_correlation *c = doc_alloc(&v->doc, 1, sizeof(*c));
    if (!c)
        return;
    const struct {
        const char *name;
        struct str *to;
    } rows[] = {{"platform", &c->platform},
                {"externalRunId", &c->external_run_id},
                {"externalJobId", &c->external_job_id},
                {"correlationId", &c->correlation_id}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (doc_member(at, rows[i].name, &f))
            doc_str(&v->doc, &f, LIMIT_LABEL, rows[i].to);
    if (doc_member(at, "tenantId", &f))
        tenant(v, &f, &c->tenant_id);
    if (doc_member(at, "labels", &f))
        labels(v, &f, c);
    v->spec->correlation = c;
}
