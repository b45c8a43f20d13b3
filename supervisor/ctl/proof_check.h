/* SPDX-License-Identifier: MIT */
/* What cellctl says of a proof file: checked with nothing but the file and a key. */
#pragma once

#include "supervisor/ctl/key_choice.h"
#include "supervisor/ctl/proof_file.h"
#include "supervisor/ctl/quorum.h"

struct proof_check {
    const char *verb;
    const char *path;              /* what the operator called it */
    const struct key_choice *keys; /* self-declared: the file's own key is taken */
    const struct quorum *quorum;
    bool color;
    const struct trust *trust; /* filled in by proof_check() */
};

/* Checks a proof of either kind and prints the outcome to stdout. An exit status. */
int proof_check(const struct proof_check *c, const struct proof_file *f) MUST_CHECK;

/* The same for a bare c2sp.org/tlog-proof of this sealed event. */
int proof_check_text(const struct proof_check *c, struct str text, struct str line) MUST_CHECK;

/* The leaf of a sealed event whose log holds it bare: of the line without dssematerial. 0 or -ENOMEM. */
int proof_check_bare_leaf(struct str line, const struct envelope_line *l,
                          uint8_t ret[static DIGEST_LEN]) MUST_CHECK;
