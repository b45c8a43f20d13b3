/* SPDX-License-Identifier: MIT */
/* The whole attack surface of signerd: what the three other daemons may ask of it. Each has its own line, and
 * the line a claim came on is its role; no field of a message can say otherwise. What they send is never
 * trusted to be in order: the frame is checked by the codec, the event's body by its own schema, the right to
 * say it by authority.c. Nothing of a message is signed as it came: only typed fields get from here to the
 * sealing. signerd asks nobody anything. */
#include "signerd/dispatch.h"

#include <sodium.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "proto/secret_record.h"
#include "signerd/authority.h"
#include "signerd/event.h"

#define DISPATCH_TOO_LARGE "the event is too large"
#define DISPATCH_MALFORMED "the body does not fit its type"
#define DISPATCH_CREDITS   "too many unacknowledged claims of this cell"
#define DISPATCH_PENDING   "too much is waiting for the disk"
#define DISPATCH_OPEN      "too many claims of this line are open"
#define DISPATCH_RESUME_S                                                                                    \
    86400 /* how far the clock may have gone back between a run's id and its first line */

/* ---- answers ---- */

static uint32_t dispatch_fail_of(int err)
{
    switch (err) {
    case -ENOSPC:
        return FAIL_NO_SPACE;
    case -EDQUOT:
        return FAIL_QUOTA;
    case -EPERM:
        return FAIL_AUTHORITY;
    case -EINVAL:
    case -EBADMSG:
    case -EMSGSIZE:
        return FAIL_INVALID;
    case -EPROTO:
        return FAIL_STATE;
    case -EKEYREJECTED:
        return FAIL_SECRET;
    default:
        return FAIL_INTERNAL;
    }
}

static void dispatch_group_end(struct dispatch_group *g)
{
    LIST_REMOVE(g, link);
    free(g);
}

/* One more of them is answered. */
static void dispatch_group_put(struct dispatch_group *g)
{
    struct signer_claims_rep rep = {.results = {g->result, g->n}};
    int r;

    if (--g->open > 0)
        return;
    r = g->line->e ? endpoint_reply(g->line->e, MSG_SIGNER_CLAIMS_REQ, g->seq, &rep, NULL, 0) : 0;
    if (r < 0)
        log_failed(LOG_WARNING, r, "cannot answer claims");
    dispatch_group_end(g);
}

/* fail 0: durable as sequence. The sender has a deadline, and asks again with the same counter if an answer
 * does not reach it. */
static void dispatch_reply(const struct dispatch_to *to, uint32_t fail, uint64_t sequence, const char *text)
{
    struct endpoint *e = to->line->e;
    struct signer_claim_rep rep = {.sequence = sequence};
    int r = 0;

    if (to->group) {
        to->group->result[to->slot] = (struct signer_result){.fail = fail, .sequence = sequence};
        dispatch_group_put(to->group);
        return;
    }
    if (e && fail)
        r = endpoint_fail(e, to->seq, fail, "%s", text);
    else if (e)
        r = endpoint_reply(e, MSG_SIGNER_CLAIM_REQ, to->seq, &rep, NULL, 0);
    if (r < 0)
        log_failed(LOG_WARNING, r, "cannot answer a claim");
}

static void dispatch_send_answer(struct dispatch_answer *a)
{
    struct dispatch_to to = a->to;

    a->to.group = NULL; /* its place is taken */
    dispatch_reply(&to, a->fail, a->sequence, enum_text(&enum_fail, a->fail));
}

static void dispatch_answer(struct dispatch_answer *a, int err, uint64_t sequence)
{
    a->done = true;
    a->fail = err < 0 ? dispatch_fail_of(err) : 0;
    a->sequence = sequence;
    a->cell = NULL;
    dispatch_send_answer(a);
}

static void dispatch_on_durable(void *data, int err, uint64_t sequence)
{
    struct dispatch_answer *a = data;

    if (a->cell)
        a->cell->credits[a->to.line->role]--;
    dispatch_answer(a, err, sequence);
}

