/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/events_format.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/uuid.h"
#include "proto/events.h"
#include "supervisor/ctl/events_filter.h"
#include "supervisor/ctl/events_text.h"
#include "supervisor/ctl/report_rows.h"
#include "supervisor/ctl/term.h"

#define VALUE_COLUMNS 200u /* of one value where the width does not bound it */
#define NAME_COLUMNS  21   /* of a type's short name */
#define TAG_LEN       6    /* of a run id's end, before a line */
#define DESTROYED     "lifecycle.v1.destroyed"

/* ---- runs ---- */

static struct events_run *find_run(struct events_format *f, struct str id)
{
    for (size_t i = f->n; id.p && i-- > 0;)
        if (str_is(id, f->runs[i].id))
            return &f->runs[i];
    return NULL;
}

static int add_run(struct events_format *f, const struct envelope *e, struct events_run **ret)
{
    if (f->n == EVENTS_RUNS_MAX) /* the oldest one never ended */
        memmove(f->runs, f->runs + 1, --f->n * sizeof(*f->runs));
    if ((f->n & (f->n - 1)) == 0) { /* grows at every power of two */
        struct events_run *more = reallocarray(f->runs, f->n ? 2 * f->n : 1, sizeof(*more));
        if (!more)
            return -ENOMEM;
        f->runs = more;
    }
    struct events_run *r = &f->runs[f->n++];
    *r = (struct events_run){.start_ms = uuid_v7_ms(e->id)};
    (void)snprintf(r->id, sizeof(r->id), "%.*s", (int)e->runid.len, e->runid.p);
    (void)snprintf(r->start, sizeof(r->start), "%.*s", (int)e->time.len, e->time.p);
    *ret = r;
    return 0;
}

/* A kernel rule's packets in all: its flows were counted before. */
static bool is_total(struct str suffix, const json_t *data)
{
    return str_is(suffix, "observability.v1.network_flow_decision") &&
           (!json_object_get(data, "destination") || json_is_true(json_object_get(data, "ended")));
}

int events_format_see(struct events_format *f, const struct envelope *e, const json_t *data)
{
    struct events_run *r = find_run(f, e->runid);
    struct str suffix = report_suffix(e);
    if (!e->runid.p)
        return 0;
    if (!r) {
        int err = add_run(f, e, &r);
        if (err < 0)
            return err;
    }
    r->denied += report_is_denial(suffix, data) && !is_total(suffix, data);
    r->allowed += report_is_allowed(suffix, data);
    return 0;
}

/* ---- a line ---- */

static void put_heading(struct events_format *f, const struct envelope *e, struct buf *out)
{
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;
    struct events_run *r = find_run(f, e->runid);
    bool due = r && (f->tags ? !r->shown : strcmp(f->heading, r->id) != 0);
    if (r)
        r->shown = true;
    if (!due)
        return;
    buf_puts(out, f->heading[0] && !f->tags ? "\n" : "");
    (void)snprintf(f->heading, sizeof(f->heading), "%s", r->id);
    buf_puts(out, term_code(f->color, TERM_BOLD));
    buf_puts(out, "run ");
    events_text_short(out, e->runid, UUID_TEXT_LEN);
    buf_puts(out, "  cell ");
    events_text_short(
        out, e->subject.len > urn ? (struct str){e->subject.p + urn, e->subject.len - urn} : e->subject,
        VALUE_COLUMNS);
    buf_puts(out, "  ");
    buf_puts(out, r->start);
    buf_puts(out, term_code(f->color, TERM_PLAIN));
    buf_putc(out, '\n');
}

/* "lifecycle.v1.started" -> "started" */
static struct str short_name(struct str suffix)
{
    const char *dot = suffix.len ? memrchr(suffix.p, '.', suffix.len) : NULL;
    return dot ? (struct str){dot + 1, suffix.len - (size_t)(dot + 1 - suffix.p)} : suffix;
}

static struct str role_of(struct str source)
{
    const size_t start = sizeof("/cellos/") - 1;
    const char *end = source.len > start ? memchr(source.p + start, '/', source.len - start) : NULL;
    return end ? (struct str){source.p + start, (size_t)(end - source.p) - start} : source;
}

/* Seconds since the run's first event; milliseconds count only while somebody could care. */
static void put_offset(struct events_format *f, const struct envelope *e, struct buf *out)
{
    const struct events_run *r = find_run(f, e->runid);
    uint64_t ms = uuid_v7_ms(e->id);
    bool before = r && ms < r->start_ms;
    uint64_t d = !r ? 0 : before ? r->start_ms - ms : ms - r->start_ms;
    char text[32] = "";
    if (r && d >= 3600000)
        (void)snprintf(text, sizeof(text), "%c%" PRIu64 ":%02u:%02u", before ? '-' : '+', d / 3600000,
                       (unsigned)(d / 60000 % 60), (unsigned)(d / 1000 % 60));
    else if (r)
        (void)snprintf(text, sizeof(text), "%c%" PRIu64 ".%03us", before ? '-' : '+', d / 1000,
                       (unsigned)(d % 1000));
    buf_printf(out, "%10s", text);
}

