/* SPDX-License-Identifier: MIT */
/* What cellctl verify says about one log, and about all. */
#pragma once

#include "common/evidence/log_verify.h"
#include "supervisor/ctl/key_choice.h"
#include "supervisor/ctl/quorum.h"
#include "supervisor/ctl/verify_range.h"

struct verify_context {
    const struct key_choice *keys;
    const struct quorum *quorum; /* witnesses whose cosignatures are wanted */
    struct str outside;          /* a checkpoint note kept elsewhere; p == NULL: none */
    bool verbose;
    bool several; /* logs: short form */
    bool color;
};

/* Checks the log and prints its report on stdout. An exit status (ctl.h). */
int verify_one(const struct verify_context *c, const char *path);

/* The same check without a word. 0 with *ret filled, or a negative errno when the log cannot be read. */
int verify_quietly(const struct verify_context *c, const char *path, struct log_report *ret) MUST_CHECK;

/* The same for a range of its lines. */
int verify_part(const struct verify_context *c, const char *path, const struct verify_range *range);

/* Who may say what: the role in source must be one that the event's row names. Types this version does not
 * know are left alone. A rule for log_verify_options. */
int verify_rule(void *arg, const struct envelope *e, char why[static LOG_CHECK_WHY_MAX]);

/* What was not and cannot be checked, once for all logs. */
void verify_summary(const struct verify_context *c, size_t logs);
