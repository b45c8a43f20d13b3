/* SPDX-License-Identifier: MIT */
/* What cellctl verify says about one log, and about all. */
#pragma once

#include "common/evidence/log_verify.h"

enum verify_key_from { VERIFY_KEY_GIVEN, VERIFY_KEY_STATE, VERIFY_KEY_LOG };

struct verify_context {
    enum verify_key_from key_from;
    struct trust_root trust; /* nothing of it with VERIFY_KEY_LOG */
    struct str outside;      /* a checkpoint note kept elsewhere; p == NULL: none */
    bool verbose;
    bool several; /* logs: short form */
    bool color;
};

/* Checks the log and prints its report on stdout. An exit status (ctl.h). */
int verify_one(const struct verify_context *c, const char *path);

/* What was not and cannot be checked, once for all logs. */
void verify_summary(const struct verify_context *c, size_t logs);
