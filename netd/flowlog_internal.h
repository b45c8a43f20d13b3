/* SPDX-License-Identifier: MIT */
/* What flowlog.c (the life: sockets, timers, counters) and flowlog_record.c (what becomes an event, what a
 * gap) share, and nobody else. */
#pragma once

#include "netd/evidence.h"

/* A tuple this second had an event for, and what came of it since. */
struct flowlog_repeat {
    int row;
    struct packet_tuple tuple;
    uint64_t packets, bytes;
};

struct flowlog {
    struct registry_cell *cell;
    const struct ruleset *rs;
    int sock;
    ev_io readable;
    ev_timer second; /* runs while there is something to say at its end */
    void (*settled)(struct registry_cell *cell);
    unsigned claims;  /* not answered */
    unsigned events;  /* claimed in this second */
    unsigned surplus; /* read in this second without becoming an event */
    uint64_t since_s; /* when this second began */
    uint64_t lost;    /* packets of this second without an event */
    uint64_t lost_ends;
    uint32_t next_seq;  /* of the next packet when none is lost */
    bool incomplete;    /* the log has left something out since the last reading of the counters */
    uint64_t accounted; /* packets read, or known to be left out, since the start */
    uint64_t ended;     /* flows reported or counted as ended */
    const struct worker_result *last; /* while finishing: flows it lists are reported from there */
    struct worker *reading;           /* of the counters */
    bool paused;                      /* no new one */
    bool finished;
    bool gap_failed;                /* said once */
    struct flowlog_repeat *repeats; /* LIMIT_FLOWS_PER_SEC of them, or NULL */
    size_t nrepeats;
};

/* Starts the second if none runs. */
void flowlog_second_begin(struct flowlog *f);

/* One record of the log becomes an event, part of one, or part of a gap. */
void flowlog_on_record(void *self, const struct nflog_record *r);

/* Whether an event was claimed. */
bool flowlog_claim_flow(struct flowlog *f, const struct nflog_record *r) MUST_CHECK;

/* What came of the tuples of this second since their first event. */
void flowlog_claim_repeats(struct flowlog *f);

/* What has no event, and forgets it. */
void flowlog_claim_gaps(struct flowlog *f);
