/* SPDX-License-Identifier: MIT */
#include <sys/random.h>

#include "proto/limits.h"
#include "supervisor/spec/parse.h"
#include "supervisor/spec/precheck.h"
#include "supervisor/spec/validate.h"

static void decrefp(json_t **j)
{
    json_decref(*j);
}

/* Left alone, the library would open /dev/urandom at its first object, which a confined process cannot. A
 * seed that an author cannot guess keeps crafted keys from colliding. */
static int seed_hashes(void)
{
    static bool done;
    size_t seed = 0;
    if (done)
        return 0;
    while (seed == 0)
        if (getrandom(&seed, sizeof(seed), 0) < 0)
            return -errno;
    json_object_seed(seed);
    done = true;
    return 0;
}

static const char *syntax_text(const json_error_t *e)
{
    switch (json_error_code(e)) {
    case json_error_duplicate_key:
        return "an object has the same key twice";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a string must not contain NUL";
    case json_error_end_of_input_expected:
        return "more text follows the document";
    case json_error_numeric_overflow:
        return "a number is too large (integers have 64 bits)";
    case json_error_stack_overflow:
        return "nested too deep";
    default:
        return NULL;
    }
}

/* Ours, or else the library's own text ("'}' expected near ..."); what it repeats of the document is escaped.
 */
static void complain_syntax(const json_error_t *e, struct violations *out)
{
    char text[2 * JSON_ERROR_TEXT_LENGTH];
    const char *ours = syntax_text(e), *near = strstr(e->text, " near ");
    if (ours)
        (void)str_escape(text, sizeof(text), near ? near : "", near ? strlen(near) : 0);
    else
        (void)str_escape(text, sizeof(text), e->text, strlen(e->text));
    violations_add(out, "document", "syntax", "line %d, column %d: %s%s", e->line, e->column,
                   ours ? ours : "", text);
}

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

int spec_parse(struct str bytes, const struct spec_forbidden *forbidden, struct spec **ret,
               struct violations *out)
{
    if (!precheck_document(bytes, out))
        return out->err ? out->err : SPEC_INVALID;
    int r = seed_hashes();
    if (r < 0)
        return r;
    json_error_t error;
    _cleanup_(decrefp) json_t *root =
        json_loadb(bytes.p, bytes.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!root) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return -ENOMEM;
        complain_syntax(&error, out);
        return out->err ? out->err : SPEC_INVALID;
    }
    _cleanup_(spec_freep) struct spec *s = NULL;
    r = new_spec(&s);
    if (r < 0)
        return r;
    struct validate v = {.doc = {&s->arena, out}, .forbidden = forbidden, .spec = s};
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
