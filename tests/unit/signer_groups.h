/* SPDX-License-Identifier: MIT */
/* For a signerd by hand: the claims of a frame are handed to the handler of one claim, each under a seq of
 * its own, and the frame is answered when all of them have their answer. */
#pragma once

#include "proto/endpoint.h"

#define SIGNER_GROUP_MARK (1ull << 63) /* a seq that no frame has */
#define SIGNER_GROUPS     4096u        /* unanswered at a time */

static struct signer_group {
    uint64_t seq;
    size_t n, open;
    struct signer_result result[LIMIT_CLAIMS_FRAME];
} signer_group[SIGNER_GROUPS];
static size_t signer_group_next;

typedef int (*signer_groups_fn)(void *self, struct endpoint *e, struct endpoint_msg *m);

static inline int signer_groups_take(void *self, struct endpoint *e, struct endpoint_msg *m,
                                     signer_groups_fn one)
{
    const struct signer_claims_req *req = m->rec;
    const struct signer_claim *claim = req->claims.v;
    size_t at = signer_group_next++ % SIGNER_GROUPS;

    if (signer_group[at].open > 0)
        abort();
    signer_group[at] = (struct signer_group){.seq = m->seq, .n = req->claims.n, .open = req->claims.n};
    for (size_t i = 0; i < req->claims.n; i++) {
        struct endpoint_msg part = *m;
        int r;

        part.rec = &claim[i];
        part.seq = SIGNER_GROUP_MARK | at << 8 | i;
        r = one(self, e, &part);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The answer to one claim: fail 0 is success. 0 or -errno, as endpoint_reply(). */
static inline int signer_groups_answer(struct endpoint *e, uint64_t seq, uint32_t fail, uint64_t sequence)
{
    struct signer_group *g = &signer_group[(seq & ~SIGNER_GROUP_MARK) >> 8];

    g->result[seq & 0xff] = (struct signer_result){.fail = fail, .sequence = sequence};
    if (--g->open > 0)
        return 0;
    struct signer_claims_rep all = {.results = {g->result, g->n}};
    return endpoint_reply(e, MSG_SIGNER_CLAIMS_REQ, g->seq, &all, NULL, 0);
}
