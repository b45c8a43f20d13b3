/* SPDX-License-Identifier: MIT */
/* Marks of secret values: enough to find a value in a text, not enough to know it. The supervisor makes them,
 * signerd searches every event with them; both use this file.
 *
 * A mark is of one form of a value: as it is, escaped for JSON, base64 (both alphabets, each of the three
 * ways it can lie in a longer text, without the characters that its neighbours share), hex, percent-encoded.
 * Case of ASCII letters never counts: names are lower-cased on their way. It holds the form's length, 8 bits
 * of a rolling hash (polynomial modulo 2^61 - 1 at a random point) as a filter, and a keyed BLAKE2b-256
 * digest that decides. Point and digest key come from a fresh random key of each run: who writes the text
 * cannot aim at the filter, and nobody without the key can test guesses. Who has the marks can: they stay in
 * locked memory.
 *
 * A form shorter than LIMIT_SECRET_SEARCHED bytes would be found by chance: such a value is found only where
 * it is a whole text, and only as it is. A text that holds a part of a value is not found. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "proto/limits.h"

#define SECRET_KEY_LEN    32u
#define SECRET_DIGEST_LEN 32u

struct secret_mark {
    uint32_t length;
    uint8_t secret; /* index of its name */
    uint8_t filter;
    uint8_t digest[SECRET_DIGEST_LEN];
};

/* The marks of one run, in sodium_malloc() memory. */
struct secret_marks;

/* Room for so many names and marks (LIMIT_SECRETS, LIMIT_SECRET_MARKS at most). 0; -EINVAL; -ENOMEM. */
int secret_marks_new(const uint8_t key[static SECRET_KEY_LEN], size_t names, size_t marks,
                     struct secret_marks **ret) MUST_CHECK;
struct secret_marks *secret_marks_free(struct secret_marks *m); /* wipes; NULL-safe; returns NULL */
void secret_marks_freep(struct secret_marks **m);

/* The next name. Its index, or -ENOBUFS, -EINVAL (too long). */
int secret_marks_add_name(struct secret_marks *m, struct str name) MUST_CHECK;

/* A name with the marks of its value (not empty). 0; -ENOBUFS; -EINVAL; -ENOMEM. */
int secret_marks_add_value(struct secret_marks *m, struct str name, struct str value) MUST_CHECK;

/* A mark that somebody else made with the same key. 0; -ENOBUFS; -EINVAL: not of a name, or a length that no
 * form has. */
int secret_marks_add(struct secret_marks *m, const struct secret_mark *mark) MUST_CHECK;

/* Once, when all are in; then the marks are there to be read and searched for. */
void secret_marks_seal(struct secret_marks *m);

size_t secret_marks_count(const struct secret_marks *m);
const struct secret_mark *secret_marks_at(const struct secret_marks *m, size_t i);
/* All names, in the order of their indices, borrowed. Their number. */
size_t secret_marks_names(const struct secret_marks *m, struct str dst[static LIMIT_SECRETS]);

/* The name of a secret whose value is in the text, or NULL. Time: length of the text x number of different
 * lengths of forms. NULL-safe: without marks nothing is found. */
const char *secret_marks_find(const struct secret_marks *m, struct str text);

/* Whether this is the value of that name, in full. */
bool secret_marks_is(const struct secret_marks *m, struct str name, struct str value);
