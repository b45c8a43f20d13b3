/* SPDX-License-Identifier: MIT */
/* The evidence of one cell: its claims at signerd with a bounded number under way (decisions 10, 28, 29). An
 * allowed decision waits for its acknowledgement before it takes effect (in async only while signerd refuses:
 * a decision it does not take becomes a denial); a denial has taken effect already and its event follows.
 * What a limit or a fault leaves out is counted and sealed as one gap event a second. */
#pragma once

#include "proto/signer_client.h"

struct claims;

enum gap_cause {
    GAP_DENIALS,        /* more denials than LIMIT_DENIES_PER_SEC, or no credit for them */
    GAP_CONNECTIONS,    /* connections beyond LIMIT_TCP_OPEN */
    GAP_UNACKNOWLEDGED, /* claims that signerd did not acknowledge */
    GAP_DNS,            /* queries beyond the limits of a cell's DNS */
    GAP_DATAGRAMS,      /* datagrams that came faster than they could be looked at */
    _GAP_CAUSE_MAX,
};

struct claims_config {
    struct ev_loop *loop;
    struct signer_client *signer; /* borrowed; must outlive the evidence */
    const char *run_id;           /* copied */
    bool strict;                  /* evidence: strict (else async: effects do not wait) */
};

int claims_new(const struct claims_config *cfg, struct claims **ret) MUST_CHECK;
/* NULL-safe; returns NULL. Open claims stay at signerd; their callbacks come with -ECANCELED, from inside. */
struct claims *claims_free(struct claims *e);

/* result 0: the event is durable, the effect may happen. Negative: it may not. */
typedef void (*claims_ack)(void *data, int result);

enum {
    CLAIMS_WAITS = 0, /* ack will come, exactly once, never from inside */
    CLAIMS_GOES = 1,  /* go ahead now (async); ack does not come */
};

/* Claims an allowed decision. CLAIMS_WAITS, CLAIMS_GOES, -EDQUOT when LIMIT_CLAIM_CREDITS are under way,
 * -errno. */
int claims_allow(struct claims *e, enum event_type type, const void *rec, claims_ack ack,
                 void *data) MUST_CHECK;

/* The same, but without a credit the decision waits for one, in order, and its effect with it: CLAIMS_WAITS
 * then, also in async. -EDQUOT when LIMIT_CLAIMS_HELD wait already. */
int claims_allow_held(struct claims *e, enum event_type type, const void *rec, claims_ack ack,
                      void *data) MUST_CHECK;

/* The ack with this data pointer does not come any more. */
void claims_forget(struct claims *e, const void *data);

/* Claims a denial or a failure. Never fails: what cannot be claimed goes into a gap. */
void claims_deny(struct claims *e, enum event_type type, const void *rec);

/* n things were left out of the log. */
void claims_lost(struct claims *e, enum gap_cause cause, uint64_t n);

/* Somebody who got -EAGAIN and waits for a credit. */
struct claims_ticket {
    struct claims_ticket *next, **at; /* at == NULL: not waiting */
    void (*ready)(
        void *self); /* once, when a credit came back; not from inside claims_wait. It claims or gives up. */
    void *self;
};
void claims_wait(struct claims *e, struct claims_ticket *t, void (*ready)(void *self), void *self);
void claims_unwait(struct claims_ticket *t);

/* Seals what the gaps counted and calls done once nothing is under way any more: durable or refused, all of
 * it. Nobody may claim anything afterwards. done may come from inside. */
void claims_drain(struct claims *e, void (*done)(void *self), void *self);

/* Claims under way. */
size_t claims_open(const struct claims *e);
