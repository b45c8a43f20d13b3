/* SPDX-License-Identifier: MIT */
/* Packets that the kernel dropped, system calls that it refused, documents that were not run, and what is
 * missing from the log. */
#include <stdio.h>

#include "supervisor/ctl/why.h"

static uint64_t number(const json_t *data, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(data, key));
    return n > 0 ? (uint64_t)n : 0;
}

/* ---- flows ---- */

static void explain_drop(const struct why_report *w, const json_t *data, struct why_finding *f)
{
    static const struct {
        const char *rule, *never;
    } rows[] = {
        {"multicast", "a cell never sends to several hosts at once"},
        {"broadcast", "a cell never sends to several hosts at once"},
        {"other_protocol", "only TCP and UDP have rules: ping, SCTP and the like have none"},
    };
    const char *rule = why_text(data, "rule"), *to = why_text(data, "destination");
    const char *protocol = why_text(data, "protocol");
    struct endpoint_addr e;
    char text[ADDR_TEXT_MAX];
    (void)snprintf(f->reason, sizeof(f->reason), "dropped by the rule \"%.100s\" of the cell's network",
                   rule);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rule, rows[i].rule) == 0) {
            (void)snprintf(f->never, sizeof(f->never), "%s", rows[i].never);
            return;
        }
    bool has = addr_endpoint_parse(str_of(to), 0, &e) == 0;
    const char *cannot = has ? why_never_address(&e.addr) : NULL;
    if (w->no_network)
        (void)snprintf(f->never, sizeof(f->never),
                       "the cell has no network: the operator chose the mode \"none\" (--network intercept)");
    else if (cannot)
        (void)snprintf(f->never, sizeof(f->never), "%s", cannot);
    else if (has && (strcmp(protocol, "tcp") == 0 || strcmp(protocol, "udp") == 0)) {
        const char *name = json_string_value(json_object_get(w->names, addr_format(&e.addr, text)));
        why_advise_rule(f, name ? name : text, e.port, protocol);
    } else
        (void)snprintf(f->never, sizeof(f->never), "no rule leads there");
}

/* Each flow has an event of its own as it begins, as far as the rate limit lets it, and each rule its totals
 * at the end: what the flows did not tell goes to the one finding they became, or becomes one itself. */
static uint64_t told_before(const struct why_report *w, const char *rule)
{
    return (uint64_t)json_integer_value(json_array_get(json_object_get(w->told, rule), 0));
}

static void tell(struct why_report *w, const char *rule, uint64_t packets, json_t *finding)
{
    json_t *row = json_object_get(w->told, rule);
    size_t i;
    const json_t *known;
    if (!row && json_object_set_new(w->told, rule, row = json_pack("[I]", (json_int_t)0)) < 0)
        return;
    json_t *sum = json_array_get(row, 0);
    (void)json_integer_set(sum, json_integer_value(sum) + (json_int_t)packets);
    json_array_foreach(row, i, known)
    {
        if (known == finding)
            return;
    }
    (void)json_array_append(row, finding);
}

/* True when the rest of the totals was counted to the only finding of that rule. */
static bool count_rest(const struct why_report *w, const char *rule, uint64_t rest)
{
    const json_t *row = json_object_get(w->told, rule);
    if (json_array_size(row) != 2)
        return false;
    json_t *count = json_object_get(json_array_get(row, 1), "count");
    return json_integer_set(count, json_integer_value(count) + (json_int_t)rest) == 0;
}

static void see_flow(struct why_report *w, const json_t *data, struct str time)
{
    const char *rule = why_text(data, "rule"), *to = why_text(data, "destination");
    struct why_finding f = {
        .kind = "flow", .by = "netd", .code = why_text(data, "reasonCode"), .count = number(data, "packets")};
    uint64_t before = told_before(w, rule);
    if (strcmp(why_text(data, "action"), "deny") != 0 || (!to[0] && f.count <= before) || f.count == 0)
        return;
    if (!to[0] && before > 0 && count_rest(w, rule, f.count - before))
        return;
    if (!to[0])
        f.count -= before;
    if (to[0])
        (void)snprintf(f.what, sizeof(f.what), "%.16s packet to %.60s", why_text(data, "protocol"), to);
    else
        (void)snprintf(f.what, sizeof(f.what), "%spackets that the rule \"%.100s\" names",
                       before ? "further " : "", rule);
    explain_drop(w, data, &f);
    uint64_t packets = f.count;
    json_t *finding = why_add(w, &f, time);
    if (to[0] && finding)
        tell(w, rule, packets, finding);
}

/* ---- the rest ---- */

static void see_syscall(struct why_report *w, const json_t *data, struct str time)
{
    struct why_finding f = {.kind = "syscall",
                            .by = "the kernel (seccomp)",
                            .count = number(data, "count"),
                            .reason = "refused by the core filter that every cell has",
                            .never = "no rule of a spec can allow it: it would reach past the cell's walls"};
    const char *family = why_text(data, "family");
    (void)snprintf(f.what, sizeof(f.what), "system call %.32s%s%.32s", why_text(data, "syscall"),
                   family[0] ? " " : "", family);
    why_add(w, &f, time);
}

static void see_rejected(struct why_report *w, const json_t *data, struct str time)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(data, "violations"), i, v)
    {
        struct why_finding f = {
            .kind = "spec", .by = "the supervisor", .code = why_text(v, "rule"), .count = 1};
        (void)snprintf(f.what, sizeof(f.what), "%.256s", why_text(v, "path"));
        (void)snprintf(f.reason, sizeof(f.reason), "%.500s", why_text(v, "message"));
        (void)snprintf(f.never, sizeof(f.never),
                       "the document breaks a rule, so nothing was started: correct it");
        why_add(w, &f, time);
    }
}

/* What is not in the log has no effect: a claim that signerd refused is a decision that became a denial. */
static void see_refused(struct why_report *w, const json_t *data, struct str time)
{
    struct why_finding f = {.kind = "log",
                            .by = "signerd",
                            .count = number(data, "count"),
                            .never =
                                "no rule of a spec can allow it: what the log does not take does not happen"};
    (void)snprintf(f.what, sizeof(f.what), "event %.80s of %.16s (%.256s)", why_text(data, "type"),
                   why_text(data, "role"), why_text(data, "reason"));
    (void)snprintf(f.reason, sizeof(f.reason), "not taken into the log");
    why_add(w, &f, time);
}

void why_see_other(struct why_report *w, struct str suffix, const json_t *data, struct str time)
{
    if (str_is(suffix, "observability.v1.network_flow_decision"))
        see_flow(w, data, time);
    else if (str_is(suffix, "observability.v1.syscall_denied"))
        see_syscall(w, data, time);
    else if (str_is(suffix, "lifecycle.v1.rejected"))
        see_rejected(w, data, time);
    else if (str_is(suffix, "log.v1.claim_refused") && strcmp(why_text(data, "role"), "supervisor") != 0)
        see_refused(w, data, time);
    else if (str_is(suffix, "observability.v1.gap"))
        w->lost += number(data, "lost");
    else if (str_is(suffix, "lifecycle.v1.destroyed"))
        w->ended = true;
    else if (str_is(suffix, "observability.v1.network_scope"))
        w->no_network = strcmp(why_text(data, "mode"), "none") == 0;
}