/* A claim that was made before is answered to whom asked last. */
static void dispatch_repeat(struct dispatch_answer *a, const struct dispatch_to *to)
{
    struct dispatch_to before = a->to;

    a->to = *to;
    if (a->done)
        dispatch_send_answer(a);
    else if (before.group)
        dispatch_reply(&before, FAIL_STATE, 0, NULL);
}

static void dispatch_note(struct dispatch_line *l, uint64_t type, const struct cell *cell,
                          const char *reason);

/* The place of a new claim's counter. NULL: it was seen before (and is answered again if it can be), or there
 * is no place. */
static struct dispatch_answer *dispatch_place(const struct dispatch_to *to,
                                              const struct signer_claim_req *req, const struct cell *cell)
{
    uint64_t counter = req->counter;
    struct dispatch_line *l = to->line;
    struct dispatch_answer *a = &l->answers[counter % LIMIT_ANSWERS];

    if (counter <= l->counter) {
        if (a->counter == counter)
            dispatch_repeat(a, to);
        else
            dispatch_reply(to, FAIL_STATE, 0, "this claim is too long ago");
        return NULL;
    }
    if (a->counter && !a->done) {
        dispatch_reply(to, FAIL_QUOTA, 0, DISPATCH_OPEN);
        dispatch_note(l, req->type, cell, DISPATCH_OPEN);
        return NULL;
    }
    l->counter = counter;
    *a = (struct dispatch_answer){.counter = counter, .to = *to};
    return a;
}

/* ---- refusals ---- */

static void dispatch_seal_refusal(struct dispatch *d, struct refused_kind *k)
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
    if (elog_submit(
            d->log,
            &(struct elog_event){.role = ROLE_SIGNERD, .row = row, .cell = cell, .data = buf_str(&json)},
            NULL, NULL) == 0)
        k->count = 0;
}

static void dispatch_on_refused_timer(struct ev_loop *loop, ev_timer *w, int revents)
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
static void dispatch_note(struct dispatch_line *l, uint64_t type, const struct cell *cell, const char *reason)
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

    *ret_why = DISPATCH_CREDITS;
    if (cell->credits[role] >= LIMIT_CLAIM_CREDITS)
        return -EDQUOT;
    v = quota_take(q, &d->quota, role, &e);
    *ret_why = quota_text(v);
    if (v != QUOTA_OK)
        return -EDQUOT;
    r = dispatch_render(d, row, cell, body, json, why);
    *ret_why = r == -EMSGSIZE       ? DISPATCH_TOO_LARGE
               : r == -EBADMSG      ? DISPATCH_MALFORMED
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
    char room[LIMIT_REASON];
    const char *why;
    int r;

    buf_init(&json, LIMIT_EVENT_DATA);
    r = dispatch_check(a, row, cell, body, &json, room, &why);
    if (r == 0 && row->type == EVENT_DESTROYED)
        dispatch_settle_run(a->to.line->d, cell);
    if (r == 0) {
        r = elog_submit(
            a->to.line->d->log,
            &(struct elog_event){.role = a->to.line->role, .row = row, .cell = cell, .data = buf_str(&json)},
            dispatch_on_durable, a);
        why = r == -EDQUOT ? DISPATCH_PENDING : NULL;
    }
    if (r < 0 && why) {
        dispatch_refuse(a, row->type, cell, r, why);
    } else if (r < 0) {
        dispatch_answer(a, r, 0);
    } else {
        a->cell = cell;
        cell->credits[a->to.line->role]++;
    }
}

static void dispatch_claim(const struct dispatch_to *to, const struct signer_claim_req *req)
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

static int dispatch_on_claim(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    const struct signer_claim_req *req = m->rec;

    (void)e;
    if (req->counter == 0)
        return -EPROTO;
    dispatch_claim(&(struct dispatch_to){.line = self, .seq = m->seq}, req);
    return 0;
}

