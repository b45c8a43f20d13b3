/* SPDX-License-Identifier: MIT */
/* A part of a log: its lines, and the link from them to the signed root through the tiles. */
#pragma once

#include "common/evidence/log_check.h"
#include "common/evidence/trust.h"
#include "supervisor/ctl/progress.h"

struct verify_range {
    uint64_t from, to;         /* indices of the first and the last line; to UINT64_MAX: the log's last */
    struct progress *progress; /* may be NULL */
};

struct verify_range_report {
    bool good;
    char why[LOG_CHECK_WHY_MAX]; /* when not good */
    struct checkpoint checkpoint;
    struct vkey key; /* that signed it */
    uint64_t lines;
    uint64_t bare; /* of these without a signature of their own */
};

/* 0 with *ret filled, or a negative errno when the log could not be read. */
int verify_range_run(int dirfd, const struct trust *t, const struct verify_range *o,
                     struct verify_range_report *ret) MUST_CHECK;
