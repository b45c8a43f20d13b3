/* SPDX-License-Identifier: MIT */
/* One rule of the table in netfilter's terms: a row of expressions over one register. Inside netd/nft*.c
 * only. */
#pragma once

#include <libnftnl/rule.h>

#include "netd/ruleset.h"

/* Appends the rule's matches, counter, log and verdict to r. 0 or -ENOMEM. */
int nft_expr_rule(struct nftnl_rule *r, const struct ruleset *rs, const struct ruleset_rule *rule) MUST_CHECK;
