/* SPDX-License-Identifier: MIT */
/* What an event does not say is absent here too: never null, never "", never 0 in place of "not measured". */
#include "supervisor/ctl/report_audit.h"

#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/encoding.h"
#include "supervisor/ctl/report_rows.h"

static const json_t *first(const struct report *r, const char *suffix)
{
    return json_object_get(r->first, suffix);
}

/* Sets o.to to data.from where that is there. */
static void copy(json_t *o, const char *to, const json_t *data, const char *from)
{
    json_t *v = json_object_get(data, from);
    if (v)
        (void)json_object_set(o, to, v);
}

#define COPY(o, data, name) copy(o, name, data, name)

/* ---- run, command, authority, usage ---- */

static json_t *run_json(const struct report *r)
{
    static const char *const ends[] = {"outcome", "terminalState", "reason", "residueClass",
                                       "residueException"};
    const json_t *end = first(r, "lifecycle.v1.destroyed"), *started = first(r, "lifecycle.v1.started");
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:b}", "runId", r->run, "cellId", r->cell, "firstEvent",
                          r->began, "lastEvent", r->last, "ended", end != NULL);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        COPY(o, end, ends[i]);
    COPY(o, started, "specDigest");
    COPY(o, started, "policyDigest");
    COPY(o, started, "correlationId");
    if (first(r, "lifecycle.v1.rejected"))
        copy(o, "violations", first(r, "lifecycle.v1.rejected"), "violations");
    return o;
}

static json_t *command_json(const struct report *r)
{
    static const char *const names[] = {"argv",     "argvTruncated", "argvCount", "argvDigest",
                                        "exitCode", "durationMs",    "signal",    "spawnError"};
    json_t *o = json_object();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        COPY(o, first(r, "command.v1.completed"), names[i]);
    return o;
}

static json_t *secrets_json(const struct report *r)
{
    json_t *list = json_array();
    size_t i;
    const json_t *e;
    json_array_foreach(json_object_get(r->lists, "identity.v1.materialized"), i, e)
    {
        (void)json_array_extend(list, json_object_get(json_object_get(e, "data"), "secrets"));
    }
    return list;
}

static json_t *authority_json(const struct report *r)
{
    static const char *const scope[] = {"mode",
                                        "egressRules",
                                        "egressRulesTruncated",
                                        "egressRulesCount",
                                        "egressRulesDigest",
                                        "hostnameAllowlist",
                                        "allowedQueryTypes",
                                        "resolvers",
                                        "responseIpAllowlist"};
    static const char *const started[] = {"ttlSeconds", "backend", "evidence", "isolation"};
    static const char *const net[] = {"ruleSetDigest", "families", "rules", "applied", "error"};
    json_t *o = json_object(), *enforcement = json_object();
    for (size_t i = 0; i < ARRAY_LEN(scope); i++)
        COPY(o, first(r, "observability.v1.network_scope"), scope[i]);
    for (size_t i = 0; i < ARRAY_LEN(started); i++)
        COPY(o, first(r, "lifecycle.v1.started"), started[i]);
    for (size_t i = 0; i < ARRAY_LEN(net); i++)
        COPY(enforcement, first(r, "observability.v1.network_enforcement"), net[i]);
    if (json_object_size(enforcement) > 0)
        (void)json_object_set(o, "enforcement", enforcement);
    json_decref(enforcement);
    (void)json_object_set_new(o, "secrets", secrets_json(r));
    json_t *changes = json_object_get(r->lists, "lifecycle.v1.policy_changed");
    if (changes)
        (void)json_object_set(o, "changes", changes);
    return o;
}

