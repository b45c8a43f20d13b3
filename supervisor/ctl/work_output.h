/* SPDX-License-Identifier: MIT */
/* What a workload writes, kept in files: STATE/work/<run id>/stdout and stderr, each up to a size; what is
 * more is read and dropped, and counted, so that a workload that writes too much goes on. */
#pragma once

#include <ev.h>
#include <limits.h>
#include <stdint.h>

#include "common/base/cleanup.h"

#define OUTPUT_DIR          "work"
#define OUTPUT_MAX_DEFAULT  (16u << 20) /* bytes of one file */
#define OUTPUT_KEEP_DEFAULT 1000u       /* runs; the oldest go first */
#define OUTPUT_KEEP_MAX     100000u

struct output_file {
    ev_io watch;
    int pipe, file;
    uint64_t written, dropped;
    uint64_t max;
};

struct output {
    struct ev_loop *loop;
    struct output_file files[2]; /* stdout, stderr */
};

/* An output that is not open: output_close() is harmless on it. */
void output_init(struct output *o, struct ev_loop *loop);

/* Makes the directory of this run below work_dir (an absolute path). ret_fds: the ends for the workload; the
 * caller closes them once they are handed over. 0 or -errno. */
int output_open(struct output *o, const char *work_dir, const char *run_id, uint64_t max,
                int ret_fds[static 2]) MUST_CHECK;

/* Takes what is still in the pipes; every writer is gone. */
void output_finish(struct output *o);
void output_close(struct output *o);

/* Removes the oldest runs until at most keep are left. */
void output_prune(const char *work_dir, size_t keep);
