/* SPDX-License-Identifier: MIT */
#include "proto/limits.h"
#include "supervisor/spec/validate.h"

/* True when path is dir or below it; both absolute and normal. */
static bool below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static bool normal(const char *p)
{
    while (*p == '/') {
        const char *name = ++p;
        while (*p && *p != '/')
            p++;
        size_t n = (size_t)(p - name);
        if (n == 0 || (n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.'))
            return false;
    }
    return true;
}

bool validate_path(struct validate *v, const struct doc_at *at, struct str *ret)
{
    struct str s;
    if (!doc_str(&v->doc, at, LIMIT_PATH, &s))
        return false;
    if (s.p[0] != '/') {
        doc_complain(&v->doc, at, "absolute", "must be an absolute path");
        return false;
    }
    if (s.len > 1 && !normal(s.p)) {
        doc_complain(&v->doc, at, "normal-path",
                     "must not have an empty, \".\" or \"..\" component or end in \"/\"");
        return false;
    }
    *ret = s;
    return true;
}

bool validate_mount_path(struct validate *v, const struct doc_at *at, struct str *ret)
{
    static const char *const kernel[] = {"/proc", "/sys", "/dev"};
    struct str s;
    if (!validate_path(v, at, &s))
        return false;
    if (s.len == 1) {
        doc_complain(&v->doc, at, "whole-host", "must not be the whole file system");
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(kernel); i++)
        if (below(s.p, kernel[i])) {
            doc_complain(&v->doc, at, "private-path", "must not be in %s: a cell has its own", kernel[i]);
            return false;
        }
    for (size_t i = 0; v->op && i < v->op->npaths; i++)
        if (below(s.p, v->op->paths[i])) {
            doc_complain(&v->doc, at, "suite-path",
                         "must not be in a state or runtime directory of the suite");
            return false;
        }
    *ret = s;
    return true;
}
