/* SPDX-License-Identifier: MIT */
/* The directory with the keys, under its lock:
 *
 *   keyset                which keys there are (common/evidence/keyset.h), replaced as a whole
 *   signing.key           the active key's seed, or signing.uri: the PKCS#11 URI of its token
 *   signing.vkey          its public part
 *   <16 hex>.key, .uri    the same of standby keys; the digits are those of the DSSE keyid
 *
 * The keyset decides: what it calls active signs. A key is put in its place only after the keyset that names
 * it is durable, and the old seed is overwritten and removed before that; whoever comes next finishes what a
 * crash left between these steps. */
#pragma once

#include "common/evidence/keyset.h"
#include "signerd/key_store.h"

#define KEYS_FILE       "signing.key"  /* base64 of the seed, one line, mode 0600 */
#define KEYS_URI_FILE   "signing.uri"  /* a pkcs11: URI, one line, mode 0600 */
#define KEYS_VKEY_FILE  "signing.vkey" /* the public part in C2SP form */
#define KEY_DIR_LOCK_MS 10000

struct key_dir {
    int dir;                   /* our own open file description: the lock is bound to it */
    struct keyset_chain chain; /* n == 0: there is no keyset yet */
    struct buf text;           /* the file as it is */
};

/* Takes the directory (dirfd is borrowed), waits for its lock, reads the keyset. 0; -EPERM when somebody else
 * may write there; -EBADMSG when the keyset is none; -EWOULDBLOCK: locked for too long; -errno. Logged. On
 * failure nothing is left to free. */
int key_dir_open(int dirfd, struct key_dir *ret) MUST_CHECK;
void key_dir_done(struct key_dir *d); /* gives the lock back */

/* Puts the active key in its place, if a crash left that open. 0 or -errno (logged). */
int key_dir_finish(struct key_dir *d) MUST_CHECK;

/* Overwrites and removes signing.key and signing.uri: the active key is elsewhere now. */
int key_dir_vacate(struct key_dir *d) MUST_CHECK;

/* Removes files of keys that no keyset names: what a crash left before the keyset was written. */
int key_dir_sweep(struct key_dir *d) MUST_CHECK;

/* The key that source names: "pkcs11:...", "credential:NAME", or NULL: the credential cellos.signing.key if
 * there is one, else what the directory has. -ENOENT: there is none anywhere. Other failures are logged. */
int key_dir_active(struct key_dir *d, const char *source, struct key_store **ret) MUST_CHECK;

/* A new key in <16 hex>.key, not yet in the keyset. 0 or -errno (logged). */
int key_dir_make(struct key_dir *d, struct key_store **ret) MUST_CHECK;
/* The key in <16 hex>.key or .uri of a key of the keyset. 0, -ENOENT, -errno. */
int key_dir_standby(struct key_dir *d, const struct keyset_key *k, struct key_store **ret) MUST_CHECK;
/* Remembers where a token's key is, as <16 hex>.uri. */
int key_dir_note_uri(struct key_dir *d, const struct vkey *k, const char *uri) MUST_CHECK;
/* Overwrites and removes what there is of a key that is not needed any more. */
int key_dir_forget(struct key_dir *d, const struct keyset_key *k) MUST_CHECK;

/* Starts the next version with what the newest one says (or an empty first one), made now. */
void key_dir_next(const struct key_dir *d, struct keyset *ret);

/* Signs k with these keys, checks that it follows, makes the file with it durable. 0 or -errno (logged). */
int key_dir_append(struct key_dir *d, struct keyset *k, struct key_store *const *by, size_t n) MUST_CHECK;

/* A first version with this key alone, which counts from the beginning: logs that are older than the keyset
 * stay good. */
int key_dir_begin(struct key_dir *d, struct key_store *key, uint64_t not_after_s) MUST_CHECK;

/* signing.vkey, if it is not that key's already. */
int key_dir_write_vkey(struct key_dir *d, const struct vkey *k) MUST_CHECK;
