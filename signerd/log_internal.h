/* SPDX-License-Identifier: MIT */
/* The parts of struct elog: log.c moves claims between its queues, log_batch.c seals them, log_cover.c
 * decides when a checkpoint goes over them, log_open.c starts and ends it, log_after.c signs bare lines in
 * idle time, log_run.c looks back into what is written, log_closed.c has closed segments looked after. */
#pragma once

#include "common/evidence/merkle.h"
#include "signerd/afterseal.h"
#include "signerd/commit.h"
#include "signerd/keeper.h"
#include "signerd/log.h"
#include "signerd/seal.h"

/* One accepted event on its way to the disk. */
struct claim {
    struct claim *next;
    uint32_t role;
    const struct event_row *row;
    struct cell *cell;
    uint32_t state_before; /* of the cell: what is restored when this is lost */
    struct seal_stamp stamp;
    elog_done_fn done;
    void *data;
    int err;         /* why it could not be sealed */
    size_t line_len; /* once sealed, with LF */
    uint64_t sequence;
    uint8_t leaf[DIGEST_LEN];
    size_t len;
    char json[];
};

struct claim_queue {
    struct claim *head, **tail;
    size_t n, bytes;
};

/* What happens about closed segments. */
enum closed_state {
    CLOSED_IDLE,
    CLOSED_WORK, /* the keeper has a job */
    CLOSED_SEAL, /* log.v1.pruned is on its way into the log */
};

struct elog {
    struct elog_config cfg;
    struct disk *disk;
    struct commit *commit;
    ev_timer kick;           /* never armed: fed by hand */
    struct afterseal *after; /* seal: batch; else NULL */
    ev_idle sign;            /* while lines wait there */
    struct seal seal;
    struct merkle tree; /* with the batch under way */
    struct tiles tiles;
    struct buf note;  /* the durable checkpoint */
    uint64_t covered; /* lines below it */
    uint64_t durable; /* lines, acknowledged */
    bool cover;       /* the next commit has a checkpoint */
    bool hurry;       /* as soon as nothing is pending, such a commit follows */
    bool close;       /* and ends the segment, if that is old */
    ev_timer cover_timer;
    ev_timer age_timer; /* of the segment that grows */
    struct claim_queue pending;
    uint64_t reserve; /* of all started cells */
    bool full;        /* the disk is: only end events, out of the reserve */
    bool probe;       /* try an ordinary commit all the same */
    uint64_t probe_us;
    bool expired; /* the signing key does not count any more */
    int dead;     /* the errno that ended it */
    /* the commit under way */
    bool busy;
    struct claim_queue batch;
    bool emergency;
    struct buf lines, batch_note;
    struct disk_tile *batch_tiles;
    size_t nbatch_tiles, cap_batch_tiles;
    struct merkle tree_before;
    struct tiles tiles_before;
    /* closed segments */
    struct keeper *keeper; /* once there was one */
    enum closed_state closed;
    bool closed_again;     /* and once more when that is done */
    uint64_t open_segment; /* all before it are closed */
    uint64_t prune_left;   /* of ELOG_PRUNE_RESERVE */
    struct prune_choice choice;
    ev_timer closed_timer;
};

/* log_queue.c */
void claim_queue_init(struct claim_queue *q);
void claim_queue_push(struct claim_queue *q, struct claim *c);
struct claim *claim_queue_pop(struct claim_queue *q); /* the oldest, or NULL */

/* log_batch.c: seals the claim as the next line of the batch. 0; -ENOSPC: the disk is full and the cell's
 * reserve has no room for it; -errno. */
int elog_seal(struct elog *l, struct claim *c) MUST_CHECK;
/* Takes that back, except for the tree, which goes back as a whole. */
void elog_unseal(struct elog *l, struct claim *c);

/* log_cover.c: whether the batch to come needs its checkpoint before it is acknowledged, or one is due. */
bool elog_wants_note(const struct elog *l);
/* A commit has ended: sees to it that what it left uncovered will be covered, and that a segment ends in
 * time.
 */
void elog_cover_later(struct elog *l);
/* Nothing runs any more: writes the checkpoint that is still due. */
void elog_cover_now(struct elog *l);
void elog_on_cover_timer(struct ev_loop *loop, ev_timer *w, int revents);
void elog_on_age_timer(struct ev_loop *loop, ev_timer *w, int revents);
/* The checkpoint of the tree as it is, into batch_note. 0 or -errno. */
int elog_render_note(struct elog *l) MUST_CHECK;

/* log_closed.c: has the keeper look after closed segments, now or when it has done what it is at. */
void elog_look_closed(struct elog *l);
/* Between two batches: does that if a segment was closed. */
void elog_check_closed(struct elog *l);
void elog_on_closed_timer(struct ev_loop *loop, ev_timer *w, int revents);
/* log_keyset.c: seals log.v1.keyset_changed. 0 or -errno. */
int elog_seal_keyset(struct elog *l) MUST_CHECK;

/* log.c: has a commit begin once the loop has dealt with everything else */
void elog_kick(struct elog *l);
/* callbacks of the loop */
void elog_on_commit(void *self, int err);
void elog_on_kick(struct ev_loop *loop, ev_timer *w, int revents);

/* log_after.c */
int elog_after_open(struct elog *l) MUST_CHECK;
/* The lines of a batch are durable. 0 or -ENOMEM. */
int elog_after_add(struct elog *l, const struct claim_queue *batch) MUST_CHECK;
/* Keeps what waits within its limit, at the cost of this batch. */
void elog_after_limit(struct elog *l, size_t batch);
/* Signs what waits (finish: the process ends in order), forgets the rest. */
void elog_after_close(struct elog *l, bool finish);
