/* SPDX-License-Identifier: MIT */
/* Host names in one canonical form: lower case, no trailing dot, labels of 1-63 bytes, at most 253 bytes in
 * all (RFC 1035 section 2.3.4; RFC 1123 section 2.1). Verdict and log always use these canonical bytes. */
#pragma once

#include "common/base/str.h"

#define NAME_MAX_LEN 253

struct name {
    uint8_t len; /* without the NUL */
    char text[NAME_MAX_LEN + 1];
};

enum name_kind {
    NAME_HOST,    /* letters, digits, hyphen (LDH); the last label not numeric (1.2.3.4, 127.1, 0x7f.1 are
                     refused) */
    NAME_DNS,     /* a query name: LDH and underscore */
    NAME_PATTERN, /* NAME_HOST, or "*." and a NAME_HOST of at least two labels (public suffixes: the spec
                     checks them) */
};

enum name_error {
    NAME_OK = 0,
    NAME_E_EMPTY = 1,
    NAME_E_TOO_LONG,
    NAME_E_LABEL,     /* empty label, or one over 63 bytes, or a hyphen at its edge */
    NAME_E_CHARACTER, /* a byte that is not allowed (NUL included) */
    NAME_E_NOT_ASCII, /* the message should hint at the A-label (xn--) */
    NAME_E_WILDCARD,  /* a "*" that is not the whole leftmost label, or nothing useful to its right */
    NAME_E_ADDRESS,   /* an IP literal where a name was wanted */
    _NAME_E_MAX,
};

/* 0 (NAME_OK) with *ret filled, or a name_error with *ret untouched. */
int name_parse(struct str s, enum name_kind kind, struct name *ret);

/* One sentence for a name_error, e.g. "must not be empty". */
const char *name_error_text(int error);

/* The one matcher: exact, or for "*.rest" one or more extra labels on the left of rest (never rest itself).
 * Both canonical. */
bool name_matches(const struct name *pattern, const struct name *name);

static inline struct str name_str(const struct name *n)
{
    return (struct str){n->text, n->len};
}
