/* SPDX-License-Identifier: MIT */
/* The message that says what a job came to: one JSON object, below the queue's results subject. */
#pragma once

#include "supervisor/ctl/suite.h"
#include "supervisor/ctl/work_output.h"

#define RESULT_HOST_MAX 64u
#define RESULT_MAX      65536u

/* Everything is borrowed. What is NULL is left out. */
struct work_result {
    const char *job, *external_run_id, *run_id, *host, *spec_digest;
    uint64_t delivery;
    const char *outcome;               /* enum run_result's text, or "leaseLost", "stopped", "dead" */
    const char *reason;                /* one sentence */
    bool final;                        /* the job is answered for good; else it goes to somebody else */
    const struct suite_outcome *ended; /* NULL: no cell ran */
    const char *log_path;
    const struct output *output;
    const struct violations *violations; /* of a spec that was refused */
};

/* The caller frees it. NULL: out of memory. */
char *work_result_text(const struct work_result *r);
