/* SPDX-License-Identifier: MIT */
/* What the vocabulary specifies and this version does not build (decisions 35): parsed, checked, and refused,
 * never ignored. One row each; the change that builds a thing removes its row. */
#include <stdio.h>

#include "supervisor/spec/validate.h"

enum when {
    WHEN_PRESENT,   /* the key is there, as an object */
    WHEN_NOT_EMPTY, /* an array with entries */
    WHEN_IN,        /* a string that is one of words */
    WHEN_PATH,      /* a string that is a path, where another word is built */
};

struct row {
    const char *path; /* below the document; "[]" after a key: every element */
    enum when when;
    const char *const *words;
    size_t nwords;
};

#define WORDS(...)                                                                                           \
    (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)
#define NO_WORDS NULL, 0

static const struct row rows[] = {
    {"spec.export.artifacts", WHEN_NOT_EMPTY, NO_WORDS},
    {"spec.identity", WHEN_PRESENT, NO_WORDS},
    {"spec.policy", WHEN_PRESENT, NO_WORDS},
    {"spec.authority.authorityDerivation", WHEN_PRESENT, NO_WORDS},
    {"spec.authority.filesystem.root", WHEN_PATH, NO_WORDS},
    {"spec.authority.filesystem.hidden", WHEN_NOT_EMPTY, NO_WORDS},
    {"spec.run.secretDelivery", WHEN_IN, WORDS("runtimeBroker", "runtimeLeasedBroker")},
    {"spec.run.backend", WHEN_IN, WORDS("gvisor", "microvm")},
    {"spec.run.seccomp", WHEN_PATH, NO_WORDS},
};

static bool applies(const struct row *r, const json_t *j)
{
    bool listed = false;
    switch (r->when) {
    case WHEN_PRESENT:
        return json_is_object(j);
    case WHEN_NOT_EMPTY:
        return json_array_size(j) > 0;
    case WHEN_PATH:
        return json_is_string(j) && json_string_value(j)[0] == '/';
    case WHEN_IN:
        for (size_t i = 0; i < r->nwords; i++)
            listed = listed || (json_is_string(j) && strcmp(json_string_value(j), r->words[i]) == 0);
        return listed;
    }
    return false;
}

/* Follows the rest of a row's path from at; the depth is that of the table. */
static void walk(struct validate *v, const struct row *r, const char *rest, const struct doc_at *at)
{
    char key[64];
    if (*rest == '\0') {
        if (applies(r, at->json))
            doc_complain(&v->doc, at, "unsupported", "not supported by this version");
        return;
    }
    if (strncmp(rest, "[]", 2) == 0) {
        const char *after = rest[2] == '.' ? rest + 3 : rest + 2;
        for (size_t i = 0; i < json_array_size(at->json); i++) {
            struct doc_at e = doc_element(at, i);
            walk(v, r, after, &e);
        }
        return;
    }
    size_t n = strcspn(rest, ".[");
    struct doc_at member;
    (void)snprintf(key, sizeof(key), "%.*s", (int)n, rest);
    if (json_is_object(at->json) && doc_member(at, key, &member))
        walk(v, r, rest[n] == '.' ? rest + n + 1 : rest + n, &member);
}

void validate_unsupported(struct validate *v, const struct doc_at *root)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        walk(v, &rows[i], rows[i].path, root);
}
