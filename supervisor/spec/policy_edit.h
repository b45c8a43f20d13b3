/* SPDX-License-Identifier: MIT */
/* A policy with other egress rules: what a live change makes of the one that holds. Pure functions. */
#pragma once

#include "proto/documents.h"
#include "supervisor/spec/spec.h"

/* A policy and the bytes that say it: what proxyd and netd get is exactly these. */
struct policy_live {
    struct buf bytes;
    struct arena arena;
    struct policy doc; /* borrows from both */
    uint8_t sha256[32];
};

struct policy_edit {
    struct policy_live *next; /* owned */
    struct strs added;        /* texts of the rules, as events name them, in the caller's arena */
    struct strs removed;
};

enum {
    POLICY_EDIT_OK = 0,
    POLICY_EDIT_NOTHING = 1, /* the rules are like that already; *ret untouched */
    POLICY_EDIT_REFUSED = 2, /* one sentence in why; *ret untouched */
};

#define POLICY_EDIT_WHY_MAX LIMIT_ERROR_TEXT

/* Removes first, then adds. Rules are in the words of --allow ("/any": no protocol). A removal must name a
 * rule as it stands; what is there already is not added again. The names of added rules may be resolved from
 * then on, a removed rule's name no more unless another rule names it. POLICY_EDIT_*, or a negative errno. */
int policy_edit(const struct policy *now, const struct spec_operator *op, const struct strs *add,
                const struct strs *remove, struct arena *a, struct policy_edit *ret,
                char why[POLICY_EDIT_WHY_MAX]) MUST_CHECK;

/* NULL-safe; returns NULL. */
struct policy_live *policy_live_free(struct policy_live *l);
