/* SPDX-License-Identifier: MIT */
/* Whether a run may be opened, which it may be once only, and what signerd must know of it before its first
 * claim. */
#include "common/base/clock.h"
#include "signerd/dispatch_internal.h"

#define DISPATCH_RESUME_S                                                                                    \
    86400 /* how far the clock may have gone back between a run's id and its first line */

/* Whether the id was made since this process started: only then the log cannot know it. The time of day may
 * have been set meanwhile, so it is the id's age that counts; one from the future has none. */
static bool dispatch_is_younger(const struct dispatch *d, uint64_t ms, uint64_t now_ms)
{
    return ms <= now_ms && (now_ms - ms) * 1000 < clock_boottime_us() - d->started_us;
}

/* Whether the run is new. 0: yes; 1: the log knows it, *ret says how far it got; -EEXIST: it was destroyed,
 * or is another cell's (a run has one, or no verifier takes the log); -errno. */
static int dispatch_known_run(struct dispatch *d, struct str run_id, struct str cell_id, struct elog_run *ret)
{
    uint64_t ms = uuid_v7_ms(run_id), now_ms = clock_realtime_ms();
    uint64_t oldest =
        (ms < now_ms ? ms : now_ms) / 1000; /* the clock went back: so did the times in the log */
    uint64_t since = oldest > DISPATCH_RESUME_S ? oldest - DISPATCH_RESUME_S : 0;
    bool unsure;
    int r;

    if (cells_was_closed(d->cells, run_id, &unsure))
        return -EEXIST;
    if (dispatch_is_younger(d, ms, now_ms) && !unsure)
        return 0;
    r = elog_find_run(d->log, run_id, since, ret);
    return r > 0 && (ret->destroyed || !str_is(cell_id, ret->cell_id)) ? -EEXIST : r;
}

int dispatch_open(struct dispatch *d, const struct signer_cell_open_req *req)
{
    struct cells_open o = {req->run_id, req->cell_id, req->policy_digest, req->correlation_id};
    struct elog_run run;
    struct cell *cell;
    int r;

    if (!uuid_v7_valid(req->run_id))
        return -EINVAL;
    r = dispatch_known_run(d, req->run_id, req->cell_id, &run);
    if (r < 0)
        return r;
    bool known = r > 0;
    /* Its lines would be older than it says, and a later signerd would not find them. */
    if (!known && uuid_v7_ms(req->run_id) > clock_realtime_ms() + DISPATCH_RESUME_S * 1000ull)
        return -ERANGE;
    r = cells_add(d->cells, &o, &cell);
    if (r == 0 && known)
        elog_adopt(d->log, cell, &run);
    return r;
}

const char *dispatch_marks(const struct signer_secrets_req *req, struct secret_marks *marks)
{
    for (size_t i = 0; i < req->names.n; i++)
        if (secret_marks_add_name(marks, req->names.v[i]) < 0)
            return "a name is not in its form";
    for (size_t i = 0; i < req->marks.n; i++) {
        const struct signer_secret_mark *from = &req->marks.v[i];
        struct secret_mark mark = {(uint32_t)from->length, (uint8_t)from->secret, (uint8_t)from->filter, {0}};

        if (from->digest.len != sizeof(mark.digest))
            return "a digest is not in its form";
        memcpy(mark.digest, from->digest.p, sizeof(mark.digest));
        if (secret_marks_add(marks, &mark) < 0)
            return "a mark is not in its form";
    }
    return NULL;
}
