/* SPDX-License-Identifier: MIT */
/* Closed segments, seen from the loop: when the keeper looks after them, and the event that precedes a
 * deletion. */
#include <stdio.h>

#include "common/base/encoding.h"
#include "common/base/log.h"
#include "signerd/event.h"
#include "signerd/log_internal.h"

static void closed_on_result(void *self, const struct keeper_result *r);

static void closed_later(struct elog *l)
{
    ev_timer_stop(l->cfg.loop, &l->closed_timer);
    ev_timer_set(&l->closed_timer, (double)ELOG_LOOK_US / 1e6, 0.);
    ev_timer_start(l->cfg.loop, &l->closed_timer);
}

/* Work for the keeper: there is a closed segment. (The log of one run seldom has any, and needs no thread.)
 */
static int closed_look(struct elog *l)
{
    const struct prune_rule rule = {l->cfg.retain_bytes, l->cfg.retain_age_s};
    uint64_t unsigned_lines = l->after ? afterseal_waiting(l->after) : 0;
    int r = 0;

    l->closed_again = false;
    if (!l->keeper)
        r = keeper_new(l->cfg.loop, disk_dirfd(l->disk), &rule, closed_on_result, l, &l->keeper);
    if (r < 0)
        return log_errno(r, "cannot start the thread that looks after closed segments");
    l->closed = CLOSED_WORK;
    keeper_look(l->keeper, l->open_segment, l->durable - unsigned_lines,
                l->busy ? &l->tiles_before : &l->tiles);
    return 0;
}

void elog_look_closed(struct elog *l)
{
    l->closed_again = true;
    if (l->closed == CLOSED_IDLE && !l->dead && closed_look(l) < 0)
        closed_later(l);
}

/* The commit thread is between two batches: has the last one begun a new segment? */
void elog_check_closed(struct elog *l)
{
    uint64_t open = disk_open_segment(l->disk);

    if (open == l->open_segment)
        return;
    l->cover |= l->covered < open; /* a closed segment is below the checkpoint */
    if (l->cover)
        return;
    l->open_segment = open;
    elog_look_closed(l);
}

void elog_on_closed_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    elog_look_closed(w->data);
}

/* ---- pruning ---- */

static void closed_end(struct elog *l)
{
    l->closed = CLOSED_IDLE;
    if (l->closed_again)
        elog_look_closed(l);
}

/* The event about the deletion is durable, or is not. */
static void closed_on_sealed(void *data, int err, uint64_t sequence)
{
    struct elog *l = data;

    (void)sequence;
    if (err == 0) {
        l->closed = CLOSED_WORK;
        l->closed_again = true;
        keeper_unlink(l->keeper, l->choice.first);
        return;
    }
    closed_later(l);
    closed_end(l);
}

static int closed_seal(struct elog *l)
{
    char root_text[LIMIT_DIGEST + 1] = "sha256:";
    _cleanup_(buf_done) struct buf hex = {.data = NULL}, json = {.data = NULL};
    const struct event_row *row = event_row(EVENT_PRUNED);
    struct ev_pruned ev = {.first_index = l->choice.first,
                           .lines = l->choice.end - l->choice.first,
                           .root = {root_text, LIMIT_DIGEST},
                           .reason = l->choice.reason};
    int r;

    buf_init(&hex, 2 * DIGEST_LEN);
    buf_init(&json, LIMIT_EVENT_DATA);
    encoding_hex_put(&hex, l->choice.root, DIGEST_LEN);
    if (hex.err)
        return hex.err;
    memcpy(root_text + 7, hex.data, 2 * DIGEST_LEN);
    r = event_render(row, &ev, &(struct event_stamps){.cell_id = STR_NONE}, &json);
    if (r < 0)
        return r;
    return elog_submit(l, &(struct elog_event){.role = ROLE_SIGNERD, .row = row, .data = buf_str(&json)},
                       closed_on_sealed, l);
}

static void closed_on_result(void *self, const struct keeper_result *r)
{
    struct elog *l = self;
    int e = r->error;

    if (r->prune && !l->dead) {
        l->choice = r->choice;
        l->closed = CLOSED_SEAL;
        int sealed = closed_seal(l);
        if (sealed == 0)
            return;
        e = sealed;
    }
    if (e < 0)
        l->closed_again = false; /* not at once: it would fail again */
    if (e < 0 || l->cfg.retain_age_s > 0)
        closed_later(l);
    closed_end(l);
}

bool elog_is_settled(const struct elog *l)
{
    return l->closed == CLOSED_IDLE;
}
