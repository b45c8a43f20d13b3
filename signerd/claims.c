/* SPDX-License-Identifier: MIT */
/* What becomes of a claim: its right to be said, its body, its quota, secret values, then the log; and what
 * becomes of a refused one. */
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "proto/secret_record.h"
#include "signerd/authority.h"
#include "signerd/dispatch_internal.h"
#include "signerd/event.h"

#define CLAIM_TOO_LARGE "the event is too large"
#define CLAIM_MALFORMED "the body does not fit its type"
#define CLAIM_CREDITS   "too many unacknowledged claims of this cell"
#define CLAIM_PENDING   "too much is waiting for the disk"

_Static_assert((uint64_t)DISPATCH_LINES *LIMIT_PENDING_LINE_BYTES < LIMIT_PENDING_EVENT_BYTES &&
                   DISPATCH_LINES * LIMIT_ANSWERS < LIMIT_PENDING_EVENTS,
               "what one line has waiting leaves room for the others, and for signerd's own events");

/* ---- refusals ---- */

void dispatch_refusal_end(struct dispatch_refusal *r)
{
    LIST_REMOVE(r, link);
    free(r);
}

/* What the disk did not take is counted again and said later (at the end there is no later). */
static void dispatch_on_refusal_durable(void *data, int err, uint64_t sequence)
{
    struct dispatch_refusal *r = data;
    struct dispatch *d = r->d;

    (void)sequence;
    if (err < 0 && d->open > 0) {
        refused_again(&d->refused, &r->kind, clock_boottime_us());
        if (!ev_is_active(&d->refused_timer))
            ev_timer_again(d->loop, &d->refused_timer);
    }
    dispatch_refusal_end(r);
}

static int dispatch_submit_refusal(struct dispatch *d, const struct refused_kind *k,
                                   const struct elog_event *e)
{
    struct dispatch_refusal *said = malloc(sizeof(*said));
    int r;

    if (!said)
        return -ENOMEM;
    said->d = d;
    said->kind = *k;
    LIST_INSERT_HEAD(&d->refusals, said, link);
    r = elog_submit(d->log, e, dispatch_on_refusal_durable, said);
    if (r < 0)
        dispatch_refusal_end(said);
    return r;
}

void dispatch_seal_refusal(struct dispatch *d, struct refused_kind *k)
{
    const struct event_row *row = event_row(EVENT_CLAIM_REFUSED);
    struct cell *cell = *k->run_id ? cells_find(d->cells, str_of(k->run_id)) : NULL;
    struct event_stamps stamps = {.cell_id = STR_NONE};
    struct ev_claim_refused ev = {
        .role = k->role,
        .type = str_of(refused_type_text(k)),
        .reason = str_of(k->reason),
        .count = k->count,
    };
    _cleanup_(buf_done) struct buf json = {.data = NULL};

    if (cell && authority_judge(ROLE_SIGNERD, row, cell->state) != AUTHORITY_OK)
        cell = NULL;
    if (cell)
        stamps = (struct event_stamps){.cell_id = str_of(cell->cell_id), .run_id = str_of(cell->run_id)};
    buf_init(&json, LIMIT_EVENT_DATA);
    if (event_render(row, &ev, &stamps, &json) < 0)
        return;
    /* What the disk does not take now stays counted and is tried again. */
    if (dispatch_submit_refusal(
            d, k,
            &(struct elog_event){.role = ROLE_SIGNERD, .row = row, .cell = cell, .data = buf_str(&json)}) ==
        0)
        k->count = 0;
}

void dispatch_on_refused_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct dispatch *d = w->data;
    uint64_t now = clock_boottime_us();
    struct refused_kind *k;

    (void)loop;
    (void)revents;
    for (size_t i = 0; i < LIMIT_REFUSAL_KINDS && (k = refused_due(&d->refused, now, false)); i++)
        dispatch_seal_refusal(d, k);
    if (d->refused.n == 0)
        ev_timer_stop(d->loop, &d->refused_timer);
}

/* Counts a refusal. The first of its kind in a second is said at once, here and in the log. */
void dispatch_note(struct dispatch_line *l, uint64_t type, const struct cell *cell, const char *reason)
{
    struct dispatch *d = l->d;
    struct refused_kind *k =
        refused_add(&d->refused, l->role, type, reason, cell ? cell->run_id : NULL, clock_boottime_us());

    if (k) {
        log_warning("claim of %s for event %u refused: %s", enum_text(&enum_role_name, l->role),
                    (unsigned)type, reason);
        dispatch_seal_refusal(d, k);
    }
    if (!ev_is_active(&d->refused_timer))
        ev_timer_again(d->loop, &d->refused_timer);
}

static void dispatch_refuse(struct dispatch_answer *a, uint64_t type, const struct cell *cell, int err,
                            const char *reason)
{
    dispatch_note(a->to.line, type, cell, reason);
    dispatch_answer(a, err, 0);
}

/* ---- claims ---- */

/* Nothing comes behind a run's last event: what was refused is counted before it. */
static void dispatch_settle_run(struct dispatch *d, const struct cell *cell)
{
    struct refused_kind *k;

    for (size_t i = 0; i < LIMIT_REFUSAL_KINDS && (k = refused_of_run(&d->refused, cell->run_id)); i++)
        dispatch_seal_refusal(d, k);
}

