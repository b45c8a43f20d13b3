/* SPDX-License-Identifier: MIT */
/* The logs that are shipped: one, or all directly below a directory, also those that appear later. */
#pragma once

#include "supervisor/ctl/ship_log.h"

#define SHIP_LOGS_MAX    1000000
#define SHIP_WATCHES_MAX 1024 /* logs that inotify tells about; the others are looked at with every scan */
#define SHIP_SCAN_MS     2000

struct ship_logs {
    const char *dir;
    bool skip_pruned; /* for each log */
    bool single;      /* dir is a log itself */
    struct ship_log **log;
    size_t n;
    void *names; /* tsearch(3) of what is below dir and known */
    size_t turn; /* whose turn it is to give an item */
    int inotify;
    int parent; /* watch of the directory */
    struct {
        int wd;
        size_t log;
    } watch[SHIP_WATCHES_MAX];
    size_t nwatches;
    uint64_t scanned_at;
    bool rescan;
};

struct ship_told {
    void (*fn)(void *arg, int status, const char *why); /* an exit status (ctl.h) and a sentence */
    void *arg;
};

/* dir: a log, or a directory with logs below, which may still be empty. 0 or -errno. */
int ship_logs_open(const char *dir, bool skip_pruned, struct ship_logs *ret) MUST_CHECK;
void ship_logs_done(struct ship_logs *l);

/* Finds what is new: with inotify's events where they suffice, by a scan where not (at least every
 * SHIP_SCAN_MS). A log that is wrong is told once and left out from then on, one that could not be read for
 * SHIP_RETRY_MS. 0 or -errno. */
int ship_logs_look(struct ship_logs *l, const struct ship_state *s, const struct ship_told *t) MUST_CHECK;

/* The next item of any log, in turn: an enum ship_next. */
int ship_logs_next(struct ship_logs *l, bool checkpoints, bool final, struct ship_item *ret,
                   const struct ship_told *t) MUST_CHECK;

struct ship_log *ship_logs_find(struct ship_logs *l, const char *origin);
/* Lines that are durable and not accepted yet. */
uint64_t ship_logs_lag(const struct ship_logs *l);
/* Whether a checkpoint waits for the gap to its predecessor. */
bool ship_logs_note_due(const struct ship_logs *l);
