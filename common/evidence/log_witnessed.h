/* SPDX-License-Identifier: MIT */
/* The cosigned checkpoints that a log keeps in witness/: each is one that somebody outside has seen, so the
 * log must still continue it. */
#pragma once

#include "common/evidence/keyring.h"

#define LOG_WITNESSED_MAX     64 /* notes that are looked at */
#define LOG_WITNESSED_WHY_MAX 256

struct log_witnessed {
    size_t n;
    struct log_witnessed_note {
        char name[256]; /* of the file */
        struct buf note;
        int error; /* -errno: it cannot be read */
    } item[LOG_WITNESSED_MAX];
};

/* Reads the notes. Before the log's own checkpoint is read: a log that goes on has then nothing here that is
 * younger than its head. The caller owns *ret also on failure. 0 or -errno. */
int log_witnessed_load(int log, struct log_witnessed *ret) MUST_CHECK;
void log_witnessed_done(struct log_witnessed *w);

/* Holds every note against the log's verified head (through tiles, or lines where tiles do not lead there)
 * and calls see for the good ones; see may be NULL. 0; -EBADMSG with a sentence that names the note; another
 * negative errno. */
int log_witnessed_check(const struct log_witnessed *l, int dirfd, const struct keyring *ring,
                        const struct checkpoint *head,
                        int (*see)(void *arg, const char *name, struct str note, const struct checkpoint *c),
                        void *arg, char why[static LOG_WITNESSED_WHY_MAX]) MUST_CHECK;
