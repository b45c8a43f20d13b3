/* SPDX-License-Identifier: MIT */
/* Where the answer to a claim goes, and that it goes there exactly once: also when it comes late, and when
 * its sender asks again. */
#include "common/base/log.h"
#include "signerd/dispatch_internal.h"

#define ANSWERS_OPEN "too many claims of this line are open"

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

void dispatch_group_end(struct dispatch_group *g)
{
    LIST_REMOVE(g, link);
    free(g);
}

/* One more of them is answered. */
void dispatch_group_put(struct dispatch_group *g)
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
static void dispatch_reply(const struct dispatch_to *to, uint32_t fail, uint64_t sequence)
{
    to->group->result[to->slot] = (struct signer_result){.fail = fail, .sequence = sequence};
    dispatch_group_put(to->group);
}

static void dispatch_send_answer(struct dispatch_answer *a)
{
    struct dispatch_to to = a->to;

    a->to.group = NULL; /* its place is taken */
    dispatch_reply(&to, a->fail, a->sequence);
}

void dispatch_answer(struct dispatch_answer *a, int err, uint64_t sequence)
{
    a->done = true;
    a->fail = err < 0 ? dispatch_fail_of(err) : 0;
    a->sequence = sequence;
    a->cell = NULL;
    dispatch_send_answer(a);
}

void dispatch_on_durable(void *data, int err, uint64_t sequence)
{
    struct dispatch_answer *a = data;

    if (a->cell)
        a->cell->credits[a->to.line->role]--;
    a->to.line->pending -= a->len;
    a->len = 0;
    dispatch_answer(a, err, sequence);
}

/* A claim that was made before is answered to whom asked last. */
static void dispatch_repeat(struct dispatch_answer *a, const struct dispatch_to *to)
{
    struct dispatch_to before = a->to;

    a->to = *to;
    if (a->done)
        dispatch_send_answer(a);
    else
        dispatch_reply(&before, FAIL_STATE, 0);
}

/* The place of a new claim's counter. NULL: it was seen before (and is answered again if it can be), or there
 * is no place. */
struct dispatch_answer *dispatch_place(const struct dispatch_to *to, const struct signer_claim *req,
                                       const struct cell *cell)
{
    uint64_t counter = req->counter;
    struct dispatch_line *l = to->line;
    struct dispatch_answer *a = &l->answers[counter % LIMIT_ANSWERS];

    if (counter <= l->counter) {
        if (a->counter == counter)
            dispatch_repeat(a, to);
        else
            dispatch_reply(to, FAIL_STATE, 0); /* too long ago: nobody knows what it was */
        return NULL;
    }
    if (a->counter && !a->done) {
        dispatch_reply(to, FAIL_QUOTA, 0);
        dispatch_note(l, req->type, cell, ANSWERS_OPEN);
        return NULL;
    }
    l->counter = counter;
    *a = (struct dispatch_answer){.counter = counter, .to = *to};
    return a;
}
