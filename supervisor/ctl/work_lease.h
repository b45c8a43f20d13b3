/* SPDX-License-Identifier: MIT */
/* The lease of one job: how long the queue leaves it to this host. Only arithmetic: times are CLOCK_BOOTTIME
 * microseconds that the caller reads, and nothing is sent from here.
 *
 * The queue counts from when it sent the job, or from when it heard the last renewal; both are later than
 * the moment this host asked for it. So counting from there, and only for renewals whose confirmation came
 * while the lease still held, the lease never looks longer here than it is there. A margin before its end is
 * for ending the cell: it is gone before the queue gives the job to another host. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LEASE_MIN_S     2u
#define LEASE_MAX_S     3600u
#define LEASE_DEFAULT_S 30u

struct lease {
    uint64_t length_us;
    uint64_t until_us;   /* not ours any more from here on, as far as we know */
    uint64_t renewed_us; /* when the renewal that counts was asked for */
    uint64_t asked_us;   /* the last renewal that is not confirmed; 0 = none */
    bool lost;           /* for good: a late confirmation does not bring it back */
};

enum lease_step { LEASE_HOLDS, LEASE_RENEW, LEASE_LOST };

/* asked_us: when this host asked the queue for a job. */
void lease_begin(struct lease *l, uint64_t length_us, uint64_t asked_us);

/* What is to be done now. LEASE_RENEW: send a renewal, then say lease_asked(). LEASE_LOST: end what runs. */
enum lease_step lease_step(struct lease *l, uint64_t now_us);

void lease_asked(struct lease *l, uint64_t now_us);

/* The queue has confirmed the renewal that was asked for at asked_us. */
void lease_confirmed(struct lease *l, uint64_t asked_us, uint64_t now_us);

/* The part of a lease kept for ending the cell. */
uint64_t lease_margin_us(uint64_t length_us);
