/* SPDX-License-Identifier: MIT */
#include "signerd/log.h"

#include <assert.h>
#include <stdio.h>

#include "common/base/encoding.h"
#include "common/base/log.h"
#include "signerd/authority.h"
#include "signerd/commit.h"
#include "signerd/event.h"
#include "signerd/recover.h"
#include "signerd/seal.h"

/* One accepted event on its way to the disk. */
struct claim {
    struct claim *next;
    uint32_t role;
    const struct event_row *row;
    struct cell *cell;
    uint32_t state_before; /* of the cell: what is restored when this is lost */
    struct seal_stamp stamp;
    elog_done_fn done;
    void *data;
    size_t line_len; /* once sealed, with LF */
    uint64_t sequence;
    size_t len;
    char json[];
};

struct claim_queue {
    struct claim *head, **tail;
    size_t n, bytes;
};

struct elog {
    struct elog_config cfg;
    struct disk *disk;
    struct commit *commit;
    ev_timer kick; /* never armed: fed by hand */
    struct seal seal;
    struct merkle tree; /* with the batch under way */
    struct tiles tiles;
    struct buf note; /* the durable checkpoint */
    uint64_t durable;
    struct claim_queue pending;
    uint64_t reserve; /* of all started cells */
    bool full;        /* the disk is: only end events, out of the reserve */
    bool probe;       /* try an ordinary commit all the same */
    uint64_t probe_us;
    int dead; /* the errno that ended it */
    /* the batch under way */
    struct claim_queue batch;
    bool emergency;
    struct buf lines, batch_note;
    struct disk_tile *batch_tiles;
    size_t nbatch_tiles, cap_batch_tiles;
    struct merkle tree_before;
    struct tiles tiles_before;
};

/* ---- queue ---- */

static void queue_init(struct claim_queue *q)
{
    *q = (struct claim_queue){.head = NULL};
    q->tail = &q->head;
}

static void queue_push(struct claim_queue *q, struct claim *c)
{
    c->next = NULL;
    *q->tail = c;
    q->tail = &c->next;
    q->n++;
    q->bytes += c->len;
}

static struct claim *queue_pop(struct claim_queue *q)
{
    struct claim *c = q->head;

    if (!c)
        return NULL;
    q->head = c->next;
    if (!q->head)
        q->tail = &q->head;
    q->n--;
    q->bytes -= c->len;
    return c;
}

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

/* Whether this end event still fits into what its cell has left. */
static bool elog_fits_reserve(const struct claim *c, size_t len)
{
    bool last = c->row->type == EVENT_COMPLETED || c->row->type == EVENT_DESTROYED;

    return c->cell && authority_is_end(c->row->type) &&
           c->cell->reserve >= len + (last ? 0 : ELOG_LAST_RESERVE);
}

static void elog_full_tile(void *arg, unsigned level, uint64_t index, const uint8_t *data)
{
    struct elog *l = arg;

    if (l->nbatch_tiles == l->cap_batch_tiles) {
        size_t cap = l->cap_batch_tiles ? 2 * l->cap_batch_tiles : 4;
        struct disk_tile *more = reallocarray(l->batch_tiles, cap, sizeof(*more));

        if (!more)
            return; /* a tile can be made again */
        l->batch_tiles = more;
        l->cap_batch_tiles = cap;
    }
    struct disk_tile *t = &l->batch_tiles[l->nbatch_tiles++];
    t->level = level;
    t->index = index;
    t->width = TILE_WIDTH;
    memcpy(t->data, data, TILE_BYTES);
}

/* Seals the claim as the next line of the batch. */
static int elog_seal(struct elog *l, struct claim *c)
{
    uint8_t leaf[DIGEST_LEN];
    size_t start = l->lines.len;
    int r = seal_line(&l->seal, c->role, c->row, &c->stamp, c->cell, c->cell ? c->cell->cellsequence + 1 : 0,
                      (struct str){c->json, c->len}, l->tree.size, &l->lines, leaf);

    if (r < 0)
        return r;
    c->line_len = l->lines.len - start;
    if (l->emergency && !elog_fits_reserve(c, c->line_len)) {
        l->lines.len = start;
        return -ENOSPC;
    }
    c->sequence = l->tree.size;
    merkle_append(&l->tree, leaf);
    tiles_append(&l->tiles, leaf, elog_full_tile, l);
    if (c->cell)
        c->cell->cellsequence++;
    if (l->emergency) {
        c->cell->reserve -= c->line_len;
        l->reserve -= c->line_len;
    } else if (c->row->type == EVENT_STARTED) {
        c->cell->reserve += LIMIT_END_RESERVE;
        l->reserve += LIMIT_END_RESERVE;
    }
    return 0;
}

