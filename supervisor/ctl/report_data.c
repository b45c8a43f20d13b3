/* SPDX-License-Identifier: MIT */
/* Three passes over the log: which run, what it holds (counts, advice, egress rows), and the lines that go
 * into the page. */
#include "supervisor/ctl/report_data.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/evidence/sidecar.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logwalk.h"
#include "supervisor/ctl/report_rows.h"
#include "supervisor/ctl/run_find.h"

/* ---- which run ---- */

struct newest {
    const char *want; /* a run as people name it, or a cell; NULL: any */
    struct report *r;
    char other[UUID_TEXT_LEN + 1]; /* a run that is there too */
    bool several;
};

static bool is_wanted(const char *want, const struct envelope *e)
{
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;
    char run[UUID_TEXT_LEN + 1];
    (void)snprintf(run, sizeof(run), "%.*s", (int)e->runid.len, e->runid.p);
    return !want || run_find_matches(run, want) ||
           (e->subject.len > urn && str_is((struct str){e->subject.p + urn, e->subject.len - urn}, want));
}

static int see_newest(void *self, const struct log_line *line, const struct envelope_line *l)
{
    struct newest *n = self;
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;
    const struct envelope *e = &l->e;
    (void)line;
    if (!e->runid.p)
        return LOGWALK_ON;
    n->several = n->several || (n->other[0] && !str_is(e->runid, n->other));
    (void)snprintf(n->other, sizeof(n->other), "%.*s", (int)e->runid.len, e->runid.p);
    if (!is_wanted(n->want, e))
        return LOGWALK_ON;
    (void)snprintf(n->r->run, sizeof(n->r->run), "%s", n->other);
    if (e->subject.len > urn)
        (void)snprintf(n->r->cell, sizeof(n->r->cell), "%.*s", (int)(e->subject.len - urn),
                       e->subject.p + urn);
    return LOGWALK_ON;
}

static int find_run(struct report *r, const char *want)
{
    struct newest n = {.want = want, .r = r};
    int e = logwalk_lines("report", r->path, r->head, see_newest, &n);
    if (e != CTL_OK)
        return e;
    r->whole = !n.several;
    if (!r->run[0] && want)
        return ctl_fail(CTL_FAILED, "report", "no run or cell %s in %s", want, r->path);
    return r->run[0] ? CTL_OK : ctl_fail(CTL_FAILED, "report", "%s has no event of a run yet", r->path);
}

/* ---- what it holds ---- */

struct load {
    struct report *r;
    uint64_t of_class[_REPORT_CLASS_MAX]; /* events of the run, then how many of them are to be taken */
    uint64_t first, last;                 /* sequences of the run's first and last event */
    uint64_t bytes;
    bool any, failed;
    struct sidecar_reader *sidecar; /* of the last pass */
};

/* The lines of the run; of the log's own events all when the log is the run's, else those from its time, and
 * what accounts for a pruned beginning. */
static bool is_ours(const struct load *l, const struct envelope *e, bool counting)
{
    if (e->runid.p)
        return str_is(e->runid, l->r->run);
    if (l->r->whole || str_is(report_suffix(e), "log.v1.pruned"))
        return l->r->whole || !counting;
    return !counting && e->sequence >= l->first && e->sequence <= l->last;
}

static enum report_class class_of(struct str suffix, const json_t *data)
{
    static const char *const common[] = {
        "observability.v1.dns_query",
        "observability.v1.dns_answer",
        "observability.v1.l7_egress_decision",
        "observability.v1.network_flow_decision",
    };
    for (size_t i = 0; i < ARRAY_LEN(common); i++)
        if (str_is(suffix, common[i]))
            return report_is_denial(suffix, data) ? REPORT_DENIED : REPORT_ALLOWED;
    return REPORT_RARE;
}

static struct report_count *count_of(struct report *r, struct str suffix, const char *action)
{
    for (size_t i = 0; i < r->ncounts; i++)
        if (str_is(suffix, r->counts[i].type) && strcmp(action, r->counts[i].action) == 0)
            return &r->counts[i];
    if (r->ncounts == REPORT_TYPES_MAX)
        return NULL;
    struct report_count *c = &r->counts[r->ncounts++];
    (void)snprintf(c->type, sizeof(c->type), "%.*s", (int)(suffix.len < 60 ? suffix.len : 60), suffix.p);
    (void)snprintf(c->action, sizeof(c->action), "%.7s", action);
    return c;
}