static int dispatch_on_claims(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    const struct signer_claims_req *req = m->rec;
    const struct signer_claim_req *claim = req->claims.v;
    struct dispatch_line *l = self;
    size_t n = req->claims.n;
    struct dispatch_group *g;

    for (size_t i = 0; i < n; i++)
        if (claim[i].counter == 0)
            return -EPROTO;
    if (n == 0)
        return -EPROTO;
    g = calloc(1, sizeof(*g) + n * sizeof(g->result[0]));
    if (!g)
        return endpoint_fail(e, m->seq, FAIL_INTERNAL, "out of memory");
    g->line = l;
    g->seq = m->seq;
    g->n = n;
    g->open = n + 1; /* it stays until all have been looked at */
    LIST_INSERT_HEAD(&l->groups, g, link);
    for (size_t i = 0; i < n; i++)
        dispatch_claim(&(struct dispatch_to){.line = l, .seq = m->seq, .group = g, .slot = i}, &claim[i]);
    dispatch_group_put(g);
    return 0;
}

/* ---- cells ---- */

static uint64_t dispatch_run_ms(struct str run_id)
{
    uint64_t ms = 0;

    /* The first 12 hex digits of a UUIDv7 (uuid_v7_valid() has seen it) are its milliseconds. */
    for (size_t i = 0, n = 0; n < 12; i++) {
        char c = run_id.p[i];

        if (c == '-')
            continue;
        ms = ms << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        n++;
    }
    return ms;
}

/* Whether the id was made since this process started: only then the log cannot know it. The time of day may
 * have been set meanwhile, so it is the id's age that counts; one from the future has none. */
static bool dispatch_is_younger(const struct dispatch *d, uint64_t ms, uint64_t now_ms)
{
    return ms <= now_ms && (now_ms - ms) * 1000 < clock_boottime_us() - d->started_us;
}

/* Whether the run is new. 0: yes; 1: the log knows it, *ret says how far it got; -EEXIST: it was destroyed;
 * -errno. */
static int dispatch_known_run(struct dispatch *d, struct str run_id, struct elog_run *ret)
{
    uint64_t ms = dispatch_run_ms(run_id), now_ms = clock_realtime_ms();
    uint64_t oldest =
        (ms < now_ms ? ms : now_ms) / 1000; /* the clock went back: so did the times in the log */
    uint64_t since = oldest > DISPATCH_RESUME_S ? oldest - DISPATCH_RESUME_S : 0;
    bool unsure;
    int r;

    if (cells_was_closed(d->cells, run_id, &unsure))
        return -EEXIST;
    if (dispatch_is_younger(d, ms, now_ms) && !unsure)
        return 0;
    r = elog_find_run(d->log, run_id, since, ret);
    return r > 0 && ret->destroyed ? -EEXIST : r;
}

static int dispatch_open(struct dispatch *d, const struct signer_cell_open_req *req)
{
    struct cells_open o = {req->run_id, req->cell_id, req->policy_digest, req->correlation_id};
    struct elog_run run;
    struct cell *cell;
    int r;

    if (!uuid_v7_valid(req->run_id))
        return -EINVAL;
    r = dispatch_known_run(d, req->run_id, &run);
    if (r < 0)
        return r;
    bool known = r > 0;
    r = cells_add(d->cells, &o, &cell);
    if (r == 0 && known)
        elog_adopt(d->log, cell, &run);
    return r;
}

static int dispatch_on_cell_open(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct dispatch_line *l = self;
    struct empty rep;
    int r = dispatch_open(l->d, m->rec);

    switch (r) {
    case 0:
        return endpoint_reply(e, MSG_SIGNER_CELL_OPEN_REQ, m->seq, &rep, NULL, 0);
    case -EINVAL:
        return endpoint_fail(e, m->seq, FAIL_INVALID, "an id is not in its form");
    case -EEXIST:
        return endpoint_fail(e, m->seq, FAIL_EXISTS, "this run id was used before");
    case -EDQUOT:
        return endpoint_fail(e, m->seq, FAIL_QUOTA, "too many cells are open");
    default:
        log_errno(r, "cannot open a cell");
        return endpoint_fail(e, m->seq, FAIL_INTERNAL, "cannot open the cell");
    }
}