static void elog_unseal(struct elog *l, struct claim *c)
{
    if (c->cell)
        c->cell->cellsequence--;
    if (l->emergency) {
        c->cell->reserve += c->line_len;
        l->reserve += c->line_len;
    } else if (c->row->type == EVENT_STARTED) {
        c->cell->reserve -= LIMIT_END_RESERVE;
        l->reserve -= LIMIT_END_RESERVE;
    }
}

static void elog_lose(struct elog *l, struct claim *c, int err);

static void elog_fill_batch(struct elog *l)
{
    buf_clear(&l->lines);
    l->nbatch_tiles = 0;
    l->tree_before = l->tree;
    l->tiles_before = l->tiles;
    while (l->pending.head && l->batch.n < LIMIT_BATCH && l->lines.len < ELOG_BATCH_BYTES_MAX) {
        struct claim *c = queue_pop(&l->pending);
        int r = elog_seal(l, c);

        if (r < 0)
            elog_lose(l, c, r);
        else
            queue_push(&l->batch, c);
    }
}

static void elog_die(struct elog *l, int err);

static void elog_start_batch(struct elog *l)
{
    struct disk_batch b;

    if (l->batch.head || !l->pending.head || l->dead)
        return;
    l->emergency = l->full && !l->probe;
    l->probe = false;
    elog_fill_batch(l);
    if (!l->batch.head) { /* nothing of it could be sealed */
        if (!l->pending.head && l->cfg.idle)
            l->cfg.idle(l->cfg.self);
        return;
    }
    buf_clear(&l->batch_note);
    int r = recover_note(l->cfg.keys, l->cfg.origin, &l->tree, &l->batch_note);
    if (r < 0) {
        elog_die(l, r);
        return;
    }
    b = (struct disk_batch){
        .lines = buf_str(&l->lines),
        .first = l->tree_before.size,
        .note = buf_str(&l->batch_note),
        .reserve = l->reserve,
        .emergency = l->emergency,
        .tiles = l->batch_tiles,
        .ntiles = l->nbatch_tiles,
    };
    commit_start(l->commit, &b);
}

static void elog_on_kick(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    elog_start_batch(w->data);
}

/* The next batch begins once the loop has dealt with everything else that is there now: that makes batches,
 * and no caller of elog_submit() hears its own answer before it has returned. */
static void elog_kick(struct elog *l)
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
    while ((c = queue_pop(&l->batch)))
        claim_end(l, c, -EIO);
    while ((c = queue_pop(&l->pending)))
        claim_end(l, c, -EIO);
    l->cfg.failed(l->cfg.self, err);
}

/* Every claim not yet durable, oldest first, in one queue; the state of each cell is what it was before the
 * first of its. */
static void elog_unwind(struct elog *l, struct claim_queue *ret)
{
    struct claim *c;

    queue_init(ret);
    l->tree = l->tree_before;
    l->tiles = l->tiles_before;
    while ((c = queue_pop(&l->batch))) {
        elog_unseal(l, c);
        queue_push(ret, c);
    }
    while ((c = queue_pop(&l->pending)))
        queue_push(ret, c);
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
    queue_push(&l->pending, c);
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
    queue_init(&lost);
    elog_unwind(l, &all);
    for (size_t i = 0; (c = queue_pop(&all)); i++)
        if (i < spent || !authority_is_end(c->row->type) || !elog_rejudge(l, c))
            queue_push(&lost, c);
    /* Only now: what hears of its loss may submit more. */
    while ((c = queue_pop(&lost)))
        claim_end(l, c, -ENOSPC);
    if (!was_full)
        l->cfg.failed(l->cfg.self, -ENOSPC);
}

