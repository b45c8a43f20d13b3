/* SPDX-License-Identifier: MIT */
/* One log that is shipped: its durable lines and its checkpoints, from the cursor on. What is read is
 * foreign: a line is looked at for its form only, since the receiver checks signatures, and nothing behind
 * the newest checkpoint is read. */
#pragma once

#include <time.h>

#include "common/evidence/envelope.h"
#include "common/evidence/sidecar.h"
#include "supervisor/ctl/ship_state.h"

#define SHIP_TENANT_MAX     64
#define SHIP_TENANT         "default"
#define SHIP_TYPE_MAX       256
#define SHIP_SUBJECT_EVENTS "cellos.events"
#define SHIP_SUBJECT_NOTES  "cellos.checkpoints"
#define SHIP_SUBJECT_MAX    (sizeof(SHIP_SUBJECT_NOTES) + 1 + SHIP_TENANT_MAX + 1 + SHIP_TYPE_MAX)
#define SHIP_CHECKPOINT_GAP_MS                                                                               \
    1000 /* a log's checkpoints are sent at most that often, and the last one always */
#define SHIP_WHY_MAX  512
#define SHIP_RETRY_MS 10000 /* a log that could not be read is looked at again */
#define SHIP_LIES_MAX 64    /* wrong claims about a log in one look at the stream */

struct ship_log {
    char *path;
    char origin[CHECKPOINT_NAME_MAX + 1]; /* "" : not a log yet */
    struct ship_cursor cursor;
    bool dirty;        /* the cursor is ahead of its file */
    bool failed;       /* told once; not looked at again before retry_at */
    uint64_t retry_at; /* clock_boottime_us(); 0: never, what is wrong stays wrong */
    uint32_t told;     /* digest of what was told last */
    bool watched;
    bool skip_pruned;      /* goes on behind lines that retention removed before they were shipped */
    uint64_t read;         /* the next line to read, >= cursor.next */
    uint64_t size;         /* lines the newest checkpoint covers */
    struct buf note;       /* that checkpoint */
    uint64_t noted;        /* size of the newest checkpoint that was taken, >= cursor.noted */
    uint64_t noted_at;     /* clock_boottime_us() then */
    struct timespec mtime; /* of the checkpoint file when it was read last, and its inode */
    uint64_t inode;
    /* Stands before line `read`. It holds bytes from behind the checkpoint it was opened under, which a crash
     * and a recovery may still replace, so a new checkpoint makes a new one. */
    struct log_reader *reader;
    bool in_segment;  /* the reader sees this segment only, from base on */
    uint64_t segment; /* of the line before `read`, and where that ended in it; 0, 0: not known */
    uint64_t offset, base;
    int dirfd;
    /* While a stream is looked at: stands before line claims_at. */
    struct log_reader *claims;
    uint64_t claims_at;
    unsigned lies;
    /* seal: batch */
    struct sidecar_reader *sidecar; /* of dirfd */
    struct keyring *ring;           /* the keys the log names itself: whose name goes into the sealed line */
    bool held;                      /* line `read` was read and has no signature yet: */
    struct log_line line;           /* that line, its text in held_text */
    struct buf held_text;
};

/* What is handed to a destination: an event's line or a checkpoint. */
struct ship_item {
    struct ship_log *log; /* NULL: a dead letter that is tried again */
    char origin[CHECKPOINT_NAME_MAX + 1];
    uint64_t index; /* the event's sequence; the checkpoint's size */
    bool checkpoint;
    bool bare; /* an event without its signature: what was read, never what is sent */
    char id[SHIP_ID_MAX + 1];
    char type[SHIP_TYPE_MAX + 1]; /* without the common prefix; of an event only */
    char *data;                   /* owned; what is sent, unchanged */
    size_t len;
};
void ship_item_done(struct ship_item *i);

/* path is copied. NULL when memory is out. */
struct ship_log *ship_log_new(const char *path);
struct ship_log *ship_log_free(struct ship_log *l);

enum ship_look {
    SHIP_LOOK_SAME = 0,
    SHIP_LOOK_NEW = 1,  /* a newer checkpoint */
    SHIP_LOOK_NO_LOG,   /* no checkpoint there (yet) */
    SHIP_LOOK_TAMPERED, /* something in it contradicts itself or the cursor: why */
    SHIP_LOOK_FAILED,   /* cannot be read: why */
};
/* Reads the checkpoint when its file is another than last time, and at first sight the origin and the cursor.
 */
int ship_log_look(struct ship_log *l, const struct ship_state *s, char why[static SHIP_WHY_MAX]) MUST_CHECK;

enum ship_next {
    SHIP_NEXT_NONE = 0, /* all is read */
    SHIP_NEXT_ITEM = 1,
    SHIP_NEXT_UNSIGNED, /* seal: batch: the next line has no signature yet */
    SHIP_NEXT_PRUNED, /* lines were gone and are left out, as skip_pruned wants: why says which; call again */
    SHIP_NEXT_GONE,   /* as SHIP_NEXT_PRUNED, but without skip_pruned: the log ends here */
    SHIP_NEXT_TAMPERED,
    SHIP_NEXT_FAILED,
};
/* The next line, or behind the last one the checkpoint (when `checkpoints` and the gap is over, or `final`).
 */
int ship_log_next(struct ship_log *l, bool checkpoints, bool final, struct ship_item *ret,
                  char why[static SHIP_WHY_MAX]) MUST_CHECK;

/* The item is accepted or a dead letter: moves the cursor. Items are accepted in the order they were read. */
void ship_log_accept(struct ship_log *l, const struct ship_item *i);
/* The destination is known to have every line below next, and the checkpoint of size noted (0: none). */
void ship_log_skip(struct ship_log *l, uint64_t next, uint64_t noted);
/* A message in the stream says that it is the event with this id at this index (below size): whether that may
 * be believed. ours: its subject is one of this ship's tenant. */
bool ship_log_claimed(struct ship_log *l, uint64_t index, const char *id, bool ours);
void ship_claims_end(struct ship_log *l);
/* Whether the destination is known to have the item already. */
bool ship_log_has(const struct ship_log *l, const struct ship_item *i);
/* Gives back memory and fds while nothing is to be read. */
void ship_log_rest(struct ship_log *l);

/* From the line: id and type. False when it is not an event whose type can be part of a subject. */
bool ship_item_event(struct str line, struct ship_item *ret);
/* Tenants: 1 ... SHIP_TENANT_MAX of A-Z a-z 0-9 _ -, so that one is exactly one token of a subject. */
bool ship_tenant_ok(const char *s);
/* cellos.events.<tenant>.<type> or cellos.checkpoints.<tenant> */
void ship_item_subject(const struct ship_item *i, const char *tenant, char dst[static SHIP_SUBJECT_MAX]);
