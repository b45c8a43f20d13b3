/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/events_format.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "proto/events.h"
#include "supervisor/ctl/term.h"

#define EVENTS_VALUE_MAX 200 /* bytes of one value shown */
#define EVENTS_ITEMS_MAX 8   /* entries of one list shown */

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
    {"observability.v1.network_flow_decision", {"rule", "chain", "packets", "bytes"}},
    {"observability.v1.dns_query",
     {"queryName", "queryType", "reasonCode", "origin", "cached", "answers[].data"}},
    {"observability.v1.dns_answer",
     {"queryName", "queryType", "responseRcode", "answers[].data", "removed[].data", "latencyMicros"}},
    {"observability.v1.l7_egress_decision",
     {"protocol", "host", "port", "originalDestination", "dialedAddress", "reasonCode"}},
    {"observability.v1.homeostasis",
     {"declaredEgressRules", "exercisedEgressConnections", "unusedEgressRules", "dnsDenied", "l7Denied",
      "bytesSent", "bytesReceived"}},
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

static void events_put(const char *p, size_t n)
{
    char safe[EVENTS_VALUE_MAX + 4];

    (void)fputs(str_escape(safe, sizeof(safe), p, n), stdout);
}

static void events_put_scalar(const json_t *v)
{
    if (json_is_string(v))
        events_put(json_string_value(v), json_string_length(v));
    else if (json_is_integer(v))
        (void)printf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_boolean(v))
        (void)fputs(json_is_true(v) ? "true" : "false", stdout);
    else
        (void)fputs("...", stdout);
}

/* An array's entries, or one member of each. */
static void events_put_list(const json_t *list, const char *member)
{
    size_t n = json_array_size(list);

    (void)putchar('[');
    for (size_t i = 0; i < n && i < EVENTS_ITEMS_MAX; i++) {
        const json_t *v = json_array_get(list, i);

        if (i)
            (void)fputs(", ", stdout);
        events_put_scalar(member && json_is_object(v) ? json_object_get(v, member) : v); /* or "[redacted]" */
    }
    if (n > EVENTS_ITEMS_MAX)
        (void)printf(", %zu more", n - EVENTS_ITEMS_MAX);
    (void)putchar(']');
}

/* " name=value", unless the field is absent or an empty list of entries. */
static void events_put_field(const json_t *data, const char *field)
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
    (void)printf(" %s=", dot ? dot + 1 : name);
    if (json_is_array(v))
        events_put_list(v, list ? list + 3 : NULL);
    else
        events_put_scalar(v);
}

static bool events_is_stamp(const char *name)
{
    static const char *const stamps[] = {"cellId",       "specId",        "runId",
                                         "policyDigest", "correlationId", "action"};

    for (size_t i = 0; i < ARRAY_LEN(stamps); i++)
        if (strcmp(name, stamps[i]) == 0)
            return true;
    return false;
}

static void events_put_data(struct str suffix, struct str raw)
{
    const struct events_row *row = events_row(suffix);
    json_t *data = json_loadb(raw.p, raw.len, JSON_REJECT_DUPLICATES, NULL);
    const char *name;
    json_t *v;

    if (!json_is_object(data)) {
        (void)putchar(' ');
        events_put(raw.p, raw.len);
    } else if (row) {
        for (size_t i = 0; i < ARRAY_LEN(row->fields) && row->fields[i]; i++)
            events_put_field(data, row->fields[i]);
    } else {
        json_object_foreach(data, name, v)
        {
            if (events_is_stamp(name) || json_is_object(v))
                continue;
            (void)putchar(' ');
            events_put(name, strlen(name));
            (void)putchar('=');
            if (json_is_array(v))
                events_put_list(v, NULL);
            else
                events_put_scalar(v);
        }
    }
    json_decref(data);
}

/* allow, deny, or blanks. */
static void events_put_action(const struct events_format *f, struct str raw)
{
    static const char allow[] = "\"action\":\"allow\"", deny[] = "\"action\":\"deny\"";
    /* Quotes inside JSON strings are escaped, so these bytes can only be the member itself. */
    bool is_allow = memmem(raw.p, raw.len, allow, sizeof(allow) - 1) != NULL;
    bool is_deny = memmem(raw.p, raw.len, deny, sizeof(deny) - 1) != NULL;

    (void)printf("%s%-5s%s", term_code(f->color && (is_allow || is_deny), is_deny ? TERM_RED : TERM_GREEN),
                 is_deny    ? "deny"
                 : is_allow ? "allow"
                            : "",
                 term_code(f->color && (is_allow || is_deny), TERM_PLAIN));
}

/* The milliseconds of a UUIDv7: when the event arrived at signerd. */
static uint64_t events_ms(struct str id)
{
    uint64_t ms = 0;

    for (size_t i = 0, n = 0; i < id.len && n < 12; i++) {
        char c = id.p[i];

        if (c == '-')
            continue;
        ms = ms << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        n++;
    }
    return ms;
}

static void events_put_run(struct events_format *f, const struct envelope *e, uint64_t ms)
{
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;

    if (!e->runid.p || (f->has_start && str_is(e->runid, f->run_id)))
        return;
    (void)snprintf(f->run_id, sizeof(f->run_id), "%.*s", (int)e->runid.len, e->runid.p);
    f->has_start = true;
    f->start_ms = ms;
    (void)fputs(term_code(f->color, TERM_BOLD), stdout);
    (void)fputs("run ", stdout);
    events_put(e->runid.p, e->runid.len);
    (void)fputs("  cell ", stdout);
    events_put(e->subject.p + (e->subject.len > urn ? urn : 0),
               e->subject.len > urn ? e->subject.len - urn : e->subject.len);
    (void)fputs("  ", stdout);
    events_put(e->time.p, e->time.len);
    (void)printf("%s\n", term_code(f->color, TERM_PLAIN));
}

/* "lifecycle.v1.started" -> "started" */
static struct str events_short(struct str suffix)
{
    const char *dot = suffix.len ? memrchr(suffix.p, '.', suffix.len) : NULL;

    return dot ? (struct str){dot + 1, suffix.len - (size_t)(dot + 1 - suffix.p)} : suffix;
}

static struct str events_role(struct str source)
{
    const size_t start = sizeof("/cellos/") - 1;
    const char *end = source.len > start ? memchr(source.p + start, '/', source.len - start) : NULL;

    return end ? (struct str){source.p + start, (size_t)(end - source.p) - start} : source;
}

void events_format(struct events_format *f, const struct envelope *e)
{
    const size_t prefix = sizeof(EVENT_TYPE_PREFIX) - 1;
    bool ours = e->type.len > prefix && memcmp(e->type.p, EVENT_TYPE_PREFIX, prefix) == 0;
    struct str suffix = ours ? (struct str){e->type.p + prefix, e->type.len - prefix} : e->type;
    uint64_t ms = events_ms(e->id);
    char role[64], name[64];

    events_put_run(f, e, ms);
    (void)str_escape(role, sizeof(role), events_role(e->source).p, events_role(e->source).len);
    (void)str_escape(name, sizeof(name), events_short(suffix).p, events_short(suffix).len);
    if (!f->has_start)
        (void)printf("%10s", "");
    else if (ms >= f->start_ms)
        (void)printf("%+9.3fs", (double)(ms - f->start_ms) / 1000.0);
    else
        (void)printf("%+9.3fs", -(double)(f->start_ms - ms) / 1000.0);
    (void)printf("  %-10s %-21s ", role, name);
    events_put_action(f, e->data);
    events_put_data(suffix, e->data);
    (void)putchar('\n');
}
