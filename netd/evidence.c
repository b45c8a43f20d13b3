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
        .rule_set_digest = str_of(c->netd->self.digests[c->mode]),
        .families = {families, ARRAY_LEN(families)},
        .rules = ruleset_of(c->mode)->nrules,
        .applied = error == NULL,
        .error = str_of(error),
    };
    return claim(c, EVENT_ENFORCEMENT, &ev, done);
}

int evidence_flow(struct registry_cell *c, size_t row, signer_ack_fn done)
{
    const struct ruleset_row *r = &ruleset_of(c->mode)->rows[row];
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

int evidence_flows_lost(struct registry_cell *c, signer_ack_fn done)
{
    char since[CLOCK_RFC3339_LEN + 1], until[CLOCK_RFC3339_LEN + 1];
    int r = clock_format_rfc3339(c->since_s, since);
    if (r == 0)
        r = clock_format_rfc3339(clock_realtime_ms() / 1000, until);
    if (r < 0)
        return r;
    const struct ev_gap ev = {
        .lost = ruleset_of(c->mode)->nrows,
        .since = str_of(since),
        .until = str_of(until),
        .cause = STR_LIT("flow counters unreadable"),
    };
    return claim(c, EVENT_GAP, &ev, done);
}
