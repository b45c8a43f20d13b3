/* SPDX-License-Identifier: MIT */
/* What a ship keeps on disk, below STATE/ship/<destination>/:
 *
 *     destination        one line, for people: where to, and as which tenant
 *     lock               held while a ship runs
 *     <origin>.cursor    one a log: how far it is accepted
 *     position           NATS: where in the stream our last accepted message lies
 *     dead/              what the destination will never take: <sequence>-<id>.json, the exact line, and the
 * reason
 *
 * Files are replaced whole (temporary file, fsync, rename, fsync of the directory): a crash leaves the old
 * one or the new one. One process writes, the one with the lock; anybody with the right may read. */
#pragma once

#include <limits.h>

#include "common/evidence/checkpoint.h"

#define SHIP_ID_MAX          (CHECKPOINT_NAME_MAX + 1 + 20) /* a checkpoint's: origin+size */
#define SHIP_DESTINATION_MAX 64                             /* bytes of a destination's name */
#define SHIP_STATE_NAME_MAX  240                            /* bytes of a file name here */
#define SHIP_STATE_FILE_MAX  4096
#define SHIP_STREAM_MAX      128

struct ship_state {
    int dir;
    int dead;
    int lock;
    char path[PATH_MAX];
};

/* Makes base/name with what belongs into it where missing, and takes the lock. 0; -EBUSY when another process
 * has it (its id in *ret_pid, 0 when unknown); -errno. */
int ship_state_open(const char *base, const char *name, const char *destination, struct ship_state *ret,
                    int *ret_pid) MUST_CHECK;
/* The same to look at: nothing is made, no lock. -ENOENT when nothing was ever shipped there. */
int ship_state_look(const char *base, const char *name, struct ship_state *ret) MUST_CHECK;
void ship_state_done(struct ship_state *s);

struct ship_cursor {
    char origin[CHECKPOINT_NAME_MAX + 1];
    uint64_t next;  /* every line below is accepted, or a dead letter */
    uint64_t noted; /* size of the newest checkpoint that was accepted */
};

/* "<origin>.cursor" with everything but A-Z a-z 0-9 _ - and inner dots as %XX; a digest when that is too
 * long. */
void ship_cursor_name(const char *origin, char dst[static SHIP_STATE_NAME_MAX + 1]);
/* 0, also when there is none yet (then at 0); -EBADMSG when the file is not of this form or of another log;
 * -errno. */
int ship_cursor_load(const struct ship_state *s, const char *origin, struct ship_cursor *ret) MUST_CHECK;
int ship_cursor_save(const struct ship_state *s, const struct ship_cursor *c) MUST_CHECK;

struct ship_position {
    char stream[SHIP_STREAM_MAX + 1]; /* "" : nothing was ever accepted */
    uint64_t created;  /* of that stream, in nanoseconds: another one of the same name has another */
    uint64_t sequence; /* in the stream: whatever of ours is behind it may not be in a cursor yet */
};
int ship_position_load(const struct ship_state *s, struct ship_position *ret) MUST_CHECK;
int ship_position_save(const struct ship_state *s, const struct ship_position *p) MUST_CHECK;

/* One that will never be taken. */
struct ship_dead {
    const char *origin;
    uint64_t sequence;
    const char *id;
    const char *why; /* one line; control characters are replaced */
    struct str line;
};

/* "<20 digits>-<id>.json", the id's odd bytes as %XX. */
void ship_dead_name(uint64_t sequence, const char *id, char dst[static SHIP_STATE_NAME_MAX + 1]);
/* Durable when it returns. 0 or -errno. */
int ship_dead_put(const struct ship_state *s, const struct ship_dead *d) MUST_CHECK;
/* Removes it, with its reason. 1; 0 when there is none; -errno. */
int ship_dead_remove(const struct ship_state *s, uint64_t sequence, const char *id) MUST_CHECK;
/* How many there are, or -errno. */
int ship_dead_count(const struct ship_state *s) MUST_CHECK;
/* The names, ascending: *ret and each name are the caller's to free. The count or -errno. */
int ship_dead_list(const struct ship_state *s, char ***ret) MUST_CHECK;
/* The line into line, origin and sequence from the reason. 0, -EBADMSG, -errno. */
int ship_dead_load(const struct ship_state *s, const char *name, struct buf *line,
                   char origin[static CHECKPOINT_NAME_MAX + 1], uint64_t *ret_sequence) MUST_CHECK;
