/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/events_text.h"

#include <stdio.h>

#define EVENTS_ITEMS_MAX   8 /* entries of one list shown */
#define EVENTS_VALUE_BYTES 4096

/* The fields worth a place in the line, in this order; "a.b" is a member of an object, "a[].b" that of each
 * entry. A type that is not listed shows every plain field. */
static const struct events_row {
    const char *suffix;
    const char *fields[10];
} events_rows[] = {
    {"lifecycle.v1.started",
     {"backend", "ttlSeconds", "evidence", "isolation.cgroup", "isolation.seccomp", "redacted"}},
    {"lifecycle.v1.destroyed", {"outcome", "terminalState", "reason", "residueClass", "residueException"}},
    {"lifecycle.v1.rejected", {"violations[].path", "violations[].message"}},
    {"lifecycle.v1.policy_changed", {"added", "removed", "requestedByUid"}},
    {"command.v1.completed", {"argv", "exitCode", "signal", "spawnError", "durationMs"}},
    {"identity.v1.materialized", {"secrets", "delivery"}},
    {"identity.v1.revoked", {"secrets"}},
    {"observability.v1.network_scope",
     {"mode", "egressRules[].host", "hostnameAllowlist", "resolvers[].endpoint"}},
    {"observability.v1.network_enforcement", {"mode", "families", "rules", "applied", "error"}},
    {"observability.v1.network_flow_decision",
     {"rule", "chain", "protocol", "destination", "packets", "bytes"}},
    {"observability.v1.dns_query",
     {"queryName", "queryType", "reasonCode", "origin", "cached", "answers[].data"}},
    {"observability.v1.dns_answer",
     {"queryName", "queryType", "responseRcode", "answers[].data", "removed[].data", "latencyMicros"}},
    {"observability.v1.l7_egress_decision",
     {"protocol", "host", "port", "reasonCode", "originalDestination", "dialedAddress", "process"}},
    {"observability.v1.homeostasis",
     {"declaredEgressRules", "exercisedEgressConnections", "unusedEgressRules", "dnsDenied", "l7Denied",
      "bytesSent", "bytesReceived"}},
    {"observability.v1.syscall_denied", {"syscall", "family", "count"}},
    {"observability.v1.gap", {"lost", "cause", "since", "until"}},
    {"log.v1.claim_refused", {"role", "type", "claimedCellId", "reason", "count"}},
    {"evidence_bundle.v1.emitted", {"events[].type"}},
    {"compliance.v1.summary", {"egressRuleCount", "commandExitCode", "secretDeliveryMode"}},
};

static const struct events_row *events_row(struct str suffix)
{
    for (size_t i = 0; i < ARRAY_LEN(events_rows); i++)
        if (str_is(suffix, events_rows[i].suffix))
            return &events_rows[i];
    return NULL;
}

/* ---- columns ---- */

/* Bytes of the character at p, and the columns it takes: East Asian ones are wide. The text is valid UTF-8.
 */
static size_t glyph(const char *p, size_t len, unsigned *ret_columns)
{
    unsigned char c = (unsigned char)*p;
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (n > len)
        n = len;
    *ret_columns = c >= 0xf0 || (c >= 0xe1 && c <= 0xed && !(c == 0xe2)) ? 2 : 1;
    return n;
}

static unsigned columns_of(struct str s)
{
    unsigned all = 0, w;
    for (size_t i = 0; i < s.len;) {
        i += glyph(s.p + i, s.len - i, &w);
        all += w;
    }
    return all;
}

/* The bytes of the first so many columns. */
static size_t head_of(struct str s, unsigned columns)
{
    size_t i = 0;
    while (i < s.len) {
        unsigned w;
        size_t n = glyph(s.p + i, s.len - i, &w);
        if (w > columns)
            break;
        columns -= w;
        i += n;
    }
    return i;
}

void events_text_cut(struct buf *out, struct str text, unsigned columns)
{
    if (columns_of(text) <= columns) {
        buf_put_str(out, text);
        return;
    }
    buf_put(out, text.p, head_of(text, columns > 3 ? columns - 3 : 0));
    buf_puts(out, "...");
}

