/* SPDX-License-Identifier: MIT */
/* The cell's events on their way to the log: counted until signerd has acknowledged each. */
#include "common/base/log.h"
#include "supervisor/cell.h"

struct cell_claim {
    struct cell *c;
    enum event_type type;
    struct cell_claim *next, **at;
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

static void on_claim_ack(void *data, int err, uint64_t sequence)
{
    struct cell_claim *k = data;
    struct cell *c = k->c;
    const char *type = event_row(k->type)->suffix;
    claim_unlink(k);
    free(k);
    if (err == 0 && c->nrefs < CELL_REFS_MAX)
        c->refs[c->nrefs++] = (struct ev_reference){str_of(type), sequence};
    if (err < 0) {
        log_failed(LOG_ERR, err, "cell %s: event %s is not in the log", c->id, type);
        if (c->claim_error == 0)
            c->claim_error = err;
        if (c->state < CELL_KILL)
            cell_abort(c, "the log did not take the event %s: %s", type, strerror(-err));
    }
    if (waits_for_claims(c->state) && c->open_claims == 0)
        cell_step_done(c, c->state);
}

int cell_claim(struct cell *c, enum event_type type, const void *rec)
{
    if (!c->m->signer)
        return -EPIPE;
    struct cell_claim *k = malloc(sizeof(*k));
    if (!k)
        return -ENOMEM;
    int r = signer_claim(c->m->signer, c->run_id, type, rec, true, on_claim_ack, k);
    if (r < 0) {
        free(k);
        return log_failed(LOG_ERR, r, "cell %s: claiming %s", c->id, event_row(type)->suffix);
    }
    *k = (struct cell_claim){c, type, c->claims, &c->claims};
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