static void elog_on_durable(struct elog *l)
{
    struct claim *c;

    l->durable = l->tree.size;
    struct buf note = l->note;
    l->note = l->batch_note;
    l->batch_note = note;
    if (!l->emergency && l->full) {
        log_info("the disk under the log has room again");
        l->full = false;
    }
    /* The acknowledgements may submit more: the batch must look finished by then. */
    struct claim_queue done = l->batch;
    if (!done.head)
        done.tail = &done.head;
    queue_init(&l->batch);
    while (done.head) {
        c = done.head;
        done.head = c->next;
        claim_end(l, c, 0);
    }
}

static void elog_on_commit(void *self, int err)
{
    struct elog *l = self;

    if (err == 0) {
        elog_on_durable(l);
    } else if (err == -ENOSPC) {
        elog_on_full(l);
    } else {
        log_errno(err, "the log cannot be written any more");
        elog_die(l, err);
        return;
    }
    if (l->pending.head)
        elog_kick(l);
    else if (l->cfg.idle)
        l->cfg.idle(l->cfg.self);
}

/* ---- the outside ---- */

bool elog_is_idle(const struct elog *l)
{
    return !l->batch.head && !l->pending.head;
}

struct str elog_head(const struct elog *l, uint64_t *ret_size)
{
    *ret_size = l->durable;
    return buf_str(&l->note);
}

static int elog_may_accept(struct elog *l, const struct elog_event *e)
{
    if (l->dead)
        return -EIO;
    if (l->pending.n >= ELOG_PENDING_MAX || l->pending.bytes + e->data.len > ELOG_PENDING_BYTES_MAX)
        return -EDQUOT;
    if (!l->full || authority_is_end(e->row->type))
        return 0;
    if (clock_boottime_us() < l->probe_us)
        return -ENOSPC;
    l->probe = true;
    return 0;
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
    if (c->cell) {
        c->state_before = c->cell->state;
        c->cell->state = authority_next(c->row->type, c->state_before);
        c->cell->claims++;
    }
    queue_push(&l->pending, c);
    elog_kick(l);
    return 0;
}

/* ---- runs from before this process ---- */

/* What the lines of one segment say of a run. */
static int elog_scan_segment(const struct elog *l, uint64_t first, uint64_t end, struct str run_id,
                             struct elog_run *run, bool *ret_older)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    char oldest[CLOCK_RFC3339_LEN + 1];
    struct log_line line;
    int r = log_reader_open(disk_dirfd(l->disk), first, &reader);

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
        if (e.e.cellsequence > run->cellsequence)
            run->cellsequence = e.e.cellsequence;
        run->started |= str_is(e.e.type, EVENT_TYPE_PREFIX "lifecycle.v1.started");
        run->ended |= str_is(e.e.type, EVENT_TYPE_PREFIX "command.v1.completed");
        run->destroyed |= str_is(e.e.type, EVENT_TYPE_PREFIX "lifecycle.v1.destroyed");
    }
    return r < 0 ? r : 0;
}

int elog_find_run(const struct elog *l, struct str run_id, uint64_t since_s, struct elog_run *ret)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(disk_dirfd(l->disk), &segments);
    uint64_t end = l->durable;
    bool older = false;

    if (n < 0)
        return n;
    *ret = (struct elog_run){.since_s = since_s};
    for (int i = n - 1; i >= 0 && !older; i--) {
        int r = segments[i] < end ? elog_scan_segment(l, segments[i], end, run_id, ret, &older) : 0;

        if (r < 0)
            return r;
        end = segments[i] < end ? segments[i] : end;
    }
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

/* ---- start and end ---- */

