/* SPDX-License-Identifier: MIT */
/* The parts of struct dispatch: dispatch.c takes what comes, opening.c judges a new run, claims.c a claim,
 * and answers.c answers it. */
#pragma once

#include "signerd/dispatch.h"

/* opening.c: opens the cell of a run. 0; -EINVAL: the id is none; -EEXIST: the run was there before; -EDQUOT;
 * -errno. */
int dispatch_open(struct dispatch *d, const struct signer_cell_open_req *req) MUST_CHECK;
/* Why the marks of a run cannot be taken, or NULL: they are. */
const char *dispatch_marks(const struct signer_secrets_req *req, struct secret_marks *marks);

/* claims.c: judges one claim, and answers it, now or when it is durable. */
void dispatch_claim(const struct dispatch_to *to, const struct signer_claim *req);
/* Counts a refused claim; it becomes an event, at once or together with its like. cell may be NULL. */
void dispatch_note(struct dispatch_line *l, uint64_t type, const struct cell *cell, const char *reason);
void dispatch_seal_refusal(struct dispatch *d, struct refused_kind *k);
void dispatch_refusal_end(struct dispatch_refusal *r); /* forgets it */
void dispatch_on_refused_timer(struct ev_loop *loop, ev_timer *w, int revents);

/* answers.c: the place of a new claim's counter. NULL: it was seen before (and is answered again if it can
 * be), or there is no place. */
struct dispatch_answer *dispatch_place(const struct dispatch_to *to, const struct signer_claim *req,
                                       const struct cell *cell);
/* err 0: durable as sequence. */
void dispatch_answer(struct dispatch_answer *a, int err, uint64_t sequence);
/* The same, as the log calls it (elog_done_fn). */
void dispatch_on_durable(void *data, int err, uint64_t sequence);
/* One more claim of the group has its answer; the last one sends them. */
void dispatch_group_put(struct dispatch_group *g);
/* Forgets it. */
void dispatch_group_end(struct dispatch_group *g);
