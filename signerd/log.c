/* SPDX-License-Identifier: MIT */
#include "signerd/log.h"

#include "common/base/log.h"
#include "signerd/authority.h"
#include "signerd/log_internal.h"
#include "signerd/recover.h"

/* Ends a claim's life; the cell may go with it. */
static void claim_end(struct elog *l, struct claim *c, int err)
{
    struct cell *cell = c->cell;
    bool closed = cell && err == 0 && c->row->type == EVENT_DESTROYED;

    if (cell)
        cell->claims--;
    if (c->done)
        c->done(c->data, err, c->sequence);
    free(c);
    if (closed && cell->claims == 0) {
        l->reserve -= cell->reserve;
        cell->state = AUTHORITY_CLOSED;
        cells_remove(l->cfg.cells, cell);
    }
}

/* ---- a batch ---- */

static void elog_lose(struct elog *l, struct claim *c, int err);

static void elog_fill_batch(struct elog *l)
{
    struct claim_queue lost;
    struct claim *c;

    claim_queue_init(&lost);
    buf_clear(&l->lines);
    l->nbatch_tiles = 0;
    l->tree_before = l->tree;
    l->tiles_before = l->tiles;
    keys_sign_begin(l->cfg.keys);
    while (l->pending.head && l->batch.n < LIMIT_BATCH && l->lines.len < LIMIT_BATCH_BYTES) {
        int r;

        c = claim_queue_pop(&l->pending);
        r = elog_seal(l, c);
        if (r < 0) {
            c->err = r;
            claim_queue_push(&lost, c);
        } else {
            claim_queue_push(&l->batch, c);
        }
    }
    keys_sign_end(l->cfg.keys);
    while ((c = claim_queue_pop(&lost)))
        elog_lose(l, c, c->err);
}

static void elog_die(struct elog *l, int err);

/* What a full disk has room kept for. */
static bool elog_is_kept(const struct event_row *row)
{
    return authority_is_end(row->type) || row->type == EVENT_PRUNED;
}

static uint64_t elog_prune_reserve(const struct elog *l)
{
    return l->cfg.retain_bytes || l->cfg.retain_age_s ? ELOG_PRUNE_RESERVE : 0;
}

static uint64_t elog_reserve(const struct elog *l)
{
    return l->reserve + elog_prune_reserve(l);
}

static void elog_start_commit(struct elog *l)
{
    struct disk_batch b = {
        .lines = buf_str(&l->lines),
        .first = l->tree_before.size,
        .close = !l->batch.head && l->close,
        .reserve = elog_reserve(l),
        .emergency = l->emergency,
        .tiles = l->batch_tiles,
        .ntiles = l->nbatch_tiles,
    };
    int r = 0;

    buf_clear(&l->batch_note);
    if (elog_wants_note(l))
        r = elog_render_note(l);
    if (r < 0) {
        elog_die(l, r);
        return;
    }
    b.note = buf_str(&l->batch_note);
    l->hurry &= !l->cover;
    l->cover = l->close = false;
    l->busy = true;
    commit_start(l->commit, &b);
}

static void elog_start_batch(struct elog *l)
{
    if (l->busy || l->dead || !(l->pending.head || l->cover || l->close))
        return;
    l->emergency = l->full && !(l->probe && l->pending.head);
    l->probe = false;
    elog_fill_batch(l);
    elog_after_limit(l, l->batch.n);
    if (l->batch.head || l->cover || l->close)
        elog_start_commit(l);
    else if (elog_is_idle(l) && l->cfg.idle) /* nothing of it could be sealed */
        l->cfg.idle(l->cfg.self);
}

void elog_on_kick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct elog *l = w->data;

    (void)loop;
    (void)revents;
    if (l->expired && !l->dead && elog_is_idle(l))
        elog_die(l, -EKEYEXPIRED);
    else
        elog_start_batch(l);
}

/* The next batch begins once the loop has dealt with everything else that is there now: that makes batches,
 * and no caller of elog_submit() hears its own answer before it has returned. */
void elog_kick(struct elog *l)
{
    ev_feed_event(l->cfg.loop, &l->kick, EV_CUSTOM);
}

/* ---- losing events ---- */

/* Gives up one claim that is in no batch. The cell goes back to its state before, unless later claims build
 * on it. */
static void elog_lose(struct elog *l, struct claim *c, int err)
{
    if (c->cell && c->cell->claims == 1)
        c->cell->state = c->state_before;
    claim_end(l, c, err);
}

static void elog_die(struct elog *l, int err)
{
    struct claim *c;

    l->dead = err;
    while ((c = claim_queue_pop(&l->batch)))
        claim_end(l, c, -EIO);
    while ((c = claim_queue_pop(&l->pending)))
        claim_end(l, c, -EIO);
    l->cfg.failed(l->cfg.self, err);
}

/* Every claim not yet durable, oldest first, in one queue; the state of each cell is what it was before the
 * first of its. */
static void elog_unwind(struct elog *l, struct claim_queue *ret)
{
    struct claim *c;

    claim_queue_init(ret);
    l->tree = l->tree_before;
    l->tiles = l->tiles_before;
    while ((c = claim_queue_pop(&l->batch))) {
        elog_unseal(l, c);
        claim_queue_push(ret, c);
    }
    while ((c = claim_queue_pop(&l->pending)))
        claim_queue_push(ret, c);
    for (c = ret->head; c; c = c->next)
        if (c->cell && !c->cell->rewound) {
            c->cell->state = c->state_before;
            c->cell->rewound = true;
        }
    for (c = ret->head; c; c = c->next)
        if (c->cell)
            c->cell->rewound = false;
}

