/* SPDX-License-Identifier: MIT */
#pragma once

#include "common/evidence/ed25519.h"
#include "common/priv/role.h"
#include "signerd/token_uri.h"

/* One answer of the token's process. The first one comes unasked, once it is ready: bytes begins with the
 * public key. */
struct token_reply {
    int32_t error; /* 0 or a negative errno */
    uint8_t bytes[ED25519_SIG_LEN];
};

/* What the process may do once it is logged in. */
extern const struct role token_role;

/* The process itself: loads the module, logs in, finds the key, confines itself, then signs what comes over
 * fd until its other end is closed. pin: an open file. Never returns. */
void token_child(const struct token_uri *uri, int fd, int pin) __attribute__((noreturn));
