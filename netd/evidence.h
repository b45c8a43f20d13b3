/* SPDX-License-Identifier: MIT */
/* What netd claims at signerd about a cell. Each function sends one claim; 0, and done(cell, ...) comes
 * later, or -errno and it does not. Acknowledgement within LIMIT_ACK_MS. */
#pragma once

#include "netd/netd.h"

/* network_enforcement: the rule set is in force, or error says why not. */
int evidence_enforcement(struct registry_cell *c, const char *error, signer_ack_fn done) MUST_CHECK;

/* network_flow_decision of one row with the count c holds. */
int evidence_flow(struct registry_cell *c, size_t row, signer_ack_fn done) MUST_CHECK;

/* gap: the flow decisions of all rows since the attach are lost. */
int evidence_flows_lost(struct registry_cell *c, signer_ack_fn done) MUST_CHECK;
