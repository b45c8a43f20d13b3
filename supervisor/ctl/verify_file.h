/* SPDX-License-Identifier: MIT */
/* What cellctl verify does where it is not given a log's directory: a proof or exported events in a file or
 * on standard input. */
#pragma once

#include "supervisor/ctl/key_choice.h"
#include "supervisor/ctl/quorum.h"

struct verify_file {
    const char *path; /* "-": standard input */
    const struct key_choice *keys;
    const struct quorum *quorum;
    struct str checkpoint; /* a note; p == NULL: none */
    const char *event;     /* a file with the event that a bare tlog-proof is about; NULL: none */
    bool color;
};

/* An exit status; everything has been told. */
int verify_file_run(const struct verify_file *v) MUST_CHECK;