static json_t *usage_json(const struct report *r)
{
    static const char *const use[] = {"cpuMicros", "memoryPeakBytes", "pidsPeak"};
    static const char *const home[] = {"bytesSent",
                                       "bytesReceived",
                                       "declaredEgressRules",
                                       "exercisedEgressConnections",
                                       "unusedEgressRules",
                                       "unusedSecrets",
                                       "dnsApexes"};
    const json_t *done = first(r, "command.v1.completed"), *h = first(r, "observability.v1.homeostasis");
    json_t *o = json_object(), *limits = json_object();
    for (size_t i = 0; i < ARRAY_LEN(use); i++) {
        COPY(o, json_object_get(done, "usage"), use[i]);
        COPY(o, json_object_get(h, "peak"), use[i]);
    }
    COPY(o, done, "durationMs");
    for (size_t i = 0; i < ARRAY_LEN(home); i++)
        COPY(o, h, home[i]);
    COPY(limits, h, "memoryMaxBytes");
    COPY(limits, h, "pidsMax");
    COPY(limits, first(r, "lifecycle.v1.started"), "ttlSeconds");
    (void)json_object_set_new(o, "limits", limits);
    return o;
}

/* ---- decisions ---- */

/* A row as an object of what it says, numbers as numbers. */
static json_t *decision_json(const json_t *row)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "sequence",
                              json_integer((json_int_t)strtoull(why_text(row, "sequence"), NULL, 10)));
    for (size_t i = 0; i < REPORT_COLUMNS; i++) {
        const char *name = report_columns[i], *v = why_text(row, name);
        bool number = (strcmp(name, "port") == 0 || strcmp(name, "count") == 0) &&
                      strspn(v, "0123456789") == strlen(v); /* or "[redacted]" */
        if (v[0])
            (void)json_object_set_new(
                o, name, number ? json_integer((json_int_t)strtoull(v, NULL, 10)) : json_string(v));
    }
    return o;
}

struct groups {
    json_t *list, *index;
    uint64_t left_out;
};

/* Equal but for time, address, process and count. */
static void group(struct groups *g, const json_t *row)
{
    static const char *const same[] = {"action", "kind", "name", "port", "protocol", "rule", "reason"};
    json_t *key = json_array(), *one = decision_json(row);
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        (void)json_array_append(key, json_object_get(row, same[i]));
    char *text = json_dumps(key, JSON_COMPACT);
    json_t *at = text ? json_object_get(g->index, text) : NULL;
    json_t *have = at ? json_array_get(g->list, (size_t)json_integer_value(at)) : NULL;
    if (have) {
        json_t *count = json_object_get(have, "count");
        (void)json_integer_set(count,
                               json_integer_value(count) + json_integer_value(json_object_get(one, "count")));
        (void)json_object_set(have, "lastTime", json_object_get(one, "time"));
    } else if (json_array_size(g->list) >= REPORT_GROUPS_MAX) {
        g->left_out++;
    } else if (text) {
        (void)json_object_set_new(g->index, text, json_integer((json_int_t)json_array_size(g->list)));
        copy(one, "firstSequence", one, "sequence");
        copy(one, "firstTime", one, "time");
        copy(one, "lastTime", one, "time");
        (void)json_object_del(one, "sequence");
        (void)json_object_del(one, "time");
        (void)json_object_del(one, "process");
        (void)json_object_del(one, "address");
        (void)json_array_append(g->list, one);
    }
    json_decref(one);
    json_decref(key);
    free(text);
}

static json_t *decisions_json(const struct report *r)
{
    struct groups g = {json_array(), json_object(), 0};
    json_t *list = json_array();
    size_t i;
    const json_t *row;
    json_array_foreach(r->rows, i, row)
    {
        if (json_is_true(json_object_get(row, "internal")))
            continue;
        group(&g, row);
        (void)json_array_append_new(list, decision_json(row));
    }
    json_decref(g.index);
    return json_pack("{s:I, s:I, s:o, s:I, s:o, s:I}", "allowed", (json_int_t)r->allowed, "denied",
                     (json_int_t)r->denied, "groups", g.list, "groupsLeftOut", (json_int_t)g.left_out, "list",
                     list, "listLeftOut", (json_int_t)r->rows_left_out);
}