static void keep_data(struct load *l, struct str suffix, json_t *data, const struct envelope *e)
{
    static const char *const listed[] = {
        "observability.v1.gap",
        "log.v1.claim_refused",
        "log.v1.recovered",
        "log.v1.pruned",
        "lifecycle.v1.policy_changed",
        "identity.v1.materialized",
        "lifecycle.v1.rejected",
        "identity.v1.revoked",
        "lifecycle.v1.residue_removed",
        "observability.v1.syscall_denied",
    };
    char name[96];
    (void)snprintf(name, sizeof(name), "%.*s", (int)(suffix.len < 95 ? suffix.len : 95), suffix.p);
    if (!json_object_get(l->r->first, name))
        l->failed = l->failed || json_object_set(l->r->first, name, data) < 0;
    for (size_t i = 0; i < ARRAY_LEN(listed); i++) {
        if (strcmp(name, listed[i]) != 0)
            continue;
        json_t *list = json_object_get(l->r->lists, name);
        if (!list && json_object_set_new(l->r->lists, name, list = json_array()) < 0)
            l->failed = true;
        else if (json_array_size(list) < REPORT_LIST_MAX)
            l->failed =
                l->failed ||
                json_array_append_new(list, json_pack("{s:s%, s:I, s:O}", "time", e->time.p, e->time.len,
                                                      "sequence", (json_int_t)e->sequence, "data", data)) < 0;
    }
}

static void keep_row(struct load *l, struct str suffix, const json_t *data, const struct envelope *e)
{
    json_t *row = report_row(suffix, data, e->time, e->sequence);
    if (!row)
        return;
    if (!json_is_true(json_object_get(row, "internal"))) {
        if (strcmp(why_text(row, "action"), "deny") == 0)
            l->r->denied++;
        else
            l->r->allowed++;
    }
    if (json_array_size(l->r->rows) >= REPORT_EVENTS_MAX) {
        l->r->rows_left_out++;
        json_decref(row);
    } else {
        l->failed = l->failed || json_array_append_new(l->r->rows, row) < 0;
    }
}

static int see_count(void *self, const struct log_line *line, const struct envelope_line *parsed)
{
    static const char redacted[] = "\"[redacted]\"";
    struct load *l = self;
    struct report *r = l->r;
    const struct envelope *e = &parsed->e;
    if (!is_ours(l, e, true))
        return LOGWALK_ON;
    if (e->runid.p) {
        (void)snprintf(r->last, sizeof(r->last), "%.*s", (int)e->time.len, e->time.p);
        if (!l->any)
            (void)snprintf(r->began, sizeof(r->began), "%s", r->last);
        l->first = l->any ? l->first : e->sequence;
        l->last = e->sequence;
        l->any = true;
    }
    struct str suffix = report_suffix(e);
    json_t *data = json_loadb(e->data.p, e->data.len, JSON_REJECT_DUPLICATES, NULL);
    struct report_count *c = count_of(r, suffix, why_text(data, "action"));
    if (c)
        c->count++;
    r->total++;
    r->redacted += memmem(e->data.p, e->data.len, redacted, sizeof(redacted) - 1) != NULL;
    l->of_class[class_of(suffix, data)]++;
    l->bytes += line->text.len;
    if (data) {
        keep_data(l, suffix, data, e);
        keep_row(l, suffix, data, e);
    }
    json_decref(data);
    why_see(&r->why, e);
    return l->failed || r->why.failed ? LOGWALK_STOP : LOGWALK_ON;
}

/* How many of each class a page takes. */
static void share(struct load *l)
{
    uint64_t room = REPORT_EVENTS_MAX;
    if (l->bytes > REPORT_BYTES_MAX && l->r->total > 0) {
        uint64_t mean = l->bytes / l->r->total + 1;
        room = REPORT_BYTES_MAX / mean < room ? REPORT_BYTES_MAX / mean : room;
    }
    for (size_t i = 0; i < _REPORT_CLASS_MAX; i++) {
        if (l->of_class[i] > room) {
            l->of_class[i] = room;
            l->r->cut = true;
        }
        room -= l->of_class[i];
    }
}

/* ---- the lines ---- */

