/* SPDX-License-Identifier: MIT */
/* The rules a log's lines keep, in two halves: what can be said of one line alone (and on any thread), and
 * what holds from line to line. signerd's recovery and cellctl verify use the same. */
#pragma once

#include "common/evidence/keyring.h"
#include "common/evidence/merkle.h"

#define LOG_CHECK_RUNS_MAX 65536 /* runs that are open at the same time in one log */
#define LOG_CHECK_WHY_MAX  256
#define LOG_TYPE_PREFIX    "dev.cellos.events.cell."

/* One line, judged alone. */
struct log_check_line {
    struct envelope_line parsed; /* borrowed from the line; valid when error != ENVELOPE_E_FORM, _E_DATA */
    uint8_t leaf[DIGEST_LEN];
    int error; /* an envelope_error, or -ENOMEM */
};

/* The signature of a bare line, from beside its segment (sidecar.h). */
struct log_check_sig {
    const struct keyring_key *key;
    uint8_t sig[ED25519_SIG_LEN];
};

/* Any thread that called digest_init(). sig: of a bare line, or NULL: it has none, and is judged by its form
 * and, later, by the tree. A sealed line has its own. */
void log_check_alone(struct str line, const struct keyring *ring, const struct log_check_sig *sig,
                     struct log_check_line *ret);

struct log_check;

/* The check of a log from its first line, or (with a tree) from the line behind that tree; then a run's first
 * line seen may have any cellsequence. NULL when memory is out. */
struct log_check *log_check_new(const struct merkle *tree);
struct log_check *log_check_free(struct log_check *c);
void log_check_freep(struct log_check **c);

/* The next line: its own error, sequence = place in the log, cellsequence counts up within its run, the data
 * speak of the same cell and run as the envelope, one subject a run, nothing after destroyed, a
 * log.v1.recovered seals the size and root of the tree before it. 0, or -EBADMSG with one sentence in why;
 * -ENOMEM. Only on 0 the line is part of the tree. */
int log_check_next(struct log_check *c, const struct log_check_line *l,
                   char why[static LOG_CHECK_WHY_MAX]) MUST_CHECK;

const struct merkle *log_check_tree(const struct log_check *c);

/* The runs without a destroyed event so far. */
size_t log_check_open_runs(const struct log_check *c);
uint64_t log_check_runs(const struct log_check *c); /* all that were seen */

/* Calls fn for every open run. */
void log_check_each_open(const struct log_check *c,
                         void (*fn)(void *arg, struct str run_id, struct str cell_id, uint64_t cellsequence),
                         void *arg);
