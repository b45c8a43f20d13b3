/* SPDX-License-Identifier: MIT */
/* What netd claims at signerd about a cell. Each function sends one claim; 0, and done(cell or data, ...)
 * comes later, or -errno and it does not. Acknowledgement within LIMIT_ACK_MS. */
#pragma once

#include "netd/netd.h"

/* network_enforcement: the rule set is in force, or error says why not. */
int evidence_enforcement(struct registry_cell *c, const char *error, signer_ack_fn done) MUST_CHECK;

/* network_flow_decision of one row with the count c holds. */
int evidence_flow(struct registry_cell *c, size_t row, signer_ack_fn done) MUST_CHECK;

/* network_flow_decision of one row of a routed cell on the host. */
int evidence_routed(struct registry_cell *c, size_t row, signer_ack_fn done) MUST_CHECK;

/* network_flow_decision of one packet, of packets that are alike, or of a flow that has ended. r has a tuple
 * and a row. data: for done. */
int evidence_one_flow(struct registry_cell *c, const struct nflog_record *r, signer_ack_fn done,
                      void *data) MUST_CHECK;

/* gap: lost things since since_s (seconds of the epoch) until now. data: for done. */
int evidence_gap(struct registry_cell *c, uint64_t lost, uint64_t since_s, const char *cause,
                 signer_ack_fn done, void *data) MUST_CHECK;

/* residue_removed, in the log of a live run: netd found something of an earlier life of the suite, and
 * removed it. kind: "netns", "veth", "table", ...; name: which one. Nobody waits for it. */
int evidence_residue(struct netd *n, const char *run_id, const char *kind, const char *name) MUST_CHECK;
