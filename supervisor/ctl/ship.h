/* SPDX-License-Identifier: MIT */
/* cellctl ship: takes durable events out of logs and hands them to a destination, in order, each once.
 *
 *     ship_args   flags, the destination's name
 *     ship_logs   which logs; ship_log: one of them, from its cursor on; ship_item: what is sent and under
 * which name ship_state  cursors, position, lock, dead letters on disk ship_loop   a window of items,
 * delivered until the destination has them all; back-off; signals ship_nats, ship_http   destinations
 *
 * A window is a row of items in the order of their logs. A destination accepts a prefix of it and says what
 * is to be done about the first one it did not take: nothing ever overtakes. */
#pragma once

#include "supervisor/ctl/jetstream.h"
#include "supervisor/ctl/ship_logs.h"

#define SHIP_WINDOW_MAX       256
#define SHIP_WINDOW_BYTES_MAX (8u << 20)
#define SHIP_BATCH_MAX        SHIP_WINDOW_MAX /* --batch */
#define SHIP_GIVE_UP_S        60              /* --once: no progress for so long */
#define SHIP_DEAD_ROW_MAX     16    /* dead letters in a row: then the destination is wrong, not the event */
#define SHIP_SAVE_MS          200   /* NATS: cursors are written at most that often under load */
#define SHIP_DRAIN_MS         5000  /* after a signal: what is in flight may still be accepted */
#define SHIP_ACK_MS           30000 /* no answer at all for so long: the connection is given up */
#define SHIP_HTTP_CONNECT_MS  10000
#define SHIP_HTTP_TOTAL_MS    30000
#define SHIP_HTTP_TRIES       3 /* of an event the server does not like, before it is a dead letter */
#define SHIP_TOKEN_MAX        8192

struct ship_args {
    const char *dir;
    const char *to; /* nats:// tls:// http:// https:// */
    bool http;
    const char *tenant;
    const char *id; /* name of the destination in the state directory; NULL: made of to, tenant and stream */
    const char *state;
    const char *stream;        /* NATS: the stream that must take it; NULL: the one that takes the subjects */
    const char *create_stream; /* NATS: made when missing */
    const char *token_file;    /* HTTP */
    struct jetstream_options nats; /* its ca counts for HTTP too */
    uint64_t batch;                /* HTTP: events a request; 0: structured mode, one */
    uint64_t give_up_s;
    bool once, status, retry_dead, skip_pruned, no_checkpoints, verbose;
};
int ship_args_parse(int argc, char **argv, struct ship_args *ret) MUST_CHECK; /* an exit status */
/* The name of the destination in the state directory. */
void ship_args_id(const struct ship_args *a, char dst[static SHIP_DESTINATION_MAX + 1]);

struct ship_signals {
    int fd;
    bool stop;
    uint64_t until; /* clock_boottime_us(): what is in flight may take so long */
};

struct ship {
    struct ship_args args;
    struct ship_state state;
    struct ship_logs logs;
    struct ship_signals signals;
    struct ship_told told;
    int status; /* the worst exit status so far */
    uint64_t sent, dead;
};

/* Whether a signal asked for the end; *ret_late (may be NULL): also what is in flight has had its time. */
bool ship_stopping(struct ship *s, bool *ret_late);

/* What a message in the destination says it is. */
struct ship_claim {
    const char *origin, *subject, *id;
    bool checkpoint;
    uint64_t index;
};
/* Called by a destination that found a message which says it is one of ours: when that can be believed the
 * cursor of its log is set behind it, or its dead letter is removed. True when that changed anything. */
bool ship_found(struct ship *s, const struct ship_claim *c);
/* All is looked at. */
void ship_found_all(struct ship *s);

enum ship_verdict {
    SHIP_ALL = 0, /* the whole window */
    SHIP_AGAIN,   /* something is different now: look at the window and deliver again, at once */
    SHIP_WAIT,    /* not now: back off, at least wait_ms */
    SHIP_DEAD,    /* the first one that was not accepted never will be */
    SHIP_STOP,    /* cannot work before the operator changes something */
};

struct ship_result {
    size_t done; /* accepted, from the front */
    enum ship_verdict verdict;
    uint32_t wait_ms;
    char why[SHIP_WHY_MAX];
};

/* A destination: ops is its first member. */
struct ship_dest {
    const struct ship_dest_ops *ops;
};
struct ship_dest_ops {
    /* Blocks until the outcome is known, or as long as ship_stopping() allows. */
    void (*deliver)(struct ship_dest *d, const struct ship_item *items, size_t n, struct ship_result *ret);
    /* After the cursors were written; durable when it returns. 0 or -errno. */
    int (*saved)(struct ship_dest *d);
    struct ship_dest *(*free)(struct ship_dest *d);
    bool lazy; /* it finds out by itself what a cursor that was not written missed */
};
int ship_nats_new(struct ship *s, struct ship_dest **ret) MUST_CHECK;
int ship_http_new(struct ship *s, struct ship_dest **ret) MUST_CHECK;

/* Delivers what is there and what comes, or with args.once only the former. An exit status. */
int ship_loop(struct ship *s, struct ship_dest *d) MUST_CHECK;
/* Delivers the dead letters again. An exit status. */
int ship_loop_dead(struct ship *s, struct ship_dest *d) MUST_CHECK;

/* Prints cursors, lag and dead letters of this destination. An exit status. */
int ship_status(const struct ship_args *a) MUST_CHECK;

/* Takes everything away that a ship does not need: no_new_privs, and Landlock where the kernel has it. Before
 * any thread is started. 0 or -errno. */
int ship_confine(const struct ship_args *a, const struct ship_state *s) MUST_CHECK;
