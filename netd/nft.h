/* SPDX-License-Identifier: MIT */
/* The kernel's side of the rule set: one batch transaction that makes it, one dump that reads its counters.
 * Both act on the network namespace in which the socket was opened. */
#pragma once

#include "netd/ruleset.h"

/* Commits the table with all its chains and rules, or nothing of it. The table must not exist (-EEXIST).
 * sock: NETLINK_NETFILTER. 0 or -errno. */
int nft_apply(int sock, const struct ruleset *rs) MUST_CHECK;

/* Reads every rule of the table and adds up the counters by row. seq: a number that no earlier exchange on
 * this socket used. 0; -EBADMSG when the table in the kernel is not this rule set; -errno. The caller needs
 * CAP_NET_ADMIN in the user namespace that owns the network namespace, at the time of the call. */
int nft_read_counts(int sock, const struct ruleset *rs, uint32_t seq,
                    struct ruleset_count ret[RULESET_ROWS_MAX]) MUST_CHECK;
