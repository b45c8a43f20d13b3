/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/work_result.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "supervisor/spec/violation.h"

static int set(json_t *o, const char *key, json_t *v)
{
    return v ? json_object_set_new(o, key, v) : -1;
}

/* What is not UTF-8 is escaped: a reason may quote a foreign byte. */
static int set_text(json_t *o, const char *key, const char *text)
{
    char safe[4 * LIMIT_ERROR_TEXT + 1];
    if (!text || !text[0])
        return 0;
    json_t *v = json_string(text);
    return set(o, key, v ? v : json_string(str_escape(safe, sizeof(safe), text, strlen(text))));
}

static int set_ended(json_t *o, const struct suite_outcome *e)
{
    int r = 0;
    uint64_t denied = e->l7_denied + e->dns_denied;
    if (e->result == RUN_EXITED)
        r |= set(o, "exitCode", json_integer(e->exit_code));
    if (e->result == RUN_SIGNALED)
        r |= set(o, "signal", json_integer(e->signal));
    r |= set(o, "denied", json_integer((json_int_t)denied));
    return r | set_text(o, "checkpoint", e->checkpoint);
}

/* The log that the cell's events are in: its origin is the first line of every checkpoint. */
static int set_log(json_t *o, const struct work_result *r)
{
    char origin[sizeof(r->ended->checkpoint)] = "";
    if (r->ended)
        snprintf(origin, sizeof(origin), "%.*s", (int)strcspn(r->ended->checkpoint, "\n"),
                 r->ended->checkpoint);
    json_t *log = json_object();
    int bad = set_text(log, "origin", origin);
    bad |= set_text(log, "path", r->log_path);
    return set(o, "log", log) | bad;
}

static int set_output(json_t *o, const struct output *out)
{
    const struct output_file *f = out->files;
    uint64_t dropped = f[0].dropped + f[1].dropped;
    return set(o, "output",
               json_pack("{s:I, s:I, s:I}", "stdoutBytes", (json_int_t)f[0].written, "stderrBytes",
                         (json_int_t)f[1].written, "droppedBytes", (json_int_t)dropped));
}

static int set_violations(json_t *o, const struct violations *v)
{
    json_t *list = json_array();
    int bad = set(o, "violations", list);
    for (size_t i = 0; bad == 0 && i < v->n; i++) {
        json_t *one = json_object();
        bad = json_array_append_new(list, one);
        bad |= set_text(one, "path", v->v[i].path);
        bad |= set_text(one, "message", v->v[i].message);
    }
    return bad;
}

static int fill(json_t *o, const struct work_result *r)
{
    char time[CLOCK_RFC3339_LEN + 1] = "";
    int bad = set_text(o, "job", r->job) | set_text(o, "externalRunId", r->external_run_id);
    bad |= set_text(o, "runId", r->run_id) | set_text(o, "host", r->host);
    bad |= set(o, "delivery", json_integer((json_int_t)r->delivery));
    bad |= set_text(o, "outcome", r->outcome) | set_text(o, "reason", r->reason);
    bad |= set(o, "final", json_boolean(r->final)) | set_text(o, "specDigest", r->spec_digest);
    if (clock_format_rfc3339(clock_realtime_ms() / 1000, time) == 0)
        bad |= set_text(o, "time", time);
    if (r->ended)
        bad |= set_ended(o, r->ended);
    if (r->log_path)
        bad |= set_log(o, r);
    if (r->output)
        bad |= set_output(o, r->output);
    if (r->violations && r->violations->n > 0)
        bad |= set_violations(o, r->violations);
    return bad;
}

static void object_unref(json_t **o)
{
    json_decref(*o);
}

char *work_result_text(const struct work_result *r)
{
    _cleanup_(object_unref) json_t *o = json_object();
    return fill(o, r) == 0 ? json_dumps(o, JSON_COMPACT) : NULL;
}
