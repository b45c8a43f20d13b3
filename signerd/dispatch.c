/* SPDX-License-Identifier: MIT */
/* The whole attack surface of signerd: what the three other daemons may ask of it. Each has its own line, and
 * the line a claim came on is its role; no field of a message can say otherwise. What they send is never
 * trusted to be in order: the frame is checked by the codec, the event's body by its own schema, the right to
 * say it by authority.c. Nothing of a message is signed as it came: only typed fields get from here to the
 * sealing. signerd asks nobody anything. */
#include "signerd/dispatch_internal.h"

#include <sodium.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "signerd/authority.h"

/* ---- claims ---- */

static int dispatch_on_claims(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    const struct signer_claims_req *req = m->rec;
    const struct signer_claim *claim = req->claims.v;
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
        dispatch_claim(&(struct dispatch_to){l, g, i}, &claim[i]);
    dispatch_group_put(g);
    return 0;
}

/* ---- cells ---- */

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
    case -ERANGE:
        return endpoint_fail(e, m->seq, FAIL_INVALID, "the run id is from the future: see the clock");
    case -EEXIST:
        return endpoint_fail(e, m->seq, FAIL_EXISTS, "this run id was used before");
    case -EDQUOT:
        return endpoint_fail(e, m->seq, FAIL_QUOTA, "too many cells are open");
    default:
        log_errno(r, "cannot open a cell");
        return endpoint_fail(e, m->seq, FAIL_INTERNAL, "cannot open the cell");
    }
}

/* The marks hold for everything that is claimed from here on, on every line. */
static int dispatch_take_secrets(struct dispatch_line *l, struct endpoint *e, uint64_t seq,
                                 const struct signer_secrets_req *req)
{
    struct cell *cell = cells_find(l->d->cells, req->run_id);
    _cleanup_(secret_marks_freep) struct secret_marks *marks = NULL;
    struct empty rep;
    const char *wrong;
    int r;

    if (!cell || cell->state == AUTHORITY_CLOSED)
        return endpoint_fail(e, seq, FAIL_UNKNOWN, "no cell with this run id is open");
    if (cell->secrets)
        return endpoint_fail(e, seq, FAIL_EXISTS, "the secrets of this run are known already");
    if (req->key.len != SECRET_KEY_LEN)
        return endpoint_fail(e, seq, FAIL_INVALID, "the key is not in its form");
    r = secret_marks_new((const uint8_t *)req->key.p, req->names.n, req->marks.n, &marks);
    if (r < 0)
        return endpoint_fail(e, seq, FAIL_INTERNAL, "no memory for the marks");
    wrong = dispatch_marks(req, marks);
    if (wrong)
        return endpoint_fail(e, seq, FAIL_INVALID, "%s", wrong);
    secret_marks_seal(marks);
    cell->secrets = TAKE_PTR(marks);
    return endpoint_reply(e, MSG_SIGNER_SECRETS_REQ, seq, &rep, NULL, 0);
}

/* Whatever becomes of it, its key is wiped: without that the marks in the receive buffer are of no use. */
static int dispatch_on_secrets(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    const struct signer_secrets_req *req = m->rec;
    int r = dispatch_take_secrets(self, e, m->seq, req);

    sodium_memzero((char *)req->key.p, req->key.len); /* in the receive buffer, which is ours */
    return r;
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
    else
        elog_hurry(d->log);
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
    {MSG_SIGNER_CELL_OPEN_REQ, dispatch_on_cell_open},
    {MSG_SIGNER_CLAIMS_REQ, dispatch_on_claims},
    {MSG_SIGNER_HEAD_REQ, dispatch_on_head},
    {MSG_SIGNER_SECRETS_REQ, dispatch_on_secrets},
};
static const struct endpoint_handler dispatch_emitter[] = {
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
    while (!LIST_EMPTY(&d->refusals))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it takes itself off the list */
        dispatch_refusal_end(LIST_FIRST(&d->refusals));
}
