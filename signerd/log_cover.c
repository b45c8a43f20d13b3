/* SPDX-License-Identifier: MIT */
/* When a checkpoint goes over the lines. An acknowledged event is durable; where its line has its own
 * signature the next start takes it in from behind the checkpoint, so the acknowledgement, for which a
 * decision about the network may wait, need not wait for two more syncs. Nobody reads behind the checkpoint,
 * so it follows soon. It comes first where it is what makes the line count (seal batch), and where the end of
 * something is said: who hears that a run is over can have the checkpoint over it at once. */
#include "common/base/log.h"
#include "signerd/log_internal.h"
#include "signerd/recover.h"

int elog_render_note(struct elog *l)
{
    return recover_note(l->cfg.keys, l->cfg.origin, &l->tree, &l->batch_note);
}

bool elog_wants_note(const struct elog *l)
{
    if (l->cover || l->cfg.seal == SEAL_BATCH || l->emergency)
        return true;
    for (const struct claim *c = l->batch.head; c; c = c->next)
        if (!c->cell || c->row->type == EVENT_DESTROYED || c->row->type == EVENT_REJECTED)
            return true;
    return false;
}

static void cover_start(struct elog *l, ev_timer *w, double after)
{
    if (ev_is_active(w))
        return;
    ev_timer_set(w, after, 0.);
    ev_timer_start(l->cfg.loop, w);
}

void elog_cover_later(struct elog *l)
{
    uint64_t left_s = disk_age_left(l->disk);

    if (l->covered == l->durable)
        ev_timer_stop(l->cfg.loop, &l->cover_timer);
    else if (l->hurry && !l->full && !l->pending.head)
        l->cover = true;
    else
        cover_start(l, &l->cover_timer, (double)(l->full ? ELOG_PROBE_US : ELOG_COVER_US) / 1e6);
    if (left_s != UINT64_MAX)
        cover_start(l, &l->age_timer, (double)(left_s > 0 ? left_s : ELOG_LOOK_US / 1000000));
}

void elog_hurry(struct elog *l)
{
    if (elog_is_idle(l))
        return;
    l->hurry = true;
    if (!l->busy && !l->pending.head) {
        l->cover = true;
        elog_kick(l);
    }
}

void elog_on_cover_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct elog *l = w->data;

    (void)loop;
    (void)revents;
    l->cover = true;
    elog_kick(l);
}

/* No event came since the segment got old: it is closed without one, so that it is compressed, and retention
 * sees it. */
void elog_on_age_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct elog *l = w->data;

    (void)loop;
    (void)revents;
    l->close = true;
    elog_kick(l);
}

void elog_cover_now(struct elog *l)
{
    int r;

    if (l->covered == l->durable)
        return;
    buf_clear(&l->batch_note);
    r = elog_render_note(l);
    if (r == 0)
        r = disk_commit(l->disk,
                        &(struct disk_batch){.first = l->tree.size, .note = buf_str(&l->batch_note)});
    if (r < 0)
        log_failed(LOG_WARNING, r, "the last lines have no checkpoint yet (the next start writes it)");
}
