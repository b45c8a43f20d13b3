/* SPDX-License-Identifier: MIT */
/* What is wrong with a document: where (JSON path), which rule, and one clause for people. Printed as "path:
 * message". */
#pragma once

#include <stdarg.h>

#include "common/base/buf.h"

#define VIOLATION_PATH_MAX    257u /* bytes with NUL (the event takes 256); a longer path is cut with "..." */
#define VIOLATION_MESSAGE_MAX 513u

struct violation {
    char *path;       /* "spec.run.argv[0]", or "document"; printable ASCII or UTF-8, foreign bytes escaped */
    const char *rule; /* static: "type", "range", "unknown-key", ... */
    char *message;    /* "must not be empty" */
};

struct violations {
    struct violation *v;
    size_t n;
    bool more; /* LIMIT_VIOLATIONS reached: further ones were left out */
    int err;   /* sticky -ENOMEM */
};

/* Adds one; from LIMIT_VIOLATIONS on only sets more. rule must be a literal. path and the arguments are
 * copied. */
void violations_add(struct violations *l, const char *path, const char *rule, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void violations_addv(struct violations *l, const char *path, const char *rule, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));

/* All of them as lines "path: message\n", and a last line when some were left out. Appends to b. */
void violations_print(const struct violations *l, struct buf *b);

/* Frees what it holds; zero again afterwards. */
void violations_done(struct violations *l);
