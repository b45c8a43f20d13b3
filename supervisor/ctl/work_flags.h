/* SPDX-License-Identifier: MIT */
/* The command line of `cellctl work`. */
#pragma once

#include "supervisor/ctl/run_flags.h"
#include "supervisor/ctl/work_streams.h"

#define WORK_PARALLEL_DEFAULT 4u
#define WORK_DELIVER_DEFAULT  5u
#define WORK_DELIVER_MAX      10000u
#define WORK_GRACE_DEFAULT_S  30u
#define WORK_GRACE_MAX_S      86400u

struct work_flags {
    struct jetstream_options nats;
    struct work_names names;
    uint64_t parallel, lease_s, max_deliver, max_pending, grace_s, output_max, output_keep;
    bool create, verbose;
    struct run_flags operator; /* what `cellctl run` would have been told about the suite */
};

/* 0 with *ret to be released by work_flags_done(), or an exit status after the reason has been told. */
int work_flags_parse(int argc, char **argv, struct work_flags *ret) MUST_CHECK;
void work_flags_done(struct work_flags *f);

extern const char work_flags_help[];
