/* SPDX-License-Identifier: MIT */
#include "netd/evidence.h"

#include "common/base/clock.h"

static int claim(struct registry_cell *c, enum event_type type, const void *rec, signer_ack_fn done)
{
    return signer_claim(c->netd->signer, c->run_id, type, rec, /* deadline= */ true, done, c);
}

int evidence_enforcement(struct registry_cell *c, const char *error, signer_ack_fn done)
{
    static const struct str families[] = {{"ipv4", 4}, {"ipv6", 4}};
    const struct ev_enforcement ev = {
        .mode = c->mode,
        .rule_set_digest = str_of(c->netd->self.digests[c->mode][c->rs->logs]),
        .families = {families, ARRAY_LEN(families)},
        .rules = ruleset_count_rules(c->rs),
        .applied = error == NULL,
        .error = str_of(error),
    };
    return claim(c, EVENT_ENFORCEMENT, &ev, done);
}

int evidence_flow(struct registry_cell *c, size_t row, signer_ack_fn done)
{
    const struct ruleset_row *r = &c->rs->rows[row];
    const struct ev_flow ev = {
        .action = ruleset_row_action(r),
        .reason_code = r->reason,
        .rule = str_of(r->name),
        .chain = str_of(ruleset_chain_name(r->chain)),
        .packets = c->counts[row].packets,
        .bytes = c->counts[row].bytes,
    };
    return claim(c, EVENT_FLOW, &ev, done);
}

int evidence_routed(struct registry_cell *c, size_t row, signer_ack_fn done)
{
    const struct routed_count *r = &c->routed->rows[row];
    bool fixed = row < _ROUTED_ROW_MAX;
    const struct ev_flow ev = {
        .action = fixed ? ACTION_DENY : ACTION_ALLOW,
        .reason_code = fixed ? FLOW_DEFAULT_DROP : FLOW_RULE_ACCEPT,
        .rule = str_of(r->text),
        .chain = str_of(row == ROUTED_TO_HOST ? "input" : "forward"),
        .packets = r->packets,
        .bytes = r->bytes,
    };
    return claim(c, EVENT_FLOW, &ev, done);
}

int evidence_one_flow(struct registry_cell *c, const struct nflog_record *r, signer_ack_fn done, void *data)
{
    char protocol[PACKET_PROTOCOL_MAX], source[ADDR_ENDPOINT_MAX], destination[ADDR_ENDPOINT_MAX];
    const struct ruleset_row *row = &c->rs->rows[r->row];
    struct ev_flow ev = {
        .action = ruleset_row_action(row),
        .reason_code = row->reason,
        .rule = str_of(row->name),
        .chain = str_of(ruleset_chain_name(row->chain)),
        .packets = r->packets,
        .bytes = r->bytes,
        .protocol = str_of(packet_protocol(r->tuple.protocol, protocol)),
        .source = str_of(packet_end(&r->tuple, &r->tuple.source, source)),
        .destination = str_of(packet_end(&r->tuple, &r->tuple.destination, destination)),
    };
    if (r->kind == NFLOG_ENDED)
        ev.ended = OPT_BOOL(true);
    return signer_claim(c->netd->signer, c->run_id, EVENT_FLOW, &ev, /* deadline= */ true, done, data);
}

int evidence_gap(struct registry_cell *c, uint64_t lost, uint64_t since_s, const char *cause,
                 signer_ack_fn done, void *data)
{
    char since[CLOCK_RFC3339_LEN + 1], until[CLOCK_RFC3339_LEN + 1];
    int r = clock_format_rfc3339(since_s, since);
    if (r == 0)
        r = clock_format_rfc3339(clock_realtime_ms() / 1000, until);
    if (r < 0)
        return r;
    const struct ev_gap ev = {
        .lost = lost,
        .since = str_of(since),
        .until = str_of(until),
        .cause = str_of(cause),
    };
    return signer_claim(c->netd->signer, c->run_id, EVENT_GAP, &ev, /* deadline= */ true, done, data);
}

int evidence_residue(struct netd *n, const char *run_id, const char *kind, const char *name)
{
    const struct ev_residue_removed ev = {.kind = str_of(kind), .name = str_of(name)};
    return signer_claim(n->signer, run_id, EVENT_RESIDUE_REMOVED, &ev, /* deadline= */ true, NULL, NULL);
}
