/* SPDX-License-Identifier: MIT */
#include "proto/events.h"

#include "common/base/cleanup.h"

ENUM_DEFINE(role_name, ROLE_ENUM)
ENUM_DEFINE(fail, FAIL_ENUM)
ENUM_DEFINE(action, ACTION_ENUM)
ENUM_DEFINE(evidence, EVIDENCE_ENUM)
ENUM_DEFINE(seal_mode, SEAL_MODE_ENUM)
ENUM_DEFINE(net_mode, NET_MODE_ENUM)
ENUM_DEFINE(egress_protocol, EGRESS_PROTOCOL_ENUM)
ENUM_DEFINE(resolver_protocol, RESOLVER_PROTOCOL_ENUM)
ENUM_DEFINE(refresh_strategy, REFRESH_STRATEGY_ENUM)
ENUM_DEFINE(answer_mode, ANSWER_MODE_ENUM)
ENUM_DEFINE(dnssec_status, DNSSEC_STATUS_ENUM)
ENUM_DEFINE(upstream_proxy, UPSTREAM_PROXY_ENUM)
ENUM_DEFINE(transport, TRANSPORT_ENUM)
ENUM_DEFINE(l7_reason, L7_REASON_ENUM)
ENUM_DEFINE(l7_protocol, L7_PROTOCOL_ENUM)
ENUM_DEFINE(dns_reason_code, DNS_REASON_ENUM)
ENUM_DEFINE(flow_reason, FLOW_REASON_ENUM)
ENUM_DEFINE(outcome, OUTCOME_ENUM)
ENUM_DEFINE(terminal_state, TERMINAL_STATE_ENUM)
ENUM_DEFINE(residue_class, RESIDUE_CLASS_ENUM)
ENUM_DEFINE(backend, BACKEND_ENUM)
ENUM_DEFINE(delivery, DELIVERY_ENUM)
ENUM_DEFINE(parent_type, PARENT_TYPE_ENUM)
ENUM_DEFINE(prune_reason, PRUNE_REASON_ENUM)

SCHEMA_DEFINE(ev_process, EV_PROCESS_FIELDS)
SCHEMA_DEFINE(ev_dns_apex, EV_DNS_APEX_FIELDS)
SCHEMA_DEFINE(ev_isolation, EV_ISOLATION_FIELDS)
SCHEMA_DEFINE(ev_violation, EV_VIOLATION_FIELDS)
SCHEMA_DEFINE(ev_usage, EV_USAGE_FIELDS)
SCHEMA_DEFINE(ev_provenance, EV_PROVENANCE_FIELDS)
SCHEMA_DEFINE(ev_placement, EV_PLACEMENT_FIELDS)
SCHEMA_DEFINE(ev_label, EV_LABEL_FIELDS)
SCHEMA_DEFINE(ev_correlation, EV_CORRELATION_FIELDS)
SCHEMA_DEFINE(ev_egress, EV_EGRESS_FIELDS)
SCHEMA_DEFINE(ev_resolver, EV_RESOLVER_FIELDS)
SCHEMA_DEFINE(ev_dns_record, EV_DNS_RECORD_FIELDS)
SCHEMA_DEFINE(ev_dns_removed, EV_DNS_REMOVED_FIELDS)
SCHEMA_DEFINE(ev_reference, EV_REFERENCE_FIELDS)
SCHEMA_DEFINE(ev_started, EV_STARTED_FIELDS)
SCHEMA_DEFINE(ev_destroyed, EV_DESTROYED_FIELDS)
SCHEMA_DEFINE(ev_rejected, EV_REJECTED_FIELDS)
SCHEMA_DEFINE(ev_completed, EV_COMPLETED_FIELDS)
SCHEMA_DEFINE(ev_identity, EV_IDENTITY_FIELDS)
SCHEMA_DEFINE(ev_summary, EV_SUMMARY_FIELDS)
SCHEMA_DEFINE(ev_network_scope, EV_NETWORK_SCOPE_FIELDS)
SCHEMA_DEFINE(ev_enforcement, EV_ENFORCEMENT_FIELDS)
SCHEMA_DEFINE(ev_flow, EV_FLOW_FIELDS)
SCHEMA_DEFINE(ev_dns_query, EV_DNS_QUERY_FIELDS)
SCHEMA_DEFINE(ev_dns_answer, EV_DNS_ANSWER_FIELDS)
SCHEMA_DEFINE(ev_l7, EV_L7_FIELDS)
SCHEMA_DEFINE(ev_dns_authority, EV_DNS_AUTHORITY_FIELDS)
SCHEMA_DEFINE(ev_policy_changed, EV_POLICY_CHANGED_FIELDS)
SCHEMA_DEFINE(ev_homeostasis, EV_HOMEOSTASIS_FIELDS)
SCHEMA_DEFINE(ev_gap, EV_GAP_FIELDS)
SCHEMA_DEFINE(ev_bundle, EV_BUNDLE_FIELDS)
SCHEMA_DEFINE(ev_residue_removed, EV_RESIDUE_REMOVED_FIELDS)
SCHEMA_DEFINE(ev_syscall_denied, EV_SYSCALL_DENIED_FIELDS)
SCHEMA_DEFINE(ev_claim_refused, EV_CLAIM_REFUSED_FIELDS)
SCHEMA_DEFINE(ev_recovered, EV_RECOVERED_FIELDS)
SCHEMA_DEFINE(ev_pruned, EV_PRUNED_FIELDS)
SCHEMA_DEFINE(ev_keyset_changed, EV_KEYSET_CHANGED_FIELDS)

#define ROW_(c, rec, suffix, roles, states) {c, suffix, &schema_##rec, roles, states},
static const struct event_row rows[] = {EVENTS(ROW_)};

const struct event_row *event_row(uint64_t type)
{
    return type >= 1 && type <= ARRAY_LEN(rows) ? &rows[type - 1] : NULL;
}

const struct event_row *event_row_by_suffix(struct str suffix)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_is(suffix, rows[i].suffix))
            return &rows[i];
    return NULL;
}
