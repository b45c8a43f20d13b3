/* SPDX-License-Identifier: MIT */
/* Counted strings and the text rules that every reader of foreign bytes shares. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed run of bytes; p == NULL means "absent", which is not the same as empty. Never owns. */
struct str {
    const char *p;
    size_t len;
};

#define STR_LIT(s) ((struct str){(s), sizeof(s) - 1})
#define STR_NONE   ((struct str){NULL, 0})

static inline struct str str_of(const char *s)
{
    return s ? (struct str){s, strlen(s)} : STR_NONE;
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || (a.p && b.p && memcmp(a.p, b.p, a.len) == 0));
}

static inline bool str_is(struct str a, const char *s)
{
    return str_eq(a, str_of(s));
}

/* True when the bytes are well-formed UTF-8 (RFC 3629: shortest form, no surrogates, <= U+10FFFF) without
 * U+0000. */
bool str_utf8_valid(const char *p, size_t len);

/* Copies text for a log line or a terminal: printable UTF-8 stays, everything else (control characters,
 * broken UTF-8, the backslash) becomes \xNN. Always NUL-terminates; a text that does not fit ends in "...".
 * cap must be at least 4. Returns dst. */
char *str_escape(char *dst, size_t cap, const char *src, size_t len);

/* A NUL-terminated heap copy, or NULL on ENOMEM or when the bytes hold a NUL. The caller frees. */
char *str_dup(struct str s);
