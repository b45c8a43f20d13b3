/* SPDX-License-Identifier: MIT */
/* How much one role may say of one cell: a rate with a burst, and totals of events and bytes over the cell's
 * life (in this process: a restarted signerd counts from 0). Every role of every cell has its own, so nobody
 * uses up another's. What is over it is refused, and the refusals are counted in the log.
 *
 * Beside the quotas, so that a cell's end is always in the log: lifecycle.started, command.completed and
 * lifecycle.destroyed (their states make each of them once) are not counted; a quota that is used up still
 * lets through a reserve of the supervisor's end events and, while no workload runs, of netd's counters, and
 * gaps at a rate of their own, since they say what is missing. Pure: the time is the caller's. */
#pragma once

#include "common/base/cleanup.h"
#include "proto/events.h"

struct quota_limits {
    uint64_t rate;       /* events a second, 1..LIMIT_QUOTA_RATE_MAX */
    uint64_t burst;      /* events that may come at once */
    uint64_t events;     /* in all */
    uint64_t bytes;      /* of data, in all */
    uint64_t end_events; /* the reserve */
};

struct quota_table {
    struct quota_limits of[ROLE_PROXYD + 1]; /* by role; [0] is unused */
};

/* What an operator may set; 0 = not set. */
struct quota_options {
    uint64_t rate;   /* of proxyd; netd and the supervisor have their own, that never needs raising */
    uint64_t events; /* of netd and of proxyd */
    uint64_t bytes;
};

void quota_table_init(struct quota_table *t, const struct quota_options *o); /* o NULL: the defaults */

struct quota {
    uint64_t due_ns;      /* when the burst is whole again, less the burst; 0: untouched */
    uint64_t gaps_due_ns; /* the same for gaps */
    uint64_t events, bytes;
    uint64_t end_events; /* taken from the reserve */
};

enum quota_verdict {
    QUOTA_OK = 0,
    QUOTA_E_RATE = 1,
    QUOTA_E_EVENTS,
    QUOTA_E_BYTES,
    _QUOTA_MAX,
};

struct quota_event {
    enum event_type type;
    uint32_t state;  /* of the cell: CELL_STATE_* */
    uint64_t now_ns; /* CLOCK_BOOTTIME */
};

/* May this event be looked at? Takes its part of the rate, whatever becomes of it. role: of the three. */
enum quota_verdict quota_take(struct quota *q, const struct quota_table *t, uint32_t role,
                              const struct quota_event *e);

/* Is there room for so many bytes of data? Counts the event when there is. Only behind a quota_take() that
 * said OK. */
enum quota_verdict quota_charge(struct quota *q, const struct quota_table *t, uint32_t role,
                                const struct quota_event *e, uint64_t bytes);

/* One short phrase: why it is refused. */
const char *quota_text(enum quota_verdict v);
