/* SPDX-License-Identifier: MIT */
#include "signerd/prune.h"

#include "common/base/clock.h"

/* The tile with the last of `lines` lines reaches up to here. */
static uint64_t prune_tiles_end(uint64_t lines)
{
    return (lines + TILE_WIDTH - 1) / TILE_WIDTH * TILE_WIDTH;
}

/* More bytes than wanted in the segments together. 1, 0 or -errno. */
static int prune_too_long(int dirfd, const uint64_t *segments, size_t n, uint64_t retain_bytes)
{
    uint64_t sum = 0;

    for (size_t i = n; i-- > 0 && retain_bytes > 0;) {
        uint64_t size;
        int r = segment_size(dirfd, segments[i], &size);

        if (r < 0)
            return r;
        sum += size;
        if (sum > retain_bytes)
            return 1;
    }
    return 0;
}

/* The segment behind the oldest begins so long ago that every line of the oldest is older. 1, 0 or -errno. */
static int prune_too_old(int dirfd, uint64_t next, uint64_t retain_age_s)
{
    uint64_t now_s = clock_realtime_ms() / 1000, since_s;
    int r = retain_age_s ? segment_since(dirfd, next, &since_s) : -ENOENT;

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return now_s > since_s && now_s - since_s > retain_age_s;
}

int prune_choose(int dirfd, const struct prune_rule *rule, uint64_t open, uint64_t size,
                 struct prune_choice *ret)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n, r;

    if (rule->retain_bytes == 0 && rule->retain_age_s == 0)
        return 0;
    n = log_reader_segments(dirfd, &segments);
    if (n < 0)
        return n;
    /* What the tiles do not hold yet for good, the lines still have to say. */
    if (n < 2 || segments[0] >= open || prune_tiles_end(segments[1]) > size)
        return 0;
    *ret = (struct prune_choice){.first = segments[0], .end = segments[1], .reason = PRUNE_AGE};
    r = prune_too_old(dirfd, segments[1], rule->retain_age_s);
    if (r != 0)
        return r;
    ret->reason = PRUNE_BYTES;
    return prune_too_long(dirfd, segments, (size_t)n, rule->retain_bytes);
}
