/* SPDX-License-Identifier: MIT */
/* The evidence log: accepted events in, acknowledgements out once they are durable. Group commit: while the
 * disk is busy with one batch the next one collects. Order is the order of arrival. */
#pragma once

#include <ev.h>

#include "signerd/cells.h"
#include "signerd/keys.h"

#define ELOG_PROBE_US     1000000           /* how often a full disk is tried again for ordinary events */
#define ELOG_LAST_RESERVE (2u * LIMIT_LINE) /* of a cell's reserve, only for completed and destroyed */
#define ELOG_PRUNE_RESERVE                                                                                   \
    4096u /* kept for log.v1.pruned where there is retention: a full disk can be helped */

/* An acknowledged line is below a durable checkpoint after that, and a commit. */
#define ELOG_COVER_US 50000

#define ELOG_LOOK_US 60000000 /* how often retention by age, and what failed, is tried (again) */

struct elog;

struct elog_config {
    struct ev_loop *loop;
    int dirfd; /* of the log; borrowed */
    struct keys *keys;
    struct cells *cells;
    const char *host;
    const char *boot_id;
    const char *origin;
    uint32_t seal;                         /* enum seal_mode; 0: SEAL_EVENT */
    uint64_t segment_bytes, segment_age_s; /* 0: LIMIT_SEGMENT, LIMIT_SEGMENT_AGE_S */
    uint64_t retain_bytes, retain_age_s;   /* closed segments beyond that are pruned; 0: everything is kept */
    /* The log takes nothing more: -ENOSPC (only the end events of started cells; it may get better), or
     * another negative errno: nothing at all, the process must end. */
    void (*failed)(void *self, int err);
    /* elog_is_idle() has become true. May be NULL. */
    void (*idle)(void *self);
    void *self;
};

/* Opens or lays out the log, recovers it, starts the disk thread, seals log.v1.recovered when the log was not
 * new. cfg is copied, its strings are borrowed. 0; -EBADMSG: not a log that may be continued; -EWOULDBLOCK:
 * another signer has it; -errno. Logged. */
int elog_open(const struct elog_config *cfg, struct elog **ret) MUST_CHECK;

/* Makes what was accepted durable as far as possible without calling back, stores the unfinished tiles.
 * NULL-safe. */
struct elog *elog_free(struct elog *l);

/* err 0: durable as `sequence`. Else it is not in the log: -ENOSPC (the disk is full, for this event or one
 * it followed from), -EIO, -ENOMEM. */
typedef void (*elog_done_fn)(void *data, int err, uint64_t sequence);

struct elog_event {
    uint32_t role; /* who says it */
    const struct event_row *row;
    struct cell *cell; /* NULL: an event of the log */
    struct str data;   /* rendered JSON; copied */
};

/* Accepts an event that authority_judge() allowed in the cell's present state, and moves that state. done
 * (may be NULL) comes later, never from inside; the checkpoint over the event may come later still, but for
 * the last event of a cell and for those of the log itself. 0; -EDQUOT: too much is pending; -ENOSPC: the
 * disk is full; -EIO; -ENOMEM; -ERANGE. */
int elog_submit(struct elog *l, const struct elog_event *e, elog_done_fn done, void *data) MUST_CHECK;

/* Nothing is pending, nothing under way, and the checkpoint is over everything (or cannot be:
 * there is no room, or the log is dead). */
bool elog_is_idle(const struct elog *l);

/* Somebody waits until the log is idle: the last checkpoint is written once nothing is pending, not in
 * ELOG_COVER_US. */
void elog_hurry(struct elog *l);

/* Closed segments are looked after, for now: compressed, and pruned as far as retention wants. */
bool elog_is_settled(const struct elog *l);

/* The last durable head: number of lines, and the note (valid until the loop runs on). Acknowledged lines may
 * stand behind it. */
struct str elog_head(const struct elog *l, uint64_t *ret_size);

/* What the log says of a run that began before this process. */
struct elog_run {
    uint64_t since_s;      /* nothing of it can be older (epoch seconds) */
    uint64_t cellsequence; /* the greatest there is */
    uint64_t earliest;     /* and the smallest; 0: none */
    bool started, ended, destroyed;
    char cell_id[LIMIT_CELL_ID + 1]; /* whose it is */
};

/* Reads the log from its end back to lines older than since_s. 1: found; 0: the log does not know it; -errno.
 */
int elog_find_run(const struct elog *l, struct str run_id, uint64_t since_s, struct elog_run *ret) MUST_CHECK;

/* A cell just opened goes on where the log left it. */
void elog_adopt(struct elog *l, struct cell *cell, const struct elog_run *run);
