/* SPDX-License-Identifier: MIT */
/* SHA-256 (FIPS 180-4) by libcrypto. One hashing context per thread is reused: an event needs sixteen short
 * digests, and making a context costs more than most of them. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define DIGEST_LEN 32

/* Makes the calling thread ready. Every thread calls it before its first digest, and a daemon before it is
 * confined. Idempotent. 0 or -ENOMEM. */
int digest_init(void) MUST_CHECK;

/* Frees the calling thread's context. */
void digest_done(void);

void digest_sha256(const void *p, size_t n, uint8_t ret[static DIGEST_LEN]);

/* The digest of up to three runs of bytes one after the other; a part with p == NULL is empty. */
void digest_sha256_parts(struct str a, struct str b, struct str c, uint8_t ret[static DIGEST_LEN]);

/* A digest in pieces. Only one may be under way in a thread, and none of the functions above may be called
 * meanwhile. */
void digest_begin(void);
void digest_add(const void *p, size_t n);
void digest_end(uint8_t ret[static DIGEST_LEN]);
