/* SPDX-License-Identifier: MIT */
#include "supervisor/spec/parse.h"
#include "proto/limits.h"
#include "supervisor/spec/load.h"
#include "supervisor/spec/rule_words.h"
#include "supervisor/spec/validate.h"

static int new_spec(struct spec **ret)
{
    struct spec *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    arena_init(&s->arena, SPEC_ARENA);
    s->fs.tmpfs_max_bytes = LIMIT_TMPFS;
    *ret = s;
    return 0;
}

int spec_parse(struct str bytes, const struct spec_operator *op, struct spec **ret, struct violations *out)
{
    _cleanup_(document_unref) json_t *root = NULL;
    int r = document_load(bytes, &root, out);
    if (r != DOCUMENT_OK)
        return r < 0 ? r : SPEC_INVALID;
    _cleanup_(spec_freep) struct spec *s = NULL;
    r = new_spec(&s);
    if (r < 0)
        return r;
    struct validate v = {.doc = {&s->arena, out}, .op = op, .spec = s};
    struct doc_at at = {.json = root};
    validate_document(&v, &at);
    validate_unsupported(&v, &at);
    if (out->err)
        return out->err;
    if (out->n)
        return SPEC_INVALID;
    *ret = TAKE_PTR(s);
    return SPEC_OK;
}

int spec_parse_rule(struct str words, const struct spec_operator *op, struct arena *a,
                    struct spec_egress *ret, struct violations *out)
{
    _cleanup_(document_unref) json_t *json = NULL;
    char why[RULE_WORDS_WHY_MAX];
    struct spec_egress rule = {0};
    int r = rule_words_json(words, &json, why);
    if (r == RULE_WORDS_BAD)
        violations_add(out, "rule", "words", "%s", why);
    if (r != RULE_WORDS_OK)
        return r < 0 ? r : SPEC_INVALID;
    struct validate v = {.doc = {a, out}, .op = op};
    struct doc_at top = {0}, at = {.up = &top, .key = "rule", .json = json};
    validate_egress_rule(&v, &at, &rule);
    if (out->err)
        return out->err;
    if (out->n)
        return SPEC_INVALID;
    *ret = rule;
    return SPEC_OK;
}
