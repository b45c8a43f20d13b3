/* SPDX-License-Identifier: MIT */
/* The three lines of signerd: supervisor, netd, proxyd. */
#pragma once

#include <sys/queue.h>

#include "proto/endpoint.h"
#include "proto/redact.h"
#include "signerd/log.h"
#include "signerd/quota.h"
#include "signerd/refused.h"

#define DISPATCH_LINES 3

/* Claims that came in one frame and are answered in one. */
struct dispatch_group {
    LIST_ENTRY(dispatch_group) link;
    struct dispatch_line *line;
    uint64_t seq;
    size_t n, open;
    struct signer_result result[];
};

/* Where the answer to a claim goes: its place in its group's. */
struct dispatch_to {
    struct dispatch_line *line;
    struct dispatch_group *group; /* NULL: the place is taken */
    size_t slot;
};

/* One claim of a line, answered or not: a repeat gets the same answer. */
struct dispatch_answer {
    uint64_t counter; /* 0: unused */
    struct dispatch_to to;
    struct cell *cell; /* while it is open */
    size_t len;        /* of its data, then */
    uint64_t sequence; /* once durable */
    uint32_t fail;     /* enum fail once refused, 0 = none */
    bool done;
};

/* A log.v1.claim_refused on its way into the log. */
struct dispatch_refusal {
    LIST_ENTRY(dispatch_refusal) link;
    struct dispatch *d;
    struct refused_kind kind;
};

struct dispatch_line {
    struct dispatch *d;
    uint32_t role;                   /* of everything said on this line */
    struct endpoint *e;              /* NULL once it is gone */
    uint64_t counter;                /* the greatest so far */
    size_t pending;                  /* bytes of data that wait for the disk */
    struct dispatch_answer *answers; /* LIMIT_ANSWERS, by counter */
    LIST_HEAD(dispatch_groups, dispatch_group) groups;
};

struct dispatch {
    struct ev_loop *loop;
    struct elog *log;
    struct cells *cells;
    uint64_t started_us;         /* CLOCK_BOOTTIME: runs that are older may be in the log already */
    size_t open;                 /* lines that live */
    bool failed;                 /* the log is dead: the process ends with an error */
    struct quota_table quota;    /* the defaults, unless dispatch_configure() */
    const struct redact *redact; /* borrowed; NULL: nothing */
    struct refused refused;
    LIST_HEAD(dispatch_refusals, dispatch_refusal) refusals;
    ev_timer refused_timer;
    struct dispatch_line line[DISPATCH_LINES];
};

/* Serves the three sockets (taken, closed on failure too; -EBADF: there is none for that role, in tests), in
 * the order supervisor, netd, proxyd. When all lines have closed and everything accepted is durable the loop
 * is broken out of. 0 or -errno. */
int dispatch_init(struct dispatch *d, struct ev_loop *loop, struct cells *cells, int *socks) MUST_CHECK;
void dispatch_done(struct dispatch *d);

/* What the operator wants: how much may be said (NULL: the defaults), and what is left out of it (NULL:
 * nothing; borrowed). Before the loop runs. */
void dispatch_configure(struct dispatch *d, const struct quota_options *quota, const struct redact *redact);

/* Closes all lines; the loop is broken out of as above. */
void dispatch_stop(struct dispatch *d);

/* Callbacks for struct elog_config; self is the struct dispatch. */
void dispatch_on_log_failed(void *self, int err);
void dispatch_on_log_idle(void *self);
