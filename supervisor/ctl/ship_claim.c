/* SPDX-License-Identifier: MIT */
/* What a stream says it has of a log. Others may publish into it, with whatever headers they like: that a
 * line is there already is believed of who knows its id, which nobody does before it was shipped. */
#include "common/evidence/log_reader.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/ship_log.h"

void ship_claims_end(struct ship_log *l)
{
    l->claims = log_reader_free(l->claims);
    l->lies = 0;
}

/* Retention took the line, so nobody can send it any more. */
static bool claim_is_pruned(const struct ship_log *l, uint64_t index)
{
    _cleanup_free_ uint64_t *segments = NULL;

    return log_reader_segments(l->dirfd, &segments) > 0 && index < segments[0];
}

/* Messages of one ship come in the order of the log: one reader passes over the lines once. */
static bool claim_line(struct ship_log *l, uint64_t index, struct log_line *ret)
{
    int r = 0;

    if (!l->claims || index < l->claims_at) {
        l->claims = log_reader_free(l->claims);
        r = log_reader_open(l->dirfd, index, &l->claims);
    }
    while (r == 0) {
        r = log_reader_next(l->claims, ret);
        if (r != LOG_READ_LINE)
            break;
        l->claims_at = ret->index + 1;
        if (ret->index >= index)
            return ret->index == index;
        r = 0;
    }
    l->claims = log_reader_free(l->claims);
    return false;
}

bool ship_log_claimed(struct ship_log *l, uint64_t index, const char *id, bool ours)
{
    struct log_line line;
    struct ship_item i;

    if (l->lies >= SHIP_LIES_MAX && index != l->cursor.next)
        return false; /* looking for what liars name costs too much */
    if (l->dirfd < 0)
        l->dirfd = logdir_open(l->path);
    if (l->dirfd < 0)
        return false;
    if (claim_line(l, index, &line) && ship_item_event(line.text, &i) && strcmp(i.id, id) == 0)
        return true;
    if (ours && claim_is_pruned(l, index))
        return true;
    l->lies++;
    return false;
}
