/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/report_rows.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "proto/events.h"

#define ROW_TEXT_MAX (1u << 20)

const char *const report_columns[REPORT_COLUMNS] = {
    "time", "action", "kind", "name", "port", "protocol", "address", "rule", "reason", "process", "count",
};

struct str report_suffix(const struct envelope *e)
{
    const size_t n = sizeof(EVENT_TYPE_PREFIX) - 1;
    bool ours = e->type.len > n && memcmp(e->type.p, EVENT_TYPE_PREFIX, n) == 0;
    return ours ? (struct str){e->type.p + n, e->type.len - n} : e->type;
}

/* ---- texts ---- */

static const char *member(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

/* Strings and integers are shown, everything else is "". */
static void put_text(struct buf *b, const json_t *v)
{
    if (json_is_string(v))
        buf_put(b, json_string_value(v), json_string_length(v));
    else if (json_is_integer(v))
        buf_printf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
}

static json_t *take_text(struct buf *b)
{
    json_t *s = b->err ? NULL : json_stringn(b->data ? (const char *)b->data : "", b->len);
    buf_done(b);
    return s;
}

static json_t *text_of(const json_t *v)
{
    struct buf b;
    buf_init(&b, ROW_TEXT_MAX);
    put_text(&b, v);
    return take_text(&b);
}

/* "a, b": one member of each entry. */
static json_t *joined(const json_t *list, const char *name)
{
    struct buf b;
    size_t i;
    const json_t *v;
    buf_init(&b, ROW_TEXT_MAX);
    json_array_foreach(list, i, v)
    {
        buf_puts(&b, i ? ", " : "");
        put_text(&b, json_is_object(v) ? json_object_get(v, name) : v); /* or "[redacted]" */
    }
    return take_text(&b);
}

static json_t *process_text(const json_t *p)
{
    struct buf b;
    buf_init(&b, ROW_TEXT_MAX);
    if (json_is_object(p)) {
        put_text(&b, json_object_get(p, "exe"));
        buf_puts(&b, " (pid ");
        put_text(&b, json_object_get(p, "pid"));
        buf_putc(&b, ')');
    } else {
        put_text(&b, p);
    }
    return take_text(&b);
}

/* The digits behind the last colon. */
static json_t *port_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    size_t n = colon ? strspn(colon + 1, "0123456789") : 0;
    return json_string(n > 0 && colon[1 + n] == '\0' ? colon + 1 : "");
}

/* ---- rows ---- */

static json_t *dns_query(const json_t *d)
{
    const char *origin = member(d, "origin");
    char kind[64];
    bool cell = !origin[0] || strcmp(origin, "cell") == 0;
    (void)snprintf(kind, sizeof(kind), cell ? "DNS question" : "DNS question (%.32s)", origin);
    return json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:s}", "kind", kind, "name", text_of(json_object_get(d, "queryName")),
        "protocol", text_of(json_object_get(d, "queryType")), "address",
        joined(json_object_get(d, "answers"), "data"), "action", text_of(json_object_get(d, "action")),
        "reason", text_of(json_object_get(d, "reasonCode")), "count", "1");
}

static json_t *dns_answer(const json_t *d)
{
    const json_t *removed = json_object_get(d, "removed");
    char count[24];
    if (json_array_size(removed) == 0)
        return NULL;
    (void)snprintf(count, sizeof(count), "%zu", json_array_size(removed));
    return json_pack("{s:s, s:o, s:o, s:o, s:s, s:o, s:s}", "kind", "DNS answer", "name",
                     text_of(json_object_get(d, "queryName")), "protocol",
                     text_of(json_object_get(d, "queryType")), "address", joined(removed, "data"), "action",
                     "deny", "reason", text_of(json_object_get(json_array_get(removed, 0), "reasonCode")),
                     "count", count);
}

static json_t *l7(const json_t *d)
{
    bool dialed = member(d, "dialedAddress")[0] != '\0';
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "kind", "connection", "name",
                     text_of(json_object_get(d, "host")), "port", text_of(json_object_get(d, "port")),
                     "protocol", text_of(json_object_get(d, "protocol")), "address",
                     text_of(json_object_get(d, dialed ? "dialedAddress" : "originalDestination")), "action",
                     text_of(json_object_get(d, "action")), "reason",
                     text_of(json_object_get(d, "reasonCode")), "rule", text_of(json_object_get(d, "rule")),
                     "process", process_text(json_object_get(d, "process")), "count", "1");
}

static json_t *flow(const json_t *d)
{
    const char *to = member(d, "destination"), *reason = member(d, "reasonCode");
    bool internal = strcmp(reason, "flow_proxy_accept") == 0 || strcmp(reason, "flow_loopback_accept") == 0;
    if (!to[0] || json_is_true(json_object_get(d, "ended")))
        return NULL;
    return json_pack("{s:s, s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:b}", "kind",
                     internal ? "packets to the proxy" : "packets", "port", port_of(to), "protocol",
                     text_of(json_object_get(d, "protocol")), "address", to, "action",
                     text_of(json_object_get(d, "action")), "reason", reason, "rule",
                     text_of(json_object_get(d, "rule")), "count", text_of(json_object_get(d, "packets")),
                     "internal", internal);
}

