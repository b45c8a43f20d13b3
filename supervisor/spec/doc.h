/* SPDX-License-Identifier: MIT */
/* Typed, located access to a parsed JSON document: every getter either fills its out-parameter, or adds a
 * violation that names the JSON path and answers false. Nothing here stops at the first violation. */
#pragma once

#include <jansson.h>

#include "proto/codec.h"
#include "supervisor/spec/violation.h"

/* A value and the way to it. Lives on the caller's stack; up must outlive it. */
struct doc_at {
    const struct doc_at *up; /* NULL: the document itself */
    const char *key;         /* NULL: element number index of an array */
    size_t index;
    json_t *json; /* borrowed; NULL = absent */
};

struct doc {
    struct arena *arena; /* copies of strings and arrays of the typed result */
    struct violations *out;
};

/* A key that an object may have. */
struct doc_key {
    const char *name;
    bool required;
};

void doc_complain(struct doc *d, const struct doc_at *at, const char *rule, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* "spec.authority.egressRules[3].host" into dst (cap > 0); foreign keys are escaped; cut at cap. Returns dst.
 */
const char *doc_path(const struct doc_at *at, char *dst, size_t cap);

/* "an object", "a string", "null", ... */
const char *doc_type_name(const json_t *j);

/* True when this is an object; then unknown keys (with a hint when one is near) and missing required keys
 * have been complained about, and the members may be read. */
bool doc_object(struct doc *d, const struct doc_at *at, const struct doc_key *keys, size_t n);

/* The member at->key; ret->json is NULL when there is none. True when there is one. at must be an object. */
bool doc_member(const struct doc_at *at, const char *key, struct doc_at *ret);

/* True when this is an array of min...max entries. min > 0 complains "must not be empty". */
bool doc_array(struct doc *d, const struct doc_at *at, size_t min, size_t max, size_t *ret_n);
struct doc_at doc_element(const struct doc_at *at, size_t i);

/* A string of 1...max bytes without control characters, copied into the arena. */
bool doc_str(struct doc *d, const struct doc_at *at, size_t max, struct str *ret);
/* The same, but any byte (JSON has no NUL here) and possibly empty: arguments of a command. */
bool doc_text(struct doc *d, const struct doc_at *at, size_t max, struct str *ret);

bool doc_uint(struct doc *d, const struct doc_at *at, uint64_t min, uint64_t max, uint64_t *ret);
bool doc_bool(struct doc *d, const struct doc_at *at, bool *ret);

/* One of the words of e; *ret is the enum's value (1..n). */
bool doc_enum(struct doc *d, const struct doc_at *at, const struct enum_names *e, uint32_t *ret);

/* n zeroed elements of size bytes from the arena (n may be 0: returns a non-NULL pointer); NULL sets
 * out->err. */
void *doc_alloc(struct doc *d, size_t n, size_t size);
