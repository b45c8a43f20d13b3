/* SPDX-License-Identifier: MIT */
/* Lines judged alone (log_check_alone) on several threads and handed out in their order: reading goes on
 * while others verify, and no thread is started for a few lines. Memory is bounded whatever the log's size.
 */
#pragma once

#include "common/evidence/log_check.h"
#include "common/evidence/log_reader.h"

#define JUDGE_THREADS_MAX 64

struct judge_source {
    /* As log_reader_next(); what is not LOG_READ_LINE is final. Called from the thread that calls
     * judge_next().
     */
    int (*next)(void *arg, struct log_line *ret);
    /* The signature of a bare line (sidecar.h), as sidecar_read(). NULL: bare lines have none. */
    int (*sig)(void *arg, const struct log_line *line, struct log_check_sig *ret);
    void *arg;
};

struct judged {
    struct log_line line;
    struct log_check_line check;
    bool bare;
    bool has_sig;  /* the signature of a bare line was found, and is part of check.error */
    int sig_error; /* why a bare line has none: -ENODATA, -ENOKEY, another negative errno; else 0 */
    struct log_check_sig sig;
};

struct judge;

/* ring is borrowed. threads: 0: as many as there are processors. 0 or -ENOMEM. */
int judge_open(const struct judge_source *s, const struct keyring *ring, unsigned threads,
               struct judge **ret) MUST_CHECK;

/* The next line in order, valid until the next call: LOG_READ_LINE with *ret. Else what the source ended with
 * (*ret then holds that line), or a negative errno. */
int judge_next(struct judge *j, const struct judged **ret) MUST_CHECK;

/* What is to be said of a line about its own signature, beside check.error: 0: it has one; 1: none yet (seal:
 * batch); -EBADMSG with a sentence: one that counts for nothing; another negative errno. */
int judged_unsigned(const struct judged *j, char why[static LOG_CHECK_WHY_MAX]) MUST_CHECK;

struct judge *judge_free(struct judge *j); /* NULL-safe; ends and joins the threads; returns NULL */
void judge_freep(struct judge **j);

/* A log's lines from line `from` on with what signs the bare ones: the source of a judge. */
struct judge_log;
int judge_log_open(int dirfd, uint64_t from, const struct keyring *ring, struct judge_log **ret) MUST_CHECK;
struct judge_source judge_log_source(struct judge_log *l);
struct judge_log *judge_log_free(struct judge_log *l); /* NULL-safe; returns NULL */
void judge_log_freep(struct judge_log **l);
