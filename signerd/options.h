/* SPDX-License-Identifier: MIT */
/* What signerd is told on its command line, behind the flags every daemon has. */
#pragma once

#include "common/base/cleanup.h"
#include "proto/redact.h"
#include "signerd/quota.h"

struct signerd_options {
    const char *origin_suffix; /* a run id; NULL: the log is not of one run. Borrowed from argv */
    const char *key;           /* where the signing key is (key_dir_active()); NULL: looked for */
    uint32_t seal;             /* enum seal_mode */
    uint64_t segment_bytes, segment_age_s;
    uint64_t retain_bytes, retain_age_s; /* 0: everything is kept */
    struct redact redact;
    struct quota_options quota;
};

/* argv[0] is the program. 0, or -EINVAL (logged, naming the flag). */
int signerd_options_parse(int argc, char **argv, struct signerd_options *ret) MUST_CHECK;

/* The text behind the common flags of --help. */
extern const char signerd_options_help[];