/* Why the marks of a run cannot be taken, or NULL. */
static const char *dispatch_marks(const struct signer_secrets_req *req, struct secret_marks *marks)
{
    for (size_t i = 0; i < req->names.n; i++)
        if (secret_marks_add_name(marks, req->names.v[i]) < 0)
            return "a name is not in its form";
    for (size_t i = 0; i < req->marks.n; i++) {
        const struct signer_secret_mark *from = &req->marks.v[i];
        struct secret_mark mark = {(uint32_t)from->length, (uint8_t)from->secret, (uint8_t)from->filter, {0}};

        if (from->digest.len != sizeof(mark.digest))
            return "a digest is not in its form";
        memcpy(mark.digest, from->digest.p, sizeof(mark.digest));
        if (secret_marks_add(marks, &mark) < 0)
            return "a mark is not in its form";
    }
    return NULL;
}

/* The marks hold for everything that is claimed from here on, on every line. */
static int dispatch_on_secrets(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    const struct signer_secrets_req *req = m->rec;
    struct dispatch_line *l = self;
    struct cell *cell = cells_find(l->d->cells, req->run_id);
    _cleanup_(secret_marks_freep) struct secret_marks *marks = NULL;
    struct empty rep;
    const char *wrong;
    int r;

    if (!cell || cell->state == AUTHORITY_CLOSED)
        return endpoint_fail(e, m->seq, FAIL_UNKNOWN, "no cell with this run id is open");
    if (cell->secrets)
        return endpoint_fail(e, m->seq, FAIL_EXISTS, "the secrets of this run are known already");
    if (req->key.len != SECRET_KEY_LEN)
        return endpoint_fail(e, m->seq, FAIL_INVALID, "the key is not in its form");
    r = secret_marks_new((const uint8_t *)req->key.p, req->names.n, req->marks.n, &marks);
    if (r < 0)
        return endpoint_fail(e, m->seq, FAIL_INTERNAL, "no memory for the marks");
    wrong = dispatch_marks(req, marks);
    sodium_memzero((char *)req->key.p, req->key.len); /* in the receive buffer, which is ours */
    if (wrong)
        return endpoint_fail(e, m->seq, FAIL_INVALID, "%s", wrong);
    secret_marks_seal(marks);
    cell->secrets = TAKE_PTR(marks);
    return endpoint_reply(e, MSG_SIGNER_SECRETS_REQ, m->seq, &rep, NULL, 0);
}

static int dispatch_on_head(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct dispatch_line *l = self;
    struct signer_head_rep rep;

    rep.checkpoint = elog_head(l->d->log, &rep.tree_size);
    return endpoint_reply(e, MSG_SIGNER_HEAD_REQ, m->seq, &rep, NULL, 0);
}

/* ---- life ---- */

/* All lines are closed: what is still counted as refused is sealed, and when everything is durable the
 * process ends. */
static void dispatch_maybe_end(struct dispatch *d)
{
    struct refused_kind *k;

    if (d->open > 0)
        return;
    ev_timer_stop(d->loop, &d->refused_timer);
    for (size_t i = 0; i < LIMIT_REFUSAL_KINDS && (k = refused_due(&d->refused, clock_boottime_us(), true));
         i++)
        dispatch_seal_refusal(d, k);
    d->refused.n = 0;
    if (elog_is_idle(d->log))
        ev_break(d->loop, EVBREAK_ALL);
}

static void dispatch_on_gone(void *self, struct endpoint *e, int err)
{
    struct dispatch_line *l = self;

    if (err < 0)
        log_failed(LOG_ERR, err, "the line of %s was cut", enum_text(&enum_role_name, l->role));
    l->e = endpoint_free(e);
    l->d->open--;
    dispatch_maybe_end(l->d);
}

void dispatch_stop(struct dispatch *d)
{
    for (size_t i = 0; i < DISPATCH_LINES; i++) {
        if (d->line[i].e)
            d->open--;
        d->line[i].e = endpoint_free(d->line[i].e);
    }
    dispatch_maybe_end(d);
}

void dispatch_on_log_idle(void *self)
{
    dispatch_maybe_end(self);
}