json_t *report_row(struct str suffix, const json_t *data, struct str time, uint64_t sequence)
{
    static const struct {
        const char *suffix;
        json_t *(*make)(const json_t *data);
    } makers[] = {
        {"observability.v1.dns_query", dns_query},
        {"observability.v1.dns_answer", dns_answer},
        {"observability.v1.l7_egress_decision", l7},
        {"observability.v1.network_flow_decision", flow},
    };
    json_t *row = NULL;
    char number[24];
    for (size_t i = 0; i < ARRAY_LEN(makers) && !row; i++)
        if (str_is(suffix, makers[i].suffix))
            row = makers[i].make(data);
    if (!row)
        return NULL;
    for (size_t i = 0; i < REPORT_COLUMNS; i++)
        if (!json_object_get(row, report_columns[i]))
            (void)json_object_set_new(row, report_columns[i],
                                      i == 0 ? json_stringn(time.p, time.len) : json_string(""));
    (void)snprintf(number, sizeof(number), "%" PRIu64, sequence);
    (void)json_object_set_new(row, "sequence", json_string(number));
    if (!json_object_get(row, "internal"))
        (void)json_object_set_new(row, "internal", json_false());
    return row;
}

/* ---- facts ---- */

static bool is_plain(const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";
    return word[0] && word[strspn(word, plain)] == '\0';
}

/* As a shell would take it. */
static json_t *command_text(const json_t *argv)
{
    struct buf b;
    size_t i;
    const json_t *v;
    buf_init(&b, ROW_TEXT_MAX);
    json_array_foreach(argv, i, v)
    {
        const char *word = json_string_value(v) ? json_string_value(v) : "";
        bool plain = is_plain(word);
        buf_puts(&b, i ? " " : "");
        buf_puts(&b, plain ? "" : "'");
        for (const char *p = word; *p; p++)
            if (!plain && *p == '\'')
                buf_puts(&b, "'\\''");
            else
                buf_putc(&b, (uint8_t)*p);
        buf_puts(&b, plain ? "" : "'");
    }
    return take_text(&b);
}

static void add_fact(json_t *facts, const char *label, json_t *value)
{
    if (json_string_length(value) > 0)
        (void)json_array_append_new(facts, json_pack("[s, O]", label, value));
    json_decref(value);
}

json_t *report_facts(const char *run, const char *cell, const json_t *first)
{
    static const struct {
        const char *label, *suffix, *name;
    } rows[] = {
        {"Outcome", "lifecycle.v1.destroyed", "outcome"},
        {"Reason", "lifecycle.v1.destroyed", "reason"},
        {"Teardown", "lifecycle.v1.destroyed", "terminalState"},
        {"Residue", "lifecycle.v1.destroyed", "residueClass"},
        {"Command", "command.v1.completed", "argv"},
        {"Exit status", "command.v1.completed", "exitCode"},
        {"Signal", "command.v1.completed", "signal"},
        {"Not started because", "command.v1.completed", "spawnError"},
        {"Backend", "lifecycle.v1.started", "backend"},
        {"Spec digest", "lifecycle.v1.started", "specDigest"},
    };
    json_t *facts = json_array();
    if (!facts)
        return NULL;
    add_fact(facts, "Run", json_string(run));
    add_fact(facts, "Cell", json_string(cell));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const json_t *v = json_object_get(json_object_get(first, rows[i].suffix), rows[i].name);
        if (i == 0 && !json_string_length(v))
            add_fact(facts, rows[i].label, json_string("the run has not ended"));
        else
            add_fact(facts, rows[i].label, strcmp(rows[i].name, "argv") == 0 ? command_text(v) : text_of(v));
    }
    return facts;
}

/* ---- denials ---- */

bool report_is_denial(struct str suffix, const json_t *data)
{
    static const char *const always[] = {
        "lifecycle.v1.rejected",
        "observability.v1.syscall_denied",
        "log.v1.claim_refused",
        "observability.v1.dns_authority_rebind_rejected",
        "observability.v1.dns_authority_dnssec_failed",
    };
    const json_t *packets = json_object_get(data, "packets");
    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        if (str_is(suffix, always[i]))
            return true;
    if (json_array_size(json_object_get(data, "removed")) > 0)
        return str_is(suffix, "observability.v1.dns_answer");
    return strcmp(member(data, "action"), "deny") == 0 &&
           !(json_is_integer(packets) && json_integer_value(packets) == 0);
}

bool report_is_allowed(struct str suffix, const json_t *data)
{
    if (strcmp(member(data, "action"), "allow") != 0)
        return false;
    if (str_is(suffix, "observability.v1.network_flow_decision"))
        return member(data, "destination")[0] && !json_is_true(json_object_get(data, "ended")) &&
               strcmp(member(data, "reasonCode"), "flow_rule_accept") == 0;
    return str_is(suffix, "observability.v1.dns_query") ||
           str_is(suffix, "observability.v1.l7_egress_decision");
}
