/* SPDX-License-Identifier: MIT */
/* The signing key of a running signerd: the active key of the directory's keyset (key_dir.h), wherever it is
 * kept (key_store.h). */
#pragma once

#include "common/evidence/keyset.h"
#include "signerd/key_dir.h"

#define KEYS_WARN_S (7u * 86400) /* so long before its end a key is said to end */

struct keys;

/* Takes the active key of the directory dirfd (borrowed). Where there is no key yet one is made, where there
 * is no keyset a first one: two processes that do so at once end up with the same. source: NULL, or where the
 * key is (key_dir_active()). Reads what is outside the directory and may start a process, so before this one
 * is confined. 0; -EPERM when the directory or a file is not this user's alone; -EBADMSG when a content is
 * not what it should be; -EKEYEXPIRED, -EKEYREJECTED: the key does not count now (the log line names the
 * remedy); -errno. Failures are logged. */
int keys_open_from(int dirfd, const char *source, struct keys **ret) MUST_CHECK;
int keys_open(int dirfd, struct keys **ret) MUST_CHECK; /* source NULL */

struct keys *keys_free(struct keys *k); /* wipes; NULL-safe; returns NULL */

const struct vkey *keys_vkey(const struct keys *k);
const char *keys_keyid(const struct keys *k); /* the DSSE keyid */
int keys_fd(const struct keys *k);            /* to a token's process; -EBADF: there is none */

/* The public keys that an old log may be signed with, ours among them. */
const struct keyring *keys_ring(const struct keys *k);

/* The keyset, whole, and its newest version. */
struct str keys_keyset(const struct keys *k);
const struct keyset *keys_newest(const struct keys *k);

/* Whether what is signed as of that second counts. */
bool keys_count_at(const struct keys *k, uint64_t when_s);

/* Several signatures one after the other: the key's pages are opened once for all of them. Between begin and
 * end nothing but keys_sign() and pure computing may run. */
void keys_sign_begin(struct keys *k);
void keys_sign_end(struct keys *k);

/* Signs what the caller has framed itself (DSSE PAE, note text). One thread only. A token that does not sign
 * any more ends the process. */
void keys_sign(struct keys *k, const void *msg, size_t n, uint8_t ret_sig[static ED25519_SIG_LEN]);
