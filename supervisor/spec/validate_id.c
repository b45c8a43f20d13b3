/* SPDX-License-Identifier: MIT */
#include "supervisor/spec/validate.h"

static bool alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool well_formed(struct str s, const char *extra)
{
    if (!alnum(s.p[0]))
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (!alnum(s.p[i]) && !strchr(extra, s.p[i]))
            return false;
    return true;
}

bool validate_id(struct validate *v, const struct doc_at *at, size_t max, const char *extra, struct str *ret)
{
    struct str s;
    if (!doc_str(&v->doc, at, max, &s))
        return false;
    if (!well_formed(s, extra)) {
        doc_complain(&v->doc, at, "pattern", "must match [A-Za-z0-9][A-Za-z0-9%s]{0,%zu}", extra, max - 1);
        return false;
    }
    if (strstr(s.p, "..")) {
        doc_complain(&v->doc, at, "pattern", "must not contain \"..\"");
        return false;
    }
    *ret = s;
    return true;
}
