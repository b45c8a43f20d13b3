/* SPDX-License-Identifier: MIT */
/* Ed25519 (RFC 8032) by libsodium. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define ED25519_SEED_LEN   32
#define ED25519_SECRET_LEN 64 /* seed and public key, libsodium's form */
#define ED25519_PUBLIC_LEN 32
#define ED25519_SIG_LEN    64

/* libsodium's own start (random source, CPU detection). Before anything below, and before a daemon is
 * confined. Idempotent and thread-safe. 0 or -EIO. */
int ed25519_init(void) MUST_CHECK;

/* The key pair of a seed (RFC 8032 section 5.1.5). The caller owns, locks and wipes the secret. */
void ed25519_from_seed(const uint8_t seed[static ED25519_SEED_LEN],
                       uint8_t ret_public[static ED25519_PUBLIC_LEN],
                       uint8_t ret_secret[static ED25519_SECRET_LEN]);

void ed25519_sign(const uint8_t secret[static ED25519_SECRET_LEN], const void *msg, size_t n,
                  uint8_t ret_sig[static ED25519_SIG_LEN]);

/* True only for a signature of exactly ED25519_SIG_LEN bytes that is canonical (S < L), under a key that is
 * canonical and not of small order (the checks of libsodium, a subset of what RFC 8032 allows). */
bool ed25519_verify(const uint8_t public[static ED25519_PUBLIC_LEN], const void *msg, size_t n,
                    const uint8_t *sig, size_t sig_len);
