/* SPDX-License-Identifier: MIT */
/* A run as people name it: its run id, at least RUN_FIND_SUFFIX characters of that id's end, the name
 * "run-..." that a run gets by default, or a path. */
#pragma once

#include <limits.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define RUN_FIND_SUFFIX 4

/* Whether this run id is meant by the word. */
bool run_find_matches(const char *run_id, const char *word);

/* The directory of a running suite's socket (RUN_SOCKET_DIR), opened. word may also be that directory's path,
 * or a log's below the same state directory. The fd; or an exit status (ctl.h) as a negative number, after
 * the reason has been told under this verb. *ret_run is the run id (UUID_TEXT_LEN characters). */
int run_find_live(const char *verb, const char *word, char ret_run[], size_t cap) MUST_CHECK;

/* The path of one log: word is a run, a cell's id (its newest run), a log's directory, or NULL for this
 * user's newest. CTL_OK, or an exit status after the reason has been told. */
int run_find_log(const char *verb, const char *word, char ret[PATH_MAX]) MUST_CHECK;
