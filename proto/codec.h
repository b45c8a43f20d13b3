/* SPDX-License-Identifier: MIT */
/* Encodes, decodes and validates records from their schema: the one codec of messages, documents and event
 * data. */
#pragma once

#include "proto/mp.h"
#include "proto/schema.h"

/* Memory of decoded lists and objects, released as one. */
struct arena {
    struct arena_chunk *chunks;
    size_t used;
    size_t max; /* bytes; allocation beyond fails */
};

void arena_init(struct arena *a, size_t max);
void arena_done(struct arena *a);
/* Zeroed, aligned for any type; NULL when the limit is reached or memory is out. */
void *arena_alloc(struct arena *a, size_t n);
/* A copy of the bytes with a NUL behind them, owned by the arena; p == NULL on failure. */
struct str arena_copy(struct arena *a, struct str s);

/* Appends the record as a msgpack array, checking every bound. 0; -EINVAL when a value breaks its own schema
 * (a programmer's mistake or an unchecked input); b's error. On failure b may hold a partial record. */
int codec_encode(const struct schema *s, const void *rec, struct buf *b) MUST_CHECK;

/* Decodes the next array of c into *ret (s->size bytes). Strings are borrowed from c's bytes; lists and
 * objects live in the arena. Exact arity; every value within its bounds; nesting at most LIMIT_DEPTH arrays
 * counted from depth (the number of arrays already open around this one). 0; -EBADMSG; -ENOMEM. *ret is
 * unspecified on failure. */
int codec_decode(const struct schema *s, struct cursor *c, unsigned depth, struct arena *a,
                 void *ret) MUST_CHECK;

/* The same without the array head: the caller has written or read it (a frame puts its type and seq before
 * the fields). depth counts the arrays already open, that one included. */
int codec_encode_fields(const struct schema *s, const void *rec, struct buf *b) MUST_CHECK;
int codec_decode_fields(const struct schema *s, struct cursor *c, unsigned depth, struct arena *a,
                        void *ret) MUST_CHECK;

/* The whole of bytes is one record. */
int codec_decode_all(const struct schema *s, struct str bytes, struct arena *a, void *ret) MUST_CHECK;

/* A record as a sealed memfd, and the SHA-256 digest of its bytes. The fd (>= 0, caller owns) or -errno. */
int codec_to_memfd(const struct schema *s, const void *rec, size_t max, uint8_t ret_sha256[32]) MUST_CHECK;

/* Reads such a memfd: seals, size <= max and digest are checked, bytes end up in b (which must outlive *ret).
 */
int codec_from_memfd(const struct schema *s, int fd, size_t max, struct str sha256, struct buf *b,
                     struct arena *a, void *ret) MUST_CHECK;