/* Accepts a claim again in the state its cell has now. */
static bool elog_rejudge(struct elog *l, struct claim *c)
{
    uint32_t state = c->cell ? c->cell->state : CELL_STATE_LOG;

    if (authority_judge(c->role, c->row, state) != AUTHORITY_OK)
        return false;
    c->state_before = state;
    if (c->cell)
        c->cell->state = authority_next(c->row->type, state);
    claim_queue_push(&l->pending, c);
    return true;
}

/* The disk took nothing of the batch. Ordinary events are refused; end events try once more, out of the
 * reserve. */
static void elog_on_full(struct elog *l)
{
    size_t spent = l->emergency ? l->batch.n : 0; /* so many have had their second try */
    struct claim_queue all, lost;
    bool was_full = l->full;
    struct claim *c;

    l->full = true;
    l->probe_us = clock_boottime_us() + ELOG_PROBE_US;
    claim_queue_init(&lost);
    elog_unwind(l, &all);
    for (size_t i = 0; (c = claim_queue_pop(&all)); i++)
        if (i < spent || !elog_is_kept(c->row) || !elog_rejudge(l, c))
            claim_queue_push(&lost, c);
    /* Only now: what hears of its loss may submit more. */
    while ((c = claim_queue_pop(&lost)))
        claim_end(l, c, -ENOSPC);
    if (!was_full)
        l->cfg.failed(l->cfg.self, -ENOSPC);
}

static void elog_on_durable(struct elog *l)
{
    struct claim *c;

    l->durable = l->tree.size;
    int r = elog_after_add(l, &l->batch);
    if (r < 0) {
        elog_die(l, r);
        return;
    }
    if (l->batch_note.len > 0) {
        struct buf note = l->note;

        l->note = l->batch_note;
        l->batch_note = note;
        l->covered = l->durable;
    }
    if (!l->emergency && l->batch.head)
        l->prune_left = elog_prune_reserve(l);
    if (!l->emergency && l->batch.head && l->full) {
        log_info("the disk under the log has room again");
        l->full = false;
    }
    /* The acknowledgements may submit more: the batch must look finished by then. */
    struct claim_queue done = l->batch;
    if (!done.head)
        done.tail = &done.head;
    claim_queue_init(&l->batch);
    while (done.head) {
        c = done.head;
        done.head = c->next;
        claim_end(l, c, 0);
    }
}

void elog_on_commit(void *self, int err)
{
    struct elog *l = self;

    l->busy = false;
    if (err == 0) {
        elog_on_durable(l);
        if (l->dead)
            return;
    } else if (err == -ENOSPC) {
        elog_on_full(l);
    } else {
        log_errno(err, "the log cannot be written any more");
        elog_die(l, err);
        return;
    }
    if (err == 0)
        elog_check_closed(l);
    elog_cover_later(l);
    if (l->pending.head || l->cover || l->close || l->expired)
        elog_kick(l);
    else if (elog_is_idle(l) && l->cfg.idle)
        l->cfg.idle(l->cfg.self);
}

/* ---- the outside ---- */

bool elog_is_idle(const struct elog *l)
{
    return !l->busy && !l->pending.head && (l->covered == l->durable || l->full || l->dead);
}

struct str elog_head(const struct elog *l, uint64_t *ret_size)
{
    *ret_size = l->covered;
    return buf_str(&l->note);
}

static int elog_may_accept(struct elog *l, const struct elog_event *e)
{
    if (l->dead)
        return -EIO;
    if (l->pending.n >= LIMIT_PENDING_EVENTS || l->pending.bytes + e->data.len > LIMIT_PENDING_EVENT_BYTES)
        return -EDQUOT;
    if (!l->full || elog_is_kept(e->row))
        return 0;
    if (clock_boottime_us() < l->probe_us)
        return -ENOSPC;
    l->probe = true;
    return 0;
}

/* A signature that every verifier refuses is not made: with its key's time the log ends. */
static bool elog_key_counts(struct elog *l, const struct seal_stamp *stamp)
{
    uint64_t when;

    if (clock_parse_rfc3339(str_of(stamp->time), &when) == 0 && keys_count_at(l->cfg.keys, when))
        return true;
    log_error("the clock left the time in which the signing key counts: %s", stamp->time);
    l->expired = true;
    elog_kick(l);
    return false;
}

int elog_submit(struct elog *l, const struct elog_event *e, elog_done_fn done, void *data)
{
    struct claim *c;
    int r = elog_may_accept(l, e);

    if (r < 0)
        return r;
    c = malloc(sizeof(*c) + e->data.len);
    if (!c)
        return -ENOMEM;
    *c = (struct claim){
        .role = e->role, .row = e->row, .cell = e->cell, .done = done, .data = data, .len = e->data.len};
    memcpy(c->json, e->data.p, e->data.len);
    r = seal_stamp_now(&c->stamp);
    if (r < 0) {
        free(c);
        return r;
    }
    if (!elog_key_counts(l, &c->stamp)) {
        free(c);
        return -EIO;
    }
    if (c->cell) {
        c->state_before = c->cell->state;
        c->cell->state = authority_next(c->row->type, c->state_before);
        c->cell->claims++;
    }
    claim_queue_push(&l->pending, c);
    elog_kick(l);
    return 0;
}
