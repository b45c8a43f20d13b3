/* SPDX-License-Identifier: MIT */
/* Events as a timeline: one readable line each, a heading where a run begins, a line that sums it up where it
 * ends. All foreign text is escaped. */
#pragma once

#include <jansson.h>

#include "common/base/buf.h"
#include "common/evidence/envelope.h"

#define EVENTS_LINE_MAX  65536u /* bytes of what one event prints */
#define EVENTS_RUNS_MAX  65536u /* runs that are kept apart at the same time */
#define EVENTS_WIDTH_MIN 60u    /* a narrower terminal is taken for this wide */

/* What is known of a run that has not ended. */
struct events_run {
    char id[UUID_TEXT_LEN + 1];
    char start[24];    /* time of its first event */
    uint64_t start_ms; /* the same: offsets count from here */
    uint64_t allowed, denied;
    bool shown; /* something of it was printed */
};

struct events_format {
    bool color;
    bool tags;      /* several runs may alternate: each line says of which it is */
    unsigned width; /* columns a line may take; 0: any */
    struct events_run *runs;
    size_t n;
    char heading[UUID_TEXT_LEN + 1]; /* the run under whose heading we are */
};

/* Takes notice of an event, shown or not. 0 or -ENOMEM. */
int events_format_see(struct events_format *f, const struct envelope *e, const json_t *data) MUST_CHECK;

/* Appends the event's line to out, and what has to stand before it. data: NULL when it is no JSON object:
 * then the bytes are shown as they are. */
void events_format_line(struct events_format *f, const struct envelope *e, const json_t *data,
                        struct buf *out);

/* After an event: when its run has ended with it, sums the run up (if anything of it was shown) and forgets
 * it. True when it ended. */
bool events_format_end(struct events_format *f, const struct envelope *e, const json_t *data,
                       struct buf *out);
void events_format_done(struct events_format *f);
