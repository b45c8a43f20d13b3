/* SPDX-License-Identifier: MIT */
/* How often each egress rule of a cell has allowed something, over all policies the cell has had: a rule that
 * is taken away and comes back keeps its count. */
#pragma once

#include "common/net/allow.h"

struct uses {
    struct allow_rule *rules; /* every rule there has ever been, as far as LIMIT_USES_RULES */
    uint64_t *counts;
    size_t n;
    size_t *map; /* index in the present list -> index above, or SIZE_MAX */
    size_t nmap;
};

#define LIMIT_USES_RULES 2048u /* two whole lists; uses of rules beyond are not told apart */

/* The list is (again) in force. 0, or -ENOMEM: its uses are not counted. All zero: no list yet. */
int uses_set(struct uses *u, const struct allow_list *list) MUST_CHECK;
void uses_done(struct uses *u);

/* index: of the present list; -1 is fine. */
void uses_add(struct uses *u, ssize_t index);
uint64_t uses_of(const struct uses *u, size_t index);
