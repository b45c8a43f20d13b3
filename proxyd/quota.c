/* SPDX-License-Identifier: MIT */
#include "proxyd/quota.h"

#include "common/base/cleanup.h"

struct quota {
    struct ev_loop *loop;
    struct policy_quota limits;
    uint64_t open, bytes[2];
    double
        tokens; /* bytes that may be moved now; below 0: a debt, for what was read at once is counted whole */
    ev_tstamp at; /* when tokens was right */
};

int quota_new(struct ev_loop *loop, const struct policy_quota *limits, struct quota **ret)
{
    struct quota *q = calloc(1, sizeof(*q));

    if (!q)
        return -ENOMEM;
    q->loop = loop;
    q->limits = *limits;
    q->tokens = (double)limits->max_bytes_per_second.v;
    q->at = ev_now(loop);
    *ret = q;
    return 0;
}

struct quota *quota_free(struct quota *q)
{
    free(q);
    return NULL;
}

/* What the bucket holds at this moment. */
static double tokens_now(const struct quota *q)
{
    double rate = (double)q->limits.max_bytes_per_second.v;
    double tokens = q->tokens + (ev_now(q->loop) - q->at) * rate;

    return tokens < rate ? tokens : rate;
}

void quota_limits_set(struct quota *q, const struct policy_quota *limits)
{
    bool had_rate = q->limits.max_bytes_per_second.set;
    double rate = (double)limits->max_bytes_per_second.v;
    double tokens = had_rate ? tokens_now(q) : rate;

    q->limits = *limits;
    q->tokens = tokens < rate ? tokens : rate;
    q->at = ev_now(q->loop);
}

bool quota_open(struct quota *q)
{
    if (q->open >= q->limits.max_connections)
        return false;
    q->open++;
    return true;
}

void quota_close(struct quota *q)
{
    q->open--;
}

bool quota_left(const struct quota *q)
{
    return !q->limits.max_bytes.set ||
           q->bytes[QUOTA_SENT] + q->bytes[QUOTA_RECEIVED] < q->limits.max_bytes.v;
}

bool quota_count(struct quota *q, enum quota_direction d, uint64_t n)
{
    q->bytes[d] += n;
    if (q->limits.max_bytes_per_second.set) {
        q->tokens = tokens_now(q) - (double)n;
        q->at = ev_now(q->loop);
    }
    return !q->limits.max_bytes.set ||
           q->bytes[QUOTA_SENT] + q->bytes[QUOTA_RECEIVED] <= q->limits.max_bytes.v;
}

double quota_wait(const struct quota *q)
{
    if (!q->limits.max_bytes_per_second.set)
        return 0;
    double rate = (double)q->limits.max_bytes_per_second.v;
    double tokens = tokens_now(q);

    if (tokens > 0)
        return 0;
    return rate > 0 ? (1 - tokens) / rate : QUOTA_WAIT_MAX_S;
}

uint64_t quota_bytes(const struct quota *q, enum quota_direction d)
{
    return q->bytes[d];
}
