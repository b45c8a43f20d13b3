/* SPDX-License-Identifier: MIT */
/* Proofs for the events of one log, as files that need nothing but themselves and a trusted key. */
#pragma once

#include "common/evidence/proof.h"
#include "supervisor/ctl/loghead.h"
#include "supervisor/ctl/proof_file.h"

struct prover;

/* Opens the log at path; both texts are borrowed. An exit status (ctl.h); a failure has been told. */
int prover_open(const char *verb, const char *path, struct prover **ret) MUST_CHECK;
struct prover *prover_free(struct prover *p); /* NULL-safe; returns NULL */
void prover_freep(struct prover **p);

const struct loghead *prover_head(const struct prover *p);

/* The proof of line index, made and checked. An exit status; on CTL_OK the caller owns *ret
 * (proof_file_done). */
int prover_event(struct prover *p, uint64_t index, struct proof_file *ret) MUST_CHECK;

/* Whether the tree of head, of which the log has the lines, begins with that of old; both are of this log and
 * signed. An exit status: CTL_TAMPERED for a fork or a cut, with sizes and roots; all of it has been told. */
int prover_extends(struct prover *p, const struct checkpoint *old, const struct checkpoint *head,
                   struct proof *ret) MUST_CHECK;

/* The proof from a size that somebody else saw, whose root is not known here, to head. old <= head->size. An
 * exit status. */
int prover_path(struct prover *p, uint64_t old, const struct checkpoint *head, struct proof *ret) MUST_CHECK;

struct proof_heads {
    struct checkpoint old, new;
    struct str old_note, new_note;
};

/* The same as a file. On CTL_OK the caller owns *ret (proof_file_done). */
int prover_consistency(struct prover *p, const struct proof_heads *h, struct proof_file *ret) MUST_CHECK;
