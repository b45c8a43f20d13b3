/* SPDX-License-Identifier: MIT */
/* Refused claims, collapsed: the first of a kind is reported at once, its repeats within a second as one
 * count, so that a hostile or broken sender cannot fill the log with its own refusals. Each role has places
 * of its own: none can push another's refusals together. */
#pragma once

#include "proto/events.h"
#include "signerd/cells.h"

struct refused_kind {
    uint32_t role;
    uint64_t type;                  /* as claimed; 0 in the kind "various" */
    char run_id[UUID_TEXT_LEN + 1]; /* "" = no open cell */
    uint64_t count;                 /* not yet reported */
    char reason[LIMIT_REASON + 1];
    uint64_t until_us; /* end of the window (clock_boottime_us) */
};

struct refused {
    struct refused_kind kind[LIMIT_REFUSAL_KINDS];
    size_t n;
};

/* Counts one refusal. Returns the kind to report now (its count is then taken as reported by the caller, who
 * sets it 0), or NULL when it has to wait. run_id: of an open cell, or NULL. */
struct refused_kind *refused_add(struct refused *r, uint32_t role, uint64_t type, const char *reason,
                                 const char *run_id, uint64_t now_us);

/* Counts them once more: the event that said them did not get into the log. */
void refused_again(struct refused *r, const struct refused_kind *lost, uint64_t now_us);

/* The next kind whose window is over and that has something to report (flush: regardless of the window);
 * kinds that are over without anything new are forgotten. NULL when there is none. The caller sets count 0.
 */
struct refused_kind *refused_due(struct refused *r, uint64_t now_us, bool flush);

/* The same for one run that ends: what has not been reported of it is due. */
struct refused_kind *refused_of_run(struct refused *r, const char *run_id);

/* The claimed type's suffix, "unknown" or "various". */
const char *refused_type_text(const struct refused_kind *k);
