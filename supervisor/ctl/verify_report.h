/* SPDX-License-Identifier: MIT */
/* What cellctl verify says about one log, and about all. */
#pragma once

#include "common/evidence/log_verify.h"

enum verify_key_from { VERIFY_KEY_GIVEN, VERIFY_KEY_STATE, VERIFY_KEY_LOG };

struct verify_context {
    enum verify_key_from key_from;
    struct trust_root trust; /* nothing of it with VERIFY_KEY_LOG; borrows from the two below */
    struct vkey key;
    struct buf keyset;  /* owned */
    struct str outside; /* a checkpoint note kept elsewhere; p == NULL: none */
    bool verbose;
    bool several; /* logs: short form */
    bool color;
};

/* Checks the log and prints its report on stdout. An exit status (ctl.h). */
int verify_one(const struct verify_context *c, const char *path);

/* The same check without a word. 0 with *ret filled, or a negative errno when the log cannot be read. */
int verify_quietly(const struct verify_context *c, const char *path, struct log_report *ret) MUST_CHECK;

/* What to trust, in the order of decisions 43: key (a vkey or a file with one) or keyset (a file), else the
 * keyset or the key of the state directory, else none: then each log's own word is taken. c may not be copied
 * or moved afterwards. CTL_OK, or an exit status after the reason has been told under this verb;
 * verify_context_done() in any case. */
int verify_choose_key(const char *verb, const char *key, const char *keyset,
                      struct verify_context *c) MUST_CHECK;
void verify_context_done(struct verify_context *c);

/* What was not and cannot be checked, once for all logs. */
void verify_summary(const struct verify_context *c, size_t logs);
