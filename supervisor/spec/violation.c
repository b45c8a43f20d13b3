/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "proto/limits.h"
#include "supervisor/spec/violation.h"

static char *copy_capped(const char *s, size_t max)
{
    size_t n = strlen(s);
    char *c = malloc(max);
    if (!c)
        return NULL;
    if (n < max)
        memcpy(c, s, n + 1);
    else
        (void)snprintf(c, max, "%.*s...", (int)(max - 4), s);
    return c;
}

void violations_addv(struct violations *l, const char *path, const char *rule, const char *fmt, va_list ap)
{
    if (l->n >= LIMIT_VIOLATIONS) {
        l->more = true;
        return;
    }
    if (!l->v) {
        l->v = calloc(LIMIT_VIOLATIONS, sizeof(*l->v));
        if (!l->v) {
            l->err = -ENOMEM;
            return;
        }
    }
    char message[VIOLATION_MESSAGE_MAX];
    (void)vsnprintf(message, sizeof(message), fmt, ap);
    struct violation v = {copy_capped(path, VIOLATION_PATH_MAX), rule,
                          copy_capped(message, VIOLATION_MESSAGE_MAX)};
    if (!v.path || !v.message) {
        free(v.path);
        free(v.message);
        l->err = -ENOMEM;
        return;
    }
    l->v[l->n++] = v;
}

void violations_add(struct violations *l, const char *path, const char *rule, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    violations_addv(l, path, rule, fmt, ap);
    va_end(ap);
}

void violations_print(const struct violations *l, struct buf *b)
{
    for (size_t i = 0; i < l->n; i++)
        buf_printf(b, "%s: %s\n", l->v[i].path, l->v[i].message);
    if (l->more)
        buf_printf(b, "document: more than %u violations; the rest is left out\n", LIMIT_VIOLATIONS);
}

void violations_done(struct violations *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].path);
        free(l->v[i].message);
    }
    free(l->v);
    *l = (struct violations){0};
}