static void put_tag(const struct events_format *f, const struct envelope *e, struct buf *out)
{
    struct str id = e->runid;
    if (!f->tags)
        return;
    if (id.len >= TAG_LEN)
        buf_printf(out, "%.*s ", TAG_LEN, id.p + id.len - TAG_LEN);
    else
        buf_printf(out, "%-*s ", TAG_LEN, "log");
}

static const char *decision(struct str suffix, const json_t *data)
{
    const char *action = json_string_value(json_object_get(data, "action"));
    if (report_is_denial(suffix, data))
        return "deny";
    if (action && (strcmp(action, "allow") == 0 || strcmp(action, "deny") == 0))
        return action;
    return "";
}

void events_format_line(struct events_format *f, const struct envelope *e, const json_t *data,
                        struct buf *out)
{
    _cleanup_(buf_done) struct buf fields = {.data = NULL}, name = {.data = NULL};
    struct str suffix = report_suffix(e);
    const char *action = decision(suffix, data);
    bool denied = report_is_denial(suffix, data), colored = f->color && action[0];
    unsigned width = f->width && f->width < EVENTS_WIDTH_MIN ? EVENTS_WIDTH_MIN : f->width;
    unsigned prefix = (f->tags ? TAG_LEN + 1 : 0) + 10 + 2 + 10 + 1 + NAME_COLUMNS + 1 + 5;
    unsigned room = width ? width - prefix : 0;
    char role[64];

    buf_init(&fields, EVENTS_LINE_MAX);
    buf_init(&name, EVENTS_LINE_MAX);
    put_heading(f, e, out);
    (void)str_escape(role, sizeof(role), role_of(e->source).p, role_of(e->source).len);
    events_text_short(&name, short_name(suffix), 40);
    events_text_fields(&fields, suffix, data, e->data, room ? (room > 72 ? room / 3 : 24) : VALUE_COLUMNS);
    put_tag(f, e, out);
    put_offset(f, e, out);
    buf_printf(out, "  %s%-10s%s %s%-*.*s%s ", term_code(f->color, TERM_DIM), role,
               term_code(f->color, TERM_PLAIN), term_code(f->color && denied, TERM_BOLD), NAME_COLUMNS,
               (int)name.len, name.data ? (const char *)name.data : "",
               term_code(f->color && denied, TERM_PLAIN));
    buf_printf(out, "%s%s%-5s%s", term_code(colored && denied, TERM_BOLD),
               term_code(colored, strcmp(action, "deny") == 0 ? TERM_RED : TERM_GREEN), action,
               term_code(colored, TERM_PLAIN));
    if (room)
        events_text_cut(out, buf_str(&fields), room);
    else
        buf_put_str(out, buf_str(&fields));
    buf_putc(out, '\n');
}

/* ---- the end of a run ---- */

static void put_duration(struct buf *out, uint64_t ms)
{
    if (ms < 60000)
        buf_printf(out, "%" PRIu64 ".%03u s", ms / 1000, (unsigned)(ms % 1000));
    else if (ms < 3600000)
        buf_printf(out, "%" PRIu64 " min %u s", ms / 60000, (unsigned)(ms / 1000 % 60));
    else
        buf_printf(out, "%" PRIu64 " h %u min", ms / 3600000, (unsigned)(ms / 60000 % 60));
}

static void put_summary(struct events_format *f, const struct events_run *r, const struct envelope *e,
                        const json_t *data, struct buf *out)
{
    const char *outcome = json_string_value(json_object_get(data, "outcome"));
    const char *state = json_string_value(json_object_get(data, "terminalState"));
    bool good = outcome && strcmp(outcome, "succeeded") == 0;
    uint64_t ms = uuid_v7_ms(e->id);
    put_tag(f, e, out);
    buf_printf(out, "%10s  %s%s", "=", term_code(f->color, TERM_BOLD),
               term_code(f->color, good ? TERM_GREEN : TERM_RED));
    events_text_short(out, str_of(outcome ? outcome : "ended"), 40);
    buf_puts(out, term_code(f->color, TERM_PLAIN));
    buf_puts(out, " after ");
    put_duration(out, ms > r->start_ms ? ms - r->start_ms : 0);
    if (state && strcmp(state, "clean") != 0) {
        buf_puts(out, ", teardown ");
        events_text_short(out, str_of(state), 40);
    }
    buf_printf(out, ", %" PRIu64 " allowed, %s%" PRIu64 " denied%s\n", r->allowed,
               term_code(f->color && r->denied, TERM_RED), r->denied,
               term_code(f->color && r->denied, TERM_PLAIN));
}

bool events_format_end(struct events_format *f, const struct envelope *e, const json_t *data, struct buf *out)
{
    struct events_run *r = find_run(f, e->runid);
    if (!r || !str_is(report_suffix(e), DESTROYED))
        return false;
    if (r->shown)
        put_summary(f, r, e, data, out);
    size_t at = (size_t)(r - f->runs);
    memmove(r, r + 1, (--f->n - at) * sizeof(*r));
    return true;
}

void events_format_done(struct events_format *f)
{
    free(f->runs);
    f->runs = NULL;
    f->n = 0;
}