static int elog_seal_start(struct elog *l, const struct recovered *rec)
{
    char root_text[LIMIT_DIGEST + 1] = "sha256:", torn_text[LIMIT_DIGEST + 1] = "sha256:";
    _cleanup_(buf_done) struct buf hex, json;
    uint8_t root[DIGEST_LEN];
    struct ev_recovered ev = {
        .previous_size = rec->tree.size,
        .previous_root = {root_text, LIMIT_DIGEST},
        .boot_id = str_of(l->cfg.boot_id),
        .torn_bytes = rec->torn_bytes,
        .torn_digest = rec->torn_bytes ? (struct str){torn_text, LIMIT_DIGEST} : STR_NONE,
    };
    const struct event_row *row = event_row(EVENT_RECOVERED);
    int r;

    buf_init(&hex, 4 * DIGEST_LEN);
    buf_init(&json, LIMIT_EVENT_DATA);
    merkle_root(&rec->tree, root);
    encoding_hex_put(&hex, root, sizeof(root));
    encoding_hex_put(&hex, rec->torn_digest, sizeof(rec->torn_digest));
    if (hex.err)
        return hex.err;
    memcpy(root_text + 7, hex.data, 2 * DIGEST_LEN);
    memcpy(torn_text + 7, hex.data + 2 * DIGEST_LEN, 2 * DIGEST_LEN);
    r = event_render(row, &ev, &(struct event_stamps){.cell_id = STR_NONE}, &json);
    if (r < 0)
        return r;
    return elog_submit(l, &(struct elog_event){.role = ROLE_SIGNERD, .row = row, .data = buf_str(&json)},
                       NULL, NULL);
}

static int elog_prepare(struct elog *l)
{
    struct recovered rec;
    int r = disk_open(l->cfg.dirfd, &l->disk);

    if (r == -EWOULDBLOCK) {
        log_error("another signerd has this log");
        return r;
    }
    if (r < 0)
        return log_errno(r, "cannot open the log's directory");
    r = recover_log(l->disk, l->cfg.keys, l->cfg.origin, &rec);
    if (r < 0)
        return r;
    buf_done(&l->note);
    l->note = rec.note;
    l->tree = rec.tree;
    l->tiles = rec.tiles;
    l->durable = rec.tree.size;
    r = commit_new(l->cfg.loop, l->disk, elog_on_commit, l, &l->commit);
    if (r < 0)
        return log_errno(r, "cannot start the disk thread");
    r = rec.fresh ? 0 : elog_seal_start(l, &rec);
    return r < 0 ? log_errno(r, "cannot seal the start of the log") : 0;
}

int elog_open(const struct elog_config *cfg, struct elog **ret)
{
    struct elog *l = calloc(1, sizeof(*l));
    int r;

    if (!l)
        return -ENOMEM;
    l->cfg = *cfg;
    ev_init(&l->kick, elog_on_kick);
    ev_set_priority(&l->kick, EV_MINPRI);
    l->kick.data = l;
    seal_init(&l->seal, cfg->keys, cfg->host);
    queue_init(&l->pending);
    queue_init(&l->batch);
    buf_init(&l->lines, ELOG_BATCH_BYTES_MAX + 2 * LIMIT_LINE);
    buf_init(&l->note, CHECKPOINT_NOTE_MAX);
    buf_init(&l->batch_note, CHECKPOINT_NOTE_MAX);
    r = elog_prepare(l);
    if (r < 0) {
        elog_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

/* The unfinished tiles of the present size, so that at rest the directory has all of them. */
static void elog_store_partial_tiles(struct elog *l)
{
    for (unsigned level = 0; level < TILE_LEVELS; level++) {
        struct disk_tile t = {.level = level, .width = l->tiles.n[level]};
        int r;

        if (t.width == 0)
            continue;
        t.index = l->tiles.size >> 8 * level >> 8;
        memcpy(t.data, l->tiles.hash[level], (size_t)t.width * DIGEST_LEN);
        r = disk_write_tile(l->disk, &t);
        if (r < 0) {
            log_failed(LOG_WARNING, r, "cannot write a tile of the tree (it can be made again)");
            return;
        }
    }
}

struct elog *elog_free(struct elog *l)
{
    struct claim *c;

    if (!l)
        return NULL;
    bool idle = elog_is_idle(l) && !l->dead && l->commit;
    ev_clear_pending(l->cfg.loop, &l->kick);
    commit_free(l->commit);
    if (idle)
        elog_store_partial_tiles(l);
    while ((c = queue_pop(&l->batch)) || (c = queue_pop(&l->pending)))
        free(c);
    disk_free(l->disk);
    seal_done(&l->seal);
    buf_done(&l->lines);
    buf_done(&l->note);
    buf_done(&l->batch_note);
    free(l->batch_tiles);
    free(l);
    return NULL;
}
