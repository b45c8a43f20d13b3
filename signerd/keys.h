/* SPDX-License-Identifier: MIT */
/* The signing key: one Ed25519 seed in keys/signing.key, made on first use. In memory it lies in guarded,
 * locked pages that are inaccessible except during a signature; nobody but this module sees it. */
#pragma once

#include "common/evidence/keyring.h"

#define KEYS_FILE      "signing.key"  /* base64 of the seed, one line, mode 0600 */
#define KEYS_VKEY_FILE "signing.vkey" /* its public part in C2SP form, for cellctl verify */

struct keys;

/* Reads the key below dirfd (borrowed), or makes it: two processes that do so at once end up with the same
 * one. Needs /proc, so before the process is confined. 0; -EPERM when the file is not a private file of this
 * user; -EBADMSG when its content is no key; -errno. Failures are logged. */
int keys_open(int dirfd, struct keys **ret) MUST_CHECK;

struct keys *keys_free(struct keys *k); /* wipes; NULL-safe; returns NULL */

const struct vkey *keys_vkey(const struct keys *k);
const char *keys_keyid(const struct keys *k); /* the DSSE keyid */

/* The public keys that an old log may be signed with, ours among them. */
const struct keyring *keys_ring(const struct keys *k);

/* Several signatures one after the other: the key's pages are opened once for all of them. Between begin and
 * end nothing but keys_sign() and pure computing may run. */
void keys_sign_begin(struct keys *k);
void keys_sign_end(struct keys *k);

/* Signs what the caller has framed itself (DSSE PAE, note text). One thread only. */
void keys_sign(struct keys *k, const void *msg, size_t n, uint8_t ret_sig[static ED25519_SIG_LEN]);
