/* SPDX-License-Identifier: MIT */
/* The keys that a verb goes by, in the order of trust: given on the command line (--key, --keyset), of this
 * user's state directory, or (self-declared) those that the log or proof brings along. */
#pragma once

#include "common/evidence/trust.h"

enum key_from {
    KEY_GIVEN,
    KEY_STATE,
    KEY_SELF,
};

struct key_choice {
    enum key_from from;
    struct vkey key;   /* KEY_GIVEN without a keyset, KEY_STATE */
    struct buf keyset; /* --keyset: the file; else empty */
};

/* key: a vkey, or a file with one; keyset: a file; NULL: not given, and not both. An exit status (ctl.h); a
 * failure has been told. On CTL_OK key_choice_done(). */
int key_choice_find(const char *verb, const char *key, const char *keyset, struct key_choice *ret) MUST_CHECK;
void key_choice_done(struct key_choice *c);

/* What trust_open() takes; borrowed from c. */
struct trust_root key_choice_root(const struct key_choice *c);

/* " (given)", ... behind a key's name. */
const char *key_choice_text(enum key_from from);
