/* SPDX-License-Identifier: MIT */
/* The log's directory: segments, checkpoint, tiles, and the space kept free for the end events. No knowledge
 * of events: it makes bytes durable. After disk_open() only one thread at a time may use it (the commit
 * thread, once it runs). */
#pragma once

#include "common/evidence/log_reader.h"
#include "common/evidence/tile.h"
#include "proto/limits.h"

#define DISK_CHECKPOINT     "checkpoint"
#define DISK_CHECKPOINT_TMP "checkpoint.tmp"
#define DISK_SPARE          "checkpoint.spare" /* its block is there already: the checkpoint of a full disk */
#define DISK_TORN           "torn"
#define DISK_AHEAD          (1u << 20) /* allocated ahead, so that a batch seldom waits for blocks */

struct disk;

struct disk_tile {
    unsigned level;
    uint64_t index;
    unsigned width; /* hashes in data */
    uint8_t data[TILE_BYTES];
};

/* One commit: lines, a checkpoint, or both. */
struct disk_batch {
    struct str lines; /* whole lines; may be empty */
    uint64_t first;   /* index of the first, or of the next */
    struct str note; /* the checkpoint over them and everything before; empty: it is left to a later commit */
    bool close;      /* there are no lines: a segment that is old ends here */
    uint64_t reserve; /* bytes that must still be allocated behind the lines */
    bool emergency;   /* the lines may eat from the space reserved before; nothing new is allocated */
    const struct disk_tile *tiles;
    size_t ntiles;
};

/* A directory for one signer: takes its own lock on it. dirfd is borrowed. 0; -EWOULDBLOCK when another
 * signer has it; -errno. */
int disk_open(int dirfd, struct disk **ret) MUST_CHECK;
struct disk *disk_free(struct disk *d); /* gives back the unused reserve; NULL-safe; returns NULL */

int disk_dirfd(const struct disk *d);

/* When a segment is closed, and the next batch begins a new one: once it has so many bytes, or its first line
 * is so old. 0: the defaults of proto/limits.h. */
void disk_set_limits(struct disk *d, uint64_t segment_bytes, uint64_t segment_age_s);

/* The first index of the segment that grows: all others are closed. Only while no commit is under way. */
uint64_t disk_open_segment(const struct disk *d);

/* Appends go to this segment from now on, behind its present end. since_s: the time of its first line (epoch
 * seconds), if it has one. */
int disk_use_segment(struct disk *d, uint64_t first, uint64_t since_s) MUST_CHECK;
/* The same for a new, empty one. */
int disk_new_segment(struct disk *d, uint64_t first) MUST_CHECK;

/* lines -> fdatasync -> checkpoint, if there is one (tmp, fdatasync, rename, fsync of the directory). Tiles
 * are written after that and their failure is only logged: they can be made again. 0: durable. -ENOSPC:
 * nothing changed, the log is as before. Another negative errno: what is on the disk is not known any more;
 * the process must end, recovery sorts it out. */
int disk_commit(struct disk *d, const struct disk_batch *b) MUST_CHECK;

/* Seconds until the segment that grows is too old to go on; 0: it is; UINT64_MAX: it has no line. Only while
 * no commit is under way. */
uint64_t disk_age_left(const struct disk *d);

/* Once a commit has been answered: does beforehand what the next one, with a checkpoint of about that length
 * (0: none was written), would have to wait for. What fails is left to that commit. */
void disk_prepare(struct disk *d, size_t note_len);

/* Replaces a small file as a whole and makes it durable. 0 or -errno. */
int disk_write_file(const struct disk *d, const char *name, struct str bytes) MUST_CHECK;

/* Makes room for the checkpoint of a full disk. 0 or -errno. */
int disk_make_spare(struct disk *d, struct str note) MUST_CHECK;

int disk_write_tile(const struct disk *d, const struct disk_tile *t) MUST_CHECK;
/* The same below any log directory. */
int disk_write_tile_at(int dirfd, const struct disk_tile *t) MUST_CHECK;
