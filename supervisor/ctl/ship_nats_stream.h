/* SPDX-License-Identifier: MIT */
/* The stream behind a subject: which it is, where it ends, and what of ours is in it. */
#pragma once

#include "supervisor/ctl/ship.h"

#define SHIP_HEADER_ORIGIN   "Cellos-Origin"     /* the log */
#define SHIP_HEADER_SEQUENCE "Cellos-Sequence"   /* an event's place in it */
#define SHIP_HEADER_SIZE     "Cellos-Checkpoint" /* the lines a checkpoint covers */
#define SHIP_SCAN_WAIT_MS    10000

struct ship_stream {
    char name[SHIP_STREAM_MAX + 1];
    uint64_t created; /* nanoseconds: a stream that was made again under its name is another */
    uint64_t first, last;
    bool work_queue; /* takes no consumer besides its own */
};

/* The stream that takes events and checkpoints of this tenant, made when --create-stream says so. 0; -EINVAL
 * when there is none or not the right one and somebody has to do something (the sentence says what); -EIO. */
int ship_stream_find(struct jetstream *js, const struct ship_args *a, struct ship_stream *ret,
                     char why[static JETSTREAM_WHY_MAX]) MUST_CHECK;

/* Its present state. 0, or -EIO. */
int ship_stream_look(struct jetstream *js, struct ship_stream *s,
                     char why[static JETSTREAM_WHY_MAX]) MUST_CHECK;

/* Reads the headers of what lies from this sequence up to s->last and calls ship_found() for what is ours;
 * *ret_changed is set when that changed anything. 0; -EIO; -ECANCELED when the ship shall stop. */
int ship_stream_scan(struct ship *ship, struct jetstream *js, const struct ship_stream *s, uint64_t from,
                     bool *ret_changed, char why[static JETSTREAM_WHY_MAX]) MUST_CHECK;