void events_text_short(struct buf *out, struct str text, unsigned columns)
{
    char safe[EVENTS_VALUE_BYTES];
    (void)str_escape(safe, sizeof(safe), text.p, text.len);
    struct str s = str_of(safe);
    unsigned all = columns_of(s);
    if (all <= columns) {
        buf_put_str(out, s);
        return;
    }
    unsigned keep = columns > 3 ? columns - 3 : 1, tail = keep / 3;
    size_t front = head_of(s, keep - tail), back = head_of(s, all - tail);
    buf_put(out, s.p, front);
    buf_puts(out, "...");
    buf_put(out, s.p + back, s.len - back);
}

/* ---- values ---- */

static void put_scalar(struct buf *out, const json_t *v, unsigned columns)
{
    if (json_is_string(v))
        events_text_short(out, (struct str){json_string_value(v), json_string_length(v)}, columns);
    else if (json_is_integer(v))
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_boolean(v))
        buf_puts(out, json_is_true(v) ? "true" : "false");
    else if (json_is_object(v) && json_object_get(v, "exe")) /* a process */
        put_scalar(out, json_object_get(v, "exe"), columns);
    else
        buf_puts(out, "...");
}

/* An array's entries, or one member of each. */
static void put_list(struct buf *out, const json_t *list, const char *member, unsigned columns)
{
    size_t n = json_array_size(list);
    buf_putc(out, '[');
    for (size_t i = 0; i < n && i < EVENTS_ITEMS_MAX; i++) {
        const json_t *v = json_array_get(list, i);
        buf_puts(out, i ? ", " : "");
        /* or "[redacted]" */
        put_scalar(out, member && json_is_object(v) ? json_object_get(v, member) : v, columns);
    }
    if (n > EVENTS_ITEMS_MAX)
        buf_printf(out, ", %zu more", n - EVENTS_ITEMS_MAX);
    buf_putc(out, ']');
}

/* " name=value", unless the field is absent or an empty list of entries. */
static void put_field(struct buf *out, const json_t *data, const char *field, unsigned columns)
{
    const char *list = strstr(field, "[]."), *dot = list ? NULL : strchr(field, '.');
    size_t n = list ? (size_t)(list - field) : dot ? (size_t)(dot - field) : strlen(field);
    char name[64];
    const json_t *v;
    (void)snprintf(name, sizeof(name), "%.*s", (int)n, field);
    v = json_object_get(data, name);
    if (dot)
        v = json_object_get(v, dot + 1);
    if (!v || (list && json_array_size(v) == 0))
        return;
    buf_printf(out, " %s=", dot ? dot + 1 : name);
    if (json_is_array(v))
        put_list(out, v, list ? list + 3 : NULL, columns);
    else
        put_scalar(out, v, columns);
}

static bool is_stamp(const char *name)
{
    static const char *const stamps[] = {"cellId",       "specId",        "runId",
                                         "policyDigest", "correlationId", "action"};
    for (size_t i = 0; i < ARRAY_LEN(stamps); i++)
        if (strcmp(name, stamps[i]) == 0)
            return true;
    return false;
}

/* Of a type that has no row: every plain field. */
static void put_all(struct buf *out, const json_t *data, unsigned columns)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)data, name, v)
    {
        if (is_stamp(name) || json_is_object(v))
            continue;
        buf_putc(out, ' ');
        events_text_short(out, str_of(name), columns);
        buf_putc(out, '=');
        if (json_is_array(v))
            put_list(out, v, NULL, columns);
        else
            put_scalar(out, v, columns);
    }
}

void events_text_fields(struct buf *out, struct str suffix, const json_t *data, struct str raw,
                        unsigned columns)
{
    const struct events_row *row = events_row(suffix);
    columns = columns < 8 ? 8 : columns;
    if (!data) {
        buf_putc(out, ' ');
        events_text_short(out, raw, columns);
    } else if (row) {
        for (size_t i = 0; i < ARRAY_LEN(row->fields) && row->fields[i]; i++)
            put_field(out, data, row->fields[i], columns);
    } else {
        put_all(out, data, columns);
    }
}