/* signerd alone knows what it leaves out: whatever the claim says about that does not count. */
static void dispatch_say_redacted(const struct dispatch *d, struct ev_started *ev)
{
    ev->redacted = (struct strs){NULL, 0};
    if (d->redact && d->redact->n > 0)
        ev->redacted = (struct strs){d->redact->name, d->redact->n};
}

/* Decodes the body by its row, renders data. 0 or a negative errno; -EKEYREJECTED: why says where. */
static int dispatch_render(const struct dispatch *d, const struct event_row *row, const struct cell *cell,
                           struct str body, struct buf *json, char why[static LIMIT_REASON])
{
    struct event_stamps stamps = {
        .cell_id = str_of(cell->cell_id),
        .run_id = str_of(cell->run_id),
        .policy_digest = *cell->policy_digest ? str_of(cell->policy_digest) : STR_NONE,
        .correlation_id = *cell->correlation_id ? str_of(cell->correlation_id) : STR_NONE,
        .redact = d->redact,
    };
    _cleanup_(arena_done) struct arena arena = {.chunks = NULL};
    char path[SECRET_PATH_MAX];
    const char *secret;
    void *rec;
    int r;

    arena_init(&arena, LIMIT_ARENA);
    rec = arena_alloc(&arena, row->data->size);
    if (!rec)
        return -ENOMEM;
    r = codec_decode_all(row->data, body, &arena, rec);
    if (r < 0)
        return r;
    secret = secret_record_find(cell->secrets, d->redact, row->data, rec, path);
    if (secret) {
        (void)snprintf(why, LIMIT_REASON, "%s contains the value of the secret %s", path, secret);
        return -EKEYREJECTED;
    }
    if (row->type == EVENT_STARTED)
        dispatch_say_redacted(d, rec);
    return event_render(row, rec, &stamps, json);
}

/* May it be said now, and how? 0 with data in json; else a negative errno with *ret_why (why is its room), or
 * NULL where no rule was broken. */
static int dispatch_check(struct dispatch_answer *a, const struct event_row *row, struct cell *cell,
                          struct str body, struct buf *json, char why[static LIMIT_REASON],
                          const char **ret_why)
{
    const struct dispatch *d = a->to.line->d;
    uint32_t role = a->to.line->role;
    struct quota *q = &cell->quota[role];
    const struct quota_event e = {row->type, cell->state, clock_boottime_us() * 1000};
    enum quota_verdict v;
    int r;

    *ret_why = CLAIM_CREDITS;
    if (cell->credits[role] >= LIMIT_CLAIM_CREDITS)
        return -EDQUOT;
    v = quota_take(q, &d->quota, role, &e);
    *ret_why = quota_text(v);
    if (v != QUOTA_OK)
        return -EDQUOT;
    r = dispatch_render(d, row, cell, body, json, why);
    *ret_why = r == -EMSGSIZE       ? CLAIM_TOO_LARGE
               : r == -EBADMSG      ? CLAIM_MALFORMED
               : r == -EKEYREJECTED ? why
                                    : NULL;
    if (r < 0)
        return r;
    v = quota_charge(q, &d->quota, role, &e, json->len);
    *ret_why = quota_text(v);
    return v == QUOTA_OK ? 0 : -EDQUOT;
}

static void dispatch_accept(struct dispatch_answer *a, const struct event_row *row, struct cell *cell,
                            struct str body)
{
    _cleanup_(buf_done) struct buf json = {.data = NULL};
    struct dispatch_line *l = a->to.line;
    char room[LIMIT_REASON];
    const char *why;
    int r;

    buf_init(&json, LIMIT_EVENT_DATA);
    r = dispatch_check(a, row, cell, body, &json, room, &why);
    if (r == 0 && row->type == EVENT_DESTROYED)
        dispatch_settle_run(l->d, cell);
    if (r == 0) {
        r = l->pending + json.len > LIMIT_PENDING_LINE_BYTES
                ? -EDQUOT
                : elog_submit(
                      l->d->log,
                      &(struct elog_event){.role = l->role, .row = row, .cell = cell, .data = buf_str(&json)},
                      dispatch_on_durable, a);
        why = r == -EDQUOT ? CLAIM_PENDING : NULL;
    }
    if (r < 0 && why) {
        dispatch_refuse(a, row->type, cell, r, why);
    } else if (r < 0) {
        dispatch_answer(a, r, 0);
    } else {
        a->cell = cell;
        a->len = json.len;
        l->pending += json.len;
        cell->credits[l->role]++;
    }
}

void dispatch_claim(const struct dispatch_to *to, const struct signer_claim *req)
{
    struct dispatch_line *l = to->line;
    const struct event_row *row = event_row(req->type);
    struct cell *cell = cells_find(l->d->cells, req->run_id);
    struct dispatch_answer *a = dispatch_place(to, req, cell);
    enum authority_verdict v;

    if (!a)
        return;
    v = authority_judge(l->role, row, cell ? cell->state : AUTHORITY_CLOSED);
    if (v == AUTHORITY_OK && cell)
        dispatch_accept(a, row, cell, req->body);
    else
        dispatch_refuse(a, req->type, cell,
                        v == AUTHORITY_E_STATE || v == AUTHORITY_E_CELL ? -EPROTO : -EPERM,
                        authority_text(v));
}
