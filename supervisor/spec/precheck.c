/* SPDX-License-Identifier: MIT */
#include "supervisor/spec/precheck.h"
#include "proto/limits.h"

struct place {
    size_t line, column; /* from 1; columns count bytes */
};

static struct place place_of(struct str s, size_t offset)
{
    struct place at = {1, 1};
    for (size_t i = 0; i < offset; i++) {
        at.column++;
        if (s.p[i] == '\n')
            at = (struct place){at.line + 1, 1};
    }
    return at;
}

/* The offset of the bracket that opens one level too many, or s.len. Brackets inside strings do not count;
 * whether the text is JSON at all is the parser's question. */
static size_t too_deep(struct str s)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (in_string)
            continue;
        else if ((c == '{' || c == '[') && ++depth > LIMIT_SPEC_DEPTH)
            return i;
        else if ((c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return s.len;
}

bool precheck_document(struct str s, struct violations *out)
{
    if (s.len > LIMIT_SPEC) {
        violations_add(out, "document", "size", "must be at most %u bytes", LIMIT_SPEC);
        return false;
    }
    if (s.len == 0) {
        violations_add(out, "document", "not-empty", "must not be empty");
        return false;
    }
    const char *nul = memchr(s.p, 0, s.len);
    if (nul) {
        struct place at = place_of(s, (size_t)(nul - s.p));
        violations_add(out, "document", "nul", "line %zu, column %zu: must not contain NUL", at.line,
                       at.column);
        return false;
    }
    if (!str_utf8_valid(s.p, s.len)) {
        violations_add(out, "document", "utf-8", "must be UTF-8 text");
        return false;
    }
    size_t deep = too_deep(s);
    if (deep < s.len) {
        struct place at = place_of(s, deep);
        violations_add(out, "document", "depth", "line %zu, column %zu: nested deeper than %u levels",
                       at.line, at.column, LIMIT_SPEC_DEPTH);
        return false;
    }
    return true;
}
