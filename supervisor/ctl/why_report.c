/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "proto/redact.h"
#include "supervisor/ctl/why.h"

const char *why_text(const json_t *data, const char *key)
{
    const char *s = json_string_value(json_object_get(data, key));
    return s ? s : "";
}

/* ---- advice ---- */

void why_advise_entry(struct why_finding *f, const char *path, json_t *entry)
{
    (void)snprintf(f->path, sizeof(f->path), "%s", path);
    json_decref(f->entry);
    f->entry = entry;
}

/* The operator had the log say less than a rule needs. */
static bool is_redacted(struct why_finding *f, const char *text)
{
    if (text[0] && strcmp(text, REDACT_SHOWN) != 0)
        return false;
    (void)snprintf(f->never, sizeof(f->never),
                   "the log does not say for what: it was redacted (lifecycle.v1.started says what was)");
    return true;
}

void why_advise_rule(struct why_finding *f, const char *host, unsigned port, const char *protocol)
{
    if (is_redacted(f, port ? host : ""))
        return;
    bool v6 = strchr(host, ':') != NULL;
    (void)snprintf(f->flag, sizeof(f->flag), "--allow %s%.260s%s:%u%s%s", v6 ? "[" : "", host, v6 ? "]" : "",
                   port, protocol ? "/" : "", protocol ? protocol : "");
    f->rule = true;
    why_advise_entry(f, "spec.authority.egressRules",
                     json_pack("{s:s, s:i, s:s*}", "host", host, "port", (int)port, "protocol", protocol));
}

void why_advise_answer(struct why_finding *f, const char *host, const char *address)
{
    if (is_redacted(f, host))
        return;
    (void)snprintf(f->flag, sizeof(f->flag), "--allow-answer %.260s:%.60s", host, address);
    why_advise_entry(f, "spec.authority.dnsAuthority.rebindingPolicy.responseIpAllowlist",
                     json_sprintf("%s:%s", host, address));
}

const char *why_never_address(const struct addr *a)
{
    switch (addr_classify(a)) {
    case ADDR_METADATA:
        return "a cloud metadata address: only the operator's configuration can allow it "
               "(network.metadataAddresses)";
    case ADDR_MULTICAST:
        return "a multicast address: a cell never sends to several hosts at once";
    case ADDR_UNSPECIFIED:
        return "an address that stands for no host";
    default:
        return NULL;
    }
}

/* ---- the report ---- */

int why_report_init(struct why_report *w)
{
    *w = (struct why_report){
        .findings = json_array(), .index = json_object(), .names = json_object(), .told = json_object()};
    return w->findings && w->index && w->names && w->told ? 0 : -ENOMEM;
}

void why_report_done(struct why_report *w)
{
    json_decref(w->findings);
    json_decref(w->index);
    json_decref(w->names);
    json_decref(w->told);
    *w = (struct why_report){.findings = NULL};
}

json_t *why_json(const struct why_report *w)
{
    return json_pack("{s:s, s:s, s:b, s:O, s:I, s:I}", "runId", w->run, "cellId", w->cell, "ended", w->ended,
                     "denials", w->findings, "further", (json_int_t)w->more, "lostEvents",
                     (json_int_t)w->lost);
}

static void count_up(json_t *o, uint64_t n)
{
    json_t *count = json_object_get(o, "count");
    (void)json_integer_set(count, json_integer_value(count) + (json_int_t)n);
}

/* Processes that asked, each once. */
static void add_process(json_t *o, const json_t *process)
{
    json_t *list = json_object_get(o, "processes"), *one;
    char text[WHY_TEXT_MAX];
    size_t i;
    const json_t *pid = json_object_get(process, "pid");
    if (!json_is_integer(pid))
        return; /* unknown */
    (void)snprintf(text, sizeof(text), "%.255s (pid %" JSON_INTEGER_FORMAT ")", why_text(process, "exe"),
                   json_integer_value(pid));
    json_array_foreach(list, i, one)
    {
        if (strcmp(json_string_value(one), text) == 0)
            return;
    }
    if (i < WHY_PROCESSES_MAX)
        (void)json_array_append_new(list, json_string(text));
}

static json_t *finding_json(const struct why_finding *f, struct str time)
{
    json_t *o = json_pack("{s:s, s:s, s:s*, s:s, s:s, s:I, s:s%, s:[]}", "kind", f->kind, "by", f->by,
                          "reasonCode", f->code, "what", f->what, "reason", f->reason, "count",
                          (json_int_t)f->count, "first", time.p ? time.p : "", time.len, "processes");
    if (o && f->flag[0])
        (void)json_object_set_new(o, "flag", json_string(f->flag));
    if (o && f->flag[0])
        (void)json_object_set_new(o, "rule", json_boolean(f->rule));
    if (o && f->path[0] && f->entry)
        (void)json_object_set_new(o, "spec", json_pack("{s:s, s:O}", "path", f->path, "entry", f->entry));
    if (o && f->never[0])
        (void)json_object_set_new(o, "never", json_string(f->never));
    return o;
}

json_t *why_add(struct why_report *w, struct why_finding *f, struct str time)
{
    char key[3 * WHY_TEXT_MAX];
    (void)snprintf(key, sizeof(key), "%s|%s|%s|%s", f->kind, f->code ? f->code : "", f->what, f->flag);
    json_t *at = json_object_get(w->index, key);
    json_t *o = at ? json_array_get(w->findings, (size_t)json_integer_value(at)) : NULL;
    if (!at && json_array_size(w->findings) >= WHY_FINDINGS_MAX) {
        w->more += f->count;
    } else if (!at) {
        json_t *position = json_integer((json_int_t)json_array_size(w->findings));
        o = finding_json(f, time);
        w->failed = w->failed || !o || json_array_append_new(w->findings, o) < 0 ||
                    json_object_set_new(w->index, key, position) < 0;
    } else {
        count_up(o, f->count);
    }
    if (o && f->process)
        add_process(o, f->process);
    json_decref(f->entry);
    f->entry = NULL;
    return o;
}
