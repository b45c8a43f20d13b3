/* SPDX-License-Identifier: MIT */
/* One secret key, wherever it is kept: a seed in this process's memory, or a token that signs for us. A seed
 * lies in guarded, locked pages that are inaccessible except during a signature; nobody but this module sees
 * it. */
#pragma once

#include "common/evidence/checkpoint.h"

#define KEY_STORE_LINE_LEN   45 /* base64 of the seed, LF */
#define KEY_STORE_CREDENTIAL "cellos.signing.key"

struct key_store;
struct token;

/* A seed out of a file: base64, one line, of this user, mode 0600 or less. fd is borrowed. 0; -EPERM when it
 * is not a private regular file of this user; -EBADMSG when its content is no key; -errno. */
int key_store_read(int fd, struct key_store **ret) MUST_CHECK;

/* A file of systemd's credentials directory, which the service manager decrypted for this process alone; its
 * modes are systemd's. As key_store_read(); -ENOENT when there is no directory or no such credential. */
int key_store_credential(const char *name, struct key_store **ret) MUST_CHECK;

/* A new seed; writes it to fd in the form of a file. 0 or -errno. */
int key_store_make(int fd, struct key_store **ret) MUST_CHECK;

/* The key behind a PKCS#11 URI (token.h). Starts a process, so before this one is confined. 0; negative errno
 * (logged). */
int key_store_token(const char *uri, struct key_store **ret) MUST_CHECK;

struct key_store *key_store_free(struct key_store *s); /* wipes; NULL-safe; returns NULL */

const struct vkey *key_store_vkey(const struct key_store *s);

/* The socket to the token's process, which stays open when this one is confined; -EBADF: there is none. */
int key_store_fd(const struct key_store *s);

/* Several signatures one after the other: the key's pages are opened once for all of them. */
void key_store_begin(struct key_store *s);
void key_store_end(struct key_store *s);

/* 0; a token can also fail: negative errno (logged). */
int key_store_sign(struct key_store *s, const void *msg, size_t n,
                   uint8_t ret_sig[static ED25519_SIG_LEN]) MUST_CHECK;
