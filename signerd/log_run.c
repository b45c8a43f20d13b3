/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "common/evidence/log_reader.h"
#include "signerd/log_internal.h"

static void elog_scan_cell(const struct envelope *e, struct elog_run *run)
{
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;

    if (e->subject.len > urn && e->subject.len - urn <= LIMIT_CELL_ID)
        (void)snprintf(run->cell_id, sizeof(run->cell_id), "%.*s", (int)(e->subject.len - urn),
                       e->subject.p + urn);
}

/* What the lines of one segment say of a run. */
static int elog_scan_segment(const struct elog *l, uint64_t first, uint64_t end, struct str run_id,
                             struct elog_run *run, bool *ret_older)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    char oldest[CLOCK_RFC3339_LEN + 1];
    struct log_line line;
    int r = log_reader_open(disk_dirfd(l->disk), first, &reader);

    if (r == -ENOENT) { /* retention has just let it go: the log begins behind it */
        *ret_older = true;
        return 0;
    }
    if (r < 0)
        return r;
    r = clock_format_rfc3339(run->since_s, oldest);
    if (r < 0)
        return r;
    while ((r = log_reader_next(reader, &line)) == LOG_READ_LINE && line.index < end) {
        struct envelope_line e;

        if (line.index != first && !memmem(line.text.p, line.text.len, run_id.p, run_id.len))
            continue;
        if (envelope_parse(line.text, &e) != ENVELOPE_OK)
            return -EBADMSG;
        if (line.index == first)
            *ret_older =
                e.e.time.len == CLOCK_RFC3339_LEN && memcmp(e.e.time.p, oldest, CLOCK_RFC3339_LEN) < 0;
        if (!e.e.runid.p || !str_eq(e.e.runid, run_id))
            continue;
        elog_scan_cell(&e.e, run);
        if (e.e.cellsequence > run->cellsequence)
            run->cellsequence = e.e.cellsequence;
        if (run->earliest == 0 || e.e.cellsequence < run->earliest)
            run->earliest = e.e.cellsequence;
        run->started |= str_is(e.e.type, EVENT_TYPE_PREFIX "lifecycle.v1.started");
        run->ended |= str_is(e.e.type, EVENT_TYPE_PREFIX "command.v1.completed");
        run->destroyed |= str_is(e.e.type, EVENT_TYPE_PREFIX "lifecycle.v1.destroyed");
    }
    return r < 0 ? r : r == LOG_READ_DAMAGED ? -EBADMSG : 0;
}

int elog_find_run(const struct elog *l, struct str run_id, uint64_t since_s, struct elog_run *ret)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(disk_dirfd(l->disk), &segments);
    uint64_t end = l->durable;
    unsigned older = 0; /* one that began under a clock that was wrong (1970) ends no search */

    if (n < 0)
        return n;
    *ret = (struct elog_run){.since_s = since_s};
    for (int i = n - 1; i >= 0 && older < 2; i--) {
        bool is_older = false;
        int r = segments[i] < end ? elog_scan_segment(l, segments[i], end, run_id, ret, &is_older) : 0;

        if (r < 0)
            return r;
        older = is_older ? older + 1 : 0;
        end = segments[i] < end ? segments[i] : end;
    }
    /* The run is older than what retention has left: it was started there. */
    if (ret->earliest > 1 && n > 0 && segments[0] > 0)
        ret->started = true;
    return ret->cellsequence > 0;
}

void elog_adopt(struct elog *l, struct cell *cell, const struct elog_run *run)
{
    cell->cellsequence = run->cellsequence;
    if (!run->started)
        return;
    cell->state = run->ended ? CELL_STATE_ENDED : CELL_STATE_STARTED;
    cell->reserve += LIMIT_END_RESERVE;
    l->reserve += LIMIT_END_RESERVE;
}