void dispatch_on_log_failed(void *self, int err)
{
    struct dispatch *d = self;
    struct endpoint *e = d->line[0].e;
    struct signer_log_failed note = {
        .fail = err == -ENOSPC ? FAIL_NO_SPACE : FAIL_INTERNAL,
        .text =
            err == -ENOSPC ? STR_LIT("the disk under the log is full") : STR_LIT("the log cannot be written"),
    };

    log_failed(LOG_ERR, err, "the log takes no more events");
    if (e && endpoint_is_ready(e) && endpoint_send(e, MSG_SIGNER_LOG_FAILED, &note, NULL, 0) < 0)
        log_warning("cannot tell the supervisor that the log failed");
    if (err != -ENOSPC) {
        d->failed = true;
        ev_break(d->loop, EVBREAK_ALL);
    }
}

static const struct endpoint_handler dispatch_supervisor[] = {
    {MSG_SIGNER_CELL_OPEN_REQ, dispatch_on_cell_open}, {MSG_SIGNER_CLAIM_REQ, dispatch_on_claim},
    {MSG_SIGNER_CLAIMS_REQ, dispatch_on_claims},       {MSG_SIGNER_HEAD_REQ, dispatch_on_head},
    {MSG_SIGNER_SECRETS_REQ, dispatch_on_secrets},
};
static const struct endpoint_handler dispatch_emitter[] = {
    {MSG_SIGNER_CLAIM_REQ, dispatch_on_claim},
    {MSG_SIGNER_CLAIMS_REQ, dispatch_on_claims},
};
static const struct endpoint_ops dispatch_supervisor_ops = {
    .handlers = dispatch_supervisor, .n = ARRAY_LEN(dispatch_supervisor), .gone = dispatch_on_gone};
static const struct endpoint_ops dispatch_emitter_ops = {
    .handlers = dispatch_emitter, .n = ARRAY_LEN(dispatch_emitter), .gone = dispatch_on_gone};

static int dispatch_line_init(struct dispatch *d, struct dispatch_line *l, uint32_t role, int sock)
{
    struct endpoint_config cfg = {
        .iface = &iface_signer,
        .side = FROM_SERVER,
        .role = ROLE_SIGNERD,
        .peer_role = role,
        .ops = role == ROLE_SUPERVISOR ? &dispatch_supervisor_ops : &dispatch_emitter_ops,
        .self = l,
    };
    int r;

    l->d = d;
    l->role = role;
    LIST_INIT(&l->groups);
    if (sock < 0)
        return 0;
    l->answers = calloc(LIMIT_ANSWERS, sizeof(*l->answers));
    if (!l->answers) {
        close(sock);
        return -ENOMEM;
    }
    r = endpoint_new(d->loop, sock, &cfg, &l->e);
    if (r == 0)
        d->open++;
    return r;
}

int dispatch_init(struct dispatch *d, struct ev_loop *loop, struct cells *cells, int *socks)
{
    static const uint32_t roles[DISPATCH_LINES] = {ROLE_SUPERVISOR, ROLE_NETD, ROLE_PROXYD};
    int r = 0;

    *d = (struct dispatch){.loop = loop, .cells = cells, .started_us = clock_boottime_us()};
    quota_table_init(&d->quota, NULL);
    ev_init(&d->refused_timer, dispatch_on_refused_timer);
    d->refused_timer.repeat = LIMIT_REFUSAL_WINDOW_US / 1e6;
    d->refused_timer.data = d;
    for (size_t i = 0; i < DISPATCH_LINES; i++) {
        int sock = TAKE_FD(socks[i]);

        if (r == 0)
            r = dispatch_line_init(d, &d->line[i], roles[i], sock);
        else if (sock >= 0)
            close(sock);
    }
    return r;
}

void dispatch_configure(struct dispatch *d, const struct quota_options *quota, const struct redact *redact)
{
    quota_table_init(&d->quota, quota);
    d->redact = redact;
}

void dispatch_done(struct dispatch *d)
{
    ev_timer_stop(d->loop, &d->refused_timer);
    for (size_t i = 0; i < DISPATCH_LINES; i++) {
        d->line[i].e = endpoint_free(d->line[i].e);
        while (!LIST_EMPTY(&d->line[i].groups))
            /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it takes itself off the list */
            dispatch_group_end(LIST_FIRST(&d->line[i].groups));
        free(d->line[i].answers);
    }
}
