/* SPDX-License-Identifier: MIT */
#include <sys/random.h>

#include "proto/limits.h"
#include "supervisor/spec/doc.h"
#include "supervisor/spec/load.h"
#include "supervisor/spec/precheck.h"

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

void document_unref(json_t **j)
{
    json_decref(*j);
}

int document_load(struct str bytes, json_t **ret, struct violations *out)
{
    json_error_t error;
    if (!precheck_document(bytes, out))
        return out->err ? out->err : DOCUMENT_INVALID;
    int r = seed_hashes();
    if (r < 0)
        return r;
    json_t *root = json_loadb(bytes.p, bytes.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (root) {
        *ret = root;
        return DOCUMENT_OK;
    }
    if (json_error_code(&error) == json_error_out_of_memory)
        return -ENOMEM;
    complain_syntax(&error, out);
    return out->err ? out->err : DOCUMENT_INVALID;
}
