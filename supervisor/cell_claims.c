/* SPDX-License-Identifier: MIT */
/* The cell's events on their way to the log: counted until signerd has acknowledged each. */
#include "common/base/log.h"
#include "supervisor/cell.h"

struct cell_claim {
    struct cell *c;
    enum event_type type;
    struct cell_claim *next, **at;
    bool masked; /* claimed again, without the values of secrets */
    size_t len;
    uint8_t body[]; /* of a cell with secrets: to be claimed again */
};

static void claim_unlink(struct cell_claim *k)
{
    *k->at = k->next;
    if (k->next)
        k->next->at = k->at;
    k->c->open_claims--;
}

/* True for steps that end when the last open claim is answered. */
static bool waits_for_claims(enum cell_state s)
{
    return s == CELL_DECLARED || s == CELL_STARTED || s == CELL_DESTROYED || s == CELL_REJECT;
}

static void on_claim_ack(void *data, int err, uint64_t sequence);

static int send_claim(struct cell_claim *k, struct str body)
{
    return signer_claim_body(k->c->m->signer, k->c->run_id, k->type, body, true, on_claim_ack, k);
}

/* signerd found the value of a secret, and has sealed that it did. What the suite has to say of the cell is
 * said all the same, without that text. */
static int claim_again(struct cell_claim *k)
{
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_CLAIM_BODY);
    if (!k->c->m->signer)
        return -EPIPE;
    k->masked = true;
    int r = cell_mask_body(k->c, k->type, (struct str){(const char *)k->body, k->len}, &b);
    return r < 0 ? r : send_claim(k, buf_str(&b));
}

static void on_refused(struct cell *c, int err, enum event_type which)
{
    const char *type = event_row(which)->suffix;
    if (which == EVENT_DESTROYED)
        c->failed = true; /* cell_answer: an outcome without its evidence is no outcome */
    log_error("cell %s: event %s is not in the log: %s", c->id, type, signer_error_text(err));
    if (c->claim_error == 0)
        c->claim_error = err;
    if (c->state < CELL_KILL)
        cell_abort(c, "the log did not take the event %s: %s", type, signer_error_text(err));
}

static void on_claim_ack(void *data, int err, uint64_t sequence)
{
    struct cell_claim *k = data;
    struct cell *c = k->c;
    enum event_type type = k->type;
    if (err == -EKEYREJECTED && k->len > 0 && !k->masked && claim_again(k) == 0)
        return;
    claim_unlink(k);
    free(k);
    if (err == 0 && c->nrefs < CELL_REFS_MAX)
        c->refs[c->nrefs++] = (struct ev_reference){str_of(event_row(type)->suffix), sequence};
    if (err < 0)
        on_refused(c, err, type);
    if (!waits_for_claims(c->state) || c->open_claims > 0)
        return;
    if (c->state == CELL_DESTROYED && c->entered && !c->farewell)
        cell_say_farewell(c);
    else
        cell_step_done(c, c->state);
}

int cell_claim(struct cell *c, enum event_type type, const void *rec)
{
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_CLAIM_BODY);
    if (!c->m->signer)
        return -EPIPE;
    int r = codec_encode(event_row(type)->data, rec, &b);
    size_t kept = c->marks ? b.len : 0;
    struct cell_claim *k = r < 0 ? NULL : malloc(sizeof(*k) + kept);
    if (!k)
        return r < 0 ? r : -ENOMEM;
    *k = (struct cell_claim){.c = c, .type = type, .next = c->claims, .at = &c->claims, .len = kept};
    if (kept > 0)
        memcpy(k->body, b.data, kept);
    r = send_claim(k, buf_str(&b));
    if (r < 0) {
        free(k);
        return log_failed(LOG_ERR, r, "cell %s: claiming %s", c->id, event_row(type)->suffix);
    }
    if (c->claims)
        c->claims->at = &k->next;
    c->claims = k;
    c->open_claims++;
    return 0;
}

void cell_forget_claims(struct cell *c)
{
    while (c->claims) {
        struct cell_claim *k = c->claims;
        c->claims = k->next;
        c->open_claims--;
        if (c->m->signer) /* a dead line has answered all of its claims */
            signer_forget(c->m->signer, k);
        free(k);
    }
}
