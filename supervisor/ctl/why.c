/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/why.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/events.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logwalk.h"
#include "supervisor/ctl/run_find.h"

#define WHY_HELP                                                                                             \
    "usage: cellctl why [RUN] [--json]\n\n"                                                                  \
    "Shows what a run was denied: what was asked and by whom, who refused it and why, and the exact line\n"  \
    "that would allow it, as a flag of `cellctl run` and as an entry of a spec; or why no rule could.\n"     \
    "RUN is a run id, the end of one, a cell's name (its newest run), or the path of a log; without it\n"    \
    "the newest run of this user.\n\n"                                                                       \
    "  --json  one JSON object\n\n"                                                                          \
    "Equal denials are counted, the time is that of the first. Only what the last checkpoint covers is\n"    \
    "seen. Exit status: 0, also when nothing was denied; 1 usage, 2 no such run, 4 the log is not whole.\n"

static void note_run(struct why_report *w, const struct envelope *e)
{
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;
    if (w->run[0] || !e->runid.p)
        return;
    (void)snprintf(w->run, sizeof(w->run), "%.*s", (int)e->runid.len, e->runid.p);
    if (e->subject.len > urn)
        (void)snprintf(w->cell, sizeof(w->cell), "%.*s", (int)(e->subject.len - urn), e->subject.p + urn);
}

void why_see(struct why_report *w, const struct envelope *e)
{
    const size_t prefix = sizeof(EVENT_TYPE_PREFIX) - 1;
    if (e->type.len <= prefix || memcmp(e->type.p, EVENT_TYPE_PREFIX, prefix) != 0)
        return;
    struct str suffix = {e->type.p + prefix, e->type.len - prefix};
    json_t *data = json_loadb(e->data.p, e->data.len, JSON_REJECT_DUPLICATES, NULL);
    note_run(w, e);
    if (str_is(suffix, "observability.v1.l7_egress_decision"))
        why_see_l7(w, data, e->time);
    else if (str_is(suffix, "observability.v1.dns_query") || str_is(suffix, "observability.v1.dns_answer"))
        why_see_dns(w, suffix, data, e->time);
    else
        why_see_other(w, suffix, data, e->time);
    json_decref(data);
}

static int see(void *self, const struct envelope *e)
{
    struct why_report *w = self;
    why_see(w, e);
    return w->failed ? LOGWALK_STOP : LOGWALK_ON;
}

/* ---- print ---- */

static void put(const char *label, const char *text)
{
    char safe[4 * WHY_TEXT_MAX];
    (void)printf("   %-10s %s\n", label, str_escape(safe, sizeof(safe), text, strlen(text)));
}

static void put_entry(const json_t *spec)
{
    char line[2 * WHY_TEXT_MAX];
    char *entry =
        json_dumps(json_object_get(spec, "entry"), JSON_ENCODE_ANY | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
    (void)snprintf(line, sizeof(line), "%s: %s", why_text(spec, "path"), entry ? entry : "");
    (void)fputs("   in a spec  ", stdout);
    for (const char *p = line; *p; p++) /* JSON text in ASCII: no control character but, perhaps, DEL */
        (void)putchar((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p);
    (void)putchar('\n');
    free(entry);
}

static void put_processes(const json_t *list)
{
    char line[4 * WHY_TEXT_MAX] = "";
    size_t i, len = 0;
    const json_t *one;
    json_array_foreach(list, i, one)
    {
        len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%.280s", i ? ", " : "",
                                json_string_value(one));
    }
    if (line[0])
        put("asked by", line);
}

static void put_finding(size_t i, const json_t *o)
{
    char safe[4 * WHY_TEXT_MAX], by[2 * WHY_TEXT_MAX];
    const char *code = why_text(o, "reasonCode"), *what = why_text(o, "what");
    json_int_t count = json_integer_value(json_object_get(o, "count"));
    (void)printf("\n%zu. %s, ", i + 1, str_escape(safe, sizeof(safe), what, strlen(what)));
    if (count > 1)
        (void)printf("%" JSON_INTEGER_FORMAT " times, first ", count);
    (void)printf("%s\n", why_text(o, "first"));
    (void)snprintf(by, sizeof(by), "%s: %s%s%s%s", why_text(o, "by"), why_text(o, "reason"),
                   code[0] ? " (" : "", code, code[0] ? ")" : "");
    put("refused by", by);
    put_processes(json_object_get(o, "processes"));
    if (why_text(o, "flag")[0])
        put("add", why_text(o, "flag"));
    if (json_object_get(o, "spec"))
        put_entry(json_object_get(o, "spec"));
    if (why_text(o, "never")[0])
        put("no rule", why_text(o, "never"));
}

static bool has_live_rule(const struct why_report *w)
{
    size_t i;
    const json_t *o;
    json_array_foreach(w->findings, i, o)
    {
        if (json_is_true(json_object_get(o, "rule")))
            return true;
    }
    return false;
}

static void print_text(const struct why_report *w)
{
    size_t n = json_array_size(w->findings), i;
    const json_t *o;
    char safe[256];
    (void)printf("run %s  cell %s: ", w->run, str_escape(safe, sizeof(safe), w->cell, strlen(w->cell)));
    if (n == 0)
        (void)puts("nothing was denied");
    else
        (void)printf("%zu kind%s of denial\n", n, n == 1 ? "" : "s");
    json_array_foreach(w->findings, i, o)
    {
        put_finding(i, o);
    }
    if (w->more)
        (void)printf("\nand %" PRIu64 " further denials: `cellctl events` has them\n", w->more);
    if (w->lost)
        (void)printf("\n%" PRIu64
                     " events were left out of the log by a rate limit; what they denied is not here\n",
                     w->lost);
    if (n > 0 && !w->ended && has_live_rule(w))
        (void)printf("\nThe run goes on: `cellctl policy %s --add RULE` adds the RULE of an --allow now.\n",
                     w->run);
}

static int print_json(const struct why_report *w)
{
    json_t *root = why_json(w);
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    if (!text)
        return ctl_fail(CTL_FAILED, "why", "out of memory");
    (void)puts(text);
    free(text);
    return CTL_OK;
}

/* ---- the verb ---- */

static int report(const char *path, bool json)
{
    struct why_report w = {.findings = NULL};
    int r = why_report_init(&w) == 0 ? logwalk("why", path, see, &w)
                                     : ctl_fail(CTL_FAILED, "why", "out of memory");
    if (r == CTL_OK && w.failed)
        r = ctl_fail(CTL_FAILED, "why", "out of memory");
    if (r == CTL_OK && json)
        r = print_json(&w);
    else if (r == CTL_OK)
        print_text(&w);
    why_report_done(&w);
    return r;
}

static int why_run(int argc, char **argv)
{
    const char *run = NULL;
    bool json = false;
    char path[PATH_MAX];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (argv[i][0] == '-')
            return ctl_fail(CTL_USAGE, "why", "unknown flag %s: see `cellctl why --help`", argv[i]);
        else if (run)
            return ctl_fail(CTL_USAGE, "why", "one run only, %s is a second one", argv[i]);
        else
            run = argv[i];
    }
    int r = run_find_log("why", run, path);
    return r == CTL_OK ? report(path, json) : r;
}

const struct ctl_verb ctl_verb_why = {
    "why",
    "what a run was denied, and which line would allow it",
    WHY_HELP,
    why_run,
};
