/* SPDX-License-Identifier: MIT */
/* The whole check of one log directory with nothing but public keys: every line (log_check.h), the tree
 * against the checkpoint, the checkpoint's signature and origin, the segments' names. Reads; never writes. */
#pragma once

#include "common/evidence/trust.h"

enum log_verdict {
    LOG_GOOD = 0,
    LOG_BAD_LINE = 1, /* a line is wrong: line, segment, segment_line say which */
    LOG_BAD_SEGMENT,  /* a file's name does not fit, or a closed segment is damaged, or lines before the first
                         are gone that no log.v1.pruned accounts for */
    LOG_BAD_CHECKPOINT, /* none, not signed by a key of the ring that counts, or of another log */
    LOG_BAD_KEY,        /* no key to verify with: neither given nor in the log */
    LOG_BAD_SHORT,      /* fewer lines than the checkpoint says */
    LOG_BAD_ROOT,       /* all lines are good, but the checkpoint signs another tree */
    LOG_BAD_OUTSIDE,    /* contradicts the checkpoint from outside (rolled back, or another history) */
    LOG_BAD_TILE,       /* a tile of lines that were pruned is missing or wrong: why names it */
    _LOG_VERDICT_MAX,
};

struct log_verify_options {
    struct trust_root trust; /* nothing set: the log's own keys are believed (self_declared in the report) */
    const struct checkpoint *outside; /* NULL: none */
    struct str outside_note; /* instead of outside: verified here, once the key is known; p == NULL: none */
    unsigned threads;        /* 0: as many as there are processors, at most JUDGE_THREADS_MAX */
    /* May be NULL. Called now and then with the lines done and the lines expected. */
    void (*progress)(void *arg, uint64_t done, uint64_t size);
    /* May be NULL. A rule of the caller's about a line that passed everything else: 0, or -EBADMSG with a
     * sentence. */
    int (*rule)(void *arg, const struct envelope *e, char why[static LOG_CHECK_WHY_MAX]);
    /* May be NULL. Called for every run that has no destroyed event. */
    void (*open_run)(void *arg, struct str run_id, struct str cell_id, uint64_t cellsequence);
    /* May be NULL. Called for every good note in witness/ (log_witnessed.h), when all else is good. */
    int (*witnessed)(void *arg, const char *name, struct str note, const struct checkpoint *c);
    void *arg;
};

struct log_report {
    enum log_verdict verdict;
    char why[LOG_CHECK_WHY_MAX]; /* one sentence when not LOG_GOOD */
    uint64_t line;               /* LOG_BAD_LINE: number in the log, from 1 */
    uint64_t segment;            /* name of its file as a number */
    bool compressed;             /* which is the .zst */
    uint64_t segment_line;       /* number in that file, from 1 */
    struct vkey key;             /* that signed the checkpoint; name is empty when none did */
    bool self_declared;          /* that key came from the log itself */
    bool has_checkpoint;
    struct checkpoint checkpoint; /* when has_checkpoint */
    uint64_t pruned;              /* lines that retention took away: accounted for, and in the tree */
    uint64_t lines;               /* good lines behind them and below the checkpoint */
    uint64_t bare;       /* of these without a signature of their own: the checkpoint alone signs them */
    uint64_t bare_older; /* and of these from before the time of the checkpoint's key */
    uint64_t runs;
    uint64_t open_runs;
    uint64_t segments;
    uint64_t tiles_missing; /* full ones that are not there; they can be made again */
    uint64_t uncovered;  /* whole, good lines behind the checkpoint: the log does not answer for them yet */
    uint64_t torn_bytes; /* unfinished last line behind the checkpoint (at least that many bytes) */
};

/* 0 with *ret filled (whatever the verdict), or a negative errno when the log could not be read at all. */
int log_verify(int dirfd, const struct log_verify_options *o, struct log_report *ret) MUST_CHECK;

/* Small files of a log directory ("origin", "vkey", "checkpoint"), at most max bytes, regular, not through a
 * link. Appends to b. 0 or -errno. */
int log_verify_read_file(int dirfd, const char *name, struct buf *b) MUST_CHECK;

/* That the origin file names the log that c is a checkpoint of. 0; -EBADMSG with a sentence; -errno. */
int log_verify_origin(int dirfd, const struct checkpoint *c, char why[static LOG_CHECK_WHY_MAX]) MUST_CHECK;

#define LOG_FILE_MAX 65536
