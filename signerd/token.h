/* SPDX-License-Identifier: MIT */
/* A key in a PKCS#11 token. The module is foreign code, so it is loaded into a process of its own: forked
 * before any secret or log is open, it loads the module, logs in once, drops its rights and then answers one
 * question only, a message to be signed. This process never maps the module. */
#pragma once

#include "common/base/cleanup.h"
#include "common/evidence/ed25519.h"

#define TOKEN_MESSAGE_MAX 65600 /* a keyset's line is the longest thing that is signed */
#define TOKEN_OPEN_MS     20000 /* a hardware token may ask its time for a login */
#define TOKEN_SIGN_MS     10000

struct token;

/* uri: RFC 7512 (token_uri.h). 0; -EINVAL: the URI; -EPERM: the module or the PIN's file could be changed by
 * others, or the PIN is wrong; -ENOKEY: no such token or no such key; -ETIMEDOUT; -errno. Logged. */
int token_open(const char *uri, uint8_t ret_public[static ED25519_PUBLIC_LEN], struct token **ret) MUST_CHECK;
struct token *token_free(struct token *t); /* ends its process; NULL-safe; returns NULL */

int token_fd(const struct token *t);

/* 0, or a negative errno (logged). The signature was verified. */
int token_sign(struct token *t, const void *msg, size_t n,
               uint8_t ret_sig[static ED25519_SIG_LEN]) MUST_CHECK;