/* The line as it is shown to others: with the event's own signature, where it has one by now. */
static int keep_line(struct load *l, const struct log_line *line, const struct envelope_line *parsed)
{
    _cleanup_(buf_done) struct buf sealed = {.data = NULL};
    struct report *r = l->r;
    struct report_event *e = &r->events[r->n];
    buf_init(&sealed, ENVELOPE_LINE_MAX);
    *e = (struct report_event){.sequence = parsed->e.sequence, .bare = !parsed->dssematerial.p};
    int err = e->bare ? sidecar_sealed_line(l->sidecar, line, &r->head->trust.ring, &sealed) : -ENODATA;
    struct str text = err == 0 ? buf_str(&sealed) : line->text;
    if (err == -ENOMEM)
        return err;
    e->line = str_dup(text);
    e->len = text.len;
    r->n += e->line != NULL;
    return e->line ? 0 : -ENOMEM;
}

static int see_take(void *self, const struct log_line *line, const struct envelope_line *parsed)
{
    struct load *l = self;
    struct report *r = l->r;
    const struct envelope *e = &parsed->e;
    if (!is_ours(l, e, false))
        return LOGWALK_ON;
    struct str suffix = report_suffix(e);
    json_t *data = json_loadb(e->data.p, e->data.len, JSON_REJECT_DUPLICATES, NULL);
    uint64_t *left = &l->of_class[class_of(suffix, data)];
    struct report_count *c = count_of(r, suffix, why_text(data, "action"));
    json_decref(data);
    /* The log's own events come on top: they were not counted in a log of many runs. */
    if ((e->runid.p || r->whole) && *left == 0)
        return LOGWALK_ON;
    r->total += !(e->runid.p || r->whole);
    if ((r->n & (r->n - 1)) == 0) { /* grows at every power of two */
        struct report_event *more = reallocarray(r->events, r->n ? 2 * r->n : 1, sizeof(*more));
        if (!more) {
            l->failed = true;
            return LOGWALK_STOP;
        }
        r->events = more;
    }
    if (keep_line(l, line, parsed) < 0) {
        l->failed = true;
        return LOGWALK_STOP;
    }
    *left -= *left > 0 && (e->runid.p || r->whole);
    if (c)
        c->embedded++;
    return LOGWALK_ON;
}

static int take_lines(struct load *l)
{
    int err = sidecar_reader_new(l->r->head->fd, &l->sidecar);
    if (err < 0)
        return ctl_fail(CTL_FAILED, "report", "cannot read %s: %s", l->r->path, strerrordesc_np(-err));
    int e = logwalk_lines("report", l->r->path, l->r->head, see_take, l);
    l->sidecar = sidecar_reader_free(l->sidecar);
    return e;
}

int report_open(struct report *r, const char *path)
{
    (void)snprintf(r->path, sizeof(r->path), "%s", path);
    return loghead_open("report", path, &r->head);
}

int report_load(struct report *r, const char *path, const char *run)
{
    struct load l = {.r = r};
    r->first = json_object();
    r->lists = json_object();
    r->rows = json_array();
    int e = r->first && r->lists && r->rows && why_report_init(&r->why) == 0
                ? CTL_OK
                : ctl_fail(CTL_FAILED, "report", "out of memory");
    if (e == CTL_OK)
        e = find_run(r, run);
    if (e == CTL_OK)
        e = logwalk_lines("report", path, r->head, see_count, &l);
    if (e == CTL_OK && !(l.failed || r->why.failed)) {
        share(&l);
        e = take_lines(&l);
    }
    if (e == CTL_OK && (l.failed || r->why.failed))
        return ctl_fail(CTL_FAILED, "report", "out of memory");
    return e;
}

void report_done(struct report *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->events[i].line);
    free(r->events);
    r->head = loghead_free(r->head);
    json_decref(r->first);
    json_decref(r->lists);
    json_decref(r->rows);
    why_report_done(&r->why);
}

json_t *report_vkeys(const struct report *r)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < r->head->trust.ring.n; i++) {
        _cleanup_(buf_done) struct buf vkey = {.data = NULL};
        buf_init(&vkey, CHECKPOINT_VKEY_MAX + 1);
        vkey_render(&r->head->trust.ring.key[i].vkey, &vkey);
        if (!vkey.err)
            (void)json_array_append_new(list, json_stringn((const char *)vkey.data, vkey.len));
    }
    return list;
}