/* ---- evidence ---- */

static json_t *counts_json(const struct report *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->ncounts; i++) {
        json_t *o =
            json_pack("{s:s, s:I}", "type", r->counts[i].type, "count", (json_int_t)r->counts[i].count);
        if (r->counts[i].action[0])
            (void)json_object_set_new(o, "action", json_string(r->counts[i].action));
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *evidence_json(const struct report *r)
{
    _cleanup_(buf_done) struct buf root = {.data = NULL};
    buf_init(&root, 2 * DIGEST_LEN + 16);
    buf_puts(&root, "sha256:");
    encoding_hex_put(&root, r->head->checkpoint.root, DIGEST_LEN);
    if (root.err)
        return NULL;
    json_t *o = json_pack("{s:s, s:I, s:s%, s:s%, s:o, s:I, s:o}", "origin", r->head->checkpoint.origin,
                          "logSize", (json_int_t)r->head->checkpoint.size, "root", (const char *)root.data,
                          root.len, "checkpoint", (const char *)r->head->note.data, r->head->note.len, "keys",
                          report_vkeys(r), "events", (json_int_t)r->total, "counts", counts_json(r));
    copy(o, "bundle", first(r, "evidence_bundle.v1.emitted"), "events");
    return o;
}

static json_t *notes_json(const struct report *r)
{
    static const struct {
        const char *name, *suffix;
    } lists[] = {
        {"gaps", "observability.v1.gap"},
        {"refusedClaims", "log.v1.claim_refused"},
        {"recoveries", "log.v1.recovered"},
        {"pruned", "log.v1.pruned"},
        {"residueRemoved", "lifecycle.v1.residue_removed"},
        {"syscallsDenied", "observability.v1.syscall_denied"},
    };
    json_t *o = json_pack("{s:I, s:b}", "redactedEvents", (json_int_t)r->redacted, "rollbackExcluded", false);
    copy(o, "redactedFields", first(r, "lifecycle.v1.started"), "redacted");
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        json_t *list = json_object_get(r->lists, lists[i].suffix);
        if (list)
            (void)json_object_set(o, lists[i].name, list);
    }
    return o;
}

static json_t *verification_json(const struct report *r)
{
    static const char *const from[] = {
        [KEY_GIVEN] = "given", [KEY_STATE] = "state", [KEY_SELF] = "self-declared"};
    const struct log_report *v = &r->verdict;
    json_t *o = json_pack("{s:s, s:s, s:I}", "result", v->verdict == LOG_GOOD ? "good" : "bad", "key",
                          from[r->key_from], "goodEvents", (json_int_t)v->lines);
    if (v->verdict != LOG_GOOD)
        (void)json_object_set_new(o, "why", json_string(v->why));
    if (v->verdict == LOG_BAD_LINE)
        (void)json_object_set_new(o, "sequence", json_integer((json_int_t)v->line - 1));
    return o;
}

int report_audit(FILE *f, const struct report *r)
{
    char now[CLOCK_RFC3339_LEN + 1] = "";
    if (clock_format_rfc3339(clock_realtime_ms() / 1000, now) < 0)
        return -ERANGE;
    json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:O, s:o, s:o, s:o, s:o}", "format",
                          "cellos-audit/1", "cellctl", CELLOS_VERSION, "written", now, "run", run_json(r),
                          "command", command_json(r), "authority", authority_json(r), "decisions",
                          decisions_json(r), "denials", r->why.findings, "usage", usage_json(r), "evidence",
                          evidence_json(r), "notes", notes_json(r), "verification", verification_json(r));
    if (!o)
        return -ENOMEM;
    int e = json_dumpf(o, f, JSON_INDENT(2) | JSON_PRESERVE_ORDER) < 0 ? -EIO : 0;
    (void)fputc('\n', f);
    json_decref(o);
    return e;
}
