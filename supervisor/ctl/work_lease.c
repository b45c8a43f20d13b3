/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/work_lease.h"

#define RENEWALS      3 /* a lease */
#define ASK_AGAIN     6 /* one that is not confirmed is asked for again after length / this */
#define MARGIN_PART   5
#define MARGIN_MIN_US 300000u
#define MARGIN_MAX_US 10000000u

uint64_t lease_margin_us(uint64_t length_us)
{
    uint64_t part = length_us / MARGIN_PART;
    if (part < MARGIN_MIN_US)
        return MARGIN_MIN_US;
    return part > MARGIN_MAX_US ? MARGIN_MAX_US : part;
}

void lease_begin(struct lease *l, uint64_t length_us, uint64_t asked_us)
{
    *l = (struct lease){.length_us = length_us, .until_us = asked_us + length_us};
}

enum lease_step lease_step(struct lease *l, uint64_t now_us)
{
    if (l->lost || now_us + lease_margin_us(l->length_us) >= l->until_us) {
        l->lost = true;
        return LEASE_LOST;
    }
    /* At first at once: the queue may have kept the question waiting for a while. */
    bool due = l->renewed_us == 0 || now_us >= l->renewed_us + l->length_us / RENEWALS;
    bool asking = l->asked_us > 0 && now_us < l->asked_us + l->length_us / ASK_AGAIN;
    return due && !asking ? LEASE_RENEW : LEASE_HOLDS;
}

void lease_asked(struct lease *l, uint64_t now_us)
{
    l->asked_us = now_us;
}

void lease_confirmed(struct lease *l, uint64_t asked_us, uint64_t now_us)
{
    if (l->lost || now_us >= l->until_us || asked_us > now_us || asked_us < l->renewed_us)
        return;
    l->renewed_us = asked_us;
    l->until_us = asked_us + l->length_us;
    if (asked_us >= l->asked_us)
        l->asked_us = 0;
}
