/* SPDX-License-Identifier: MIT */
#include "common/base/encoding.h"
#include "common/base/log.h"
#include "signerd/event.h"
#include "signerd/log_internal.h"
#include "signerd/recover.h"

static int elog_seal_start(struct elog *l, const struct recovered *rec)
{
    char root_text[LIMIT_DIGEST + 1] = "sha256:", torn_text[LIMIT_DIGEST + 1] = "sha256:";
    _cleanup_(buf_done) struct buf hex = {.data = NULL}, json = {.data = NULL};
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
    disk_set_limits(l->disk, l->cfg.segment_bytes, l->cfg.segment_age_s);
    r = recover_log(l->disk, l->cfg.keys, l->cfg.origin, &rec);
    if (r < 0)
        return r;
    buf_done(&l->note);
    l->note = rec.note;
    l->tree = rec.tree;
    l->tiles = rec.tiles;
    l->durable = l->covered = rec.tree.size;
    r = commit_new(l->cfg.loop, l->disk, elog_on_commit, l, &l->commit);
    if (r < 0)
        return log_errno(r, "cannot start the disk thread");
    r = elog_after_open(l);
    if (r < 0)
        return r;
    l->open_segment = disk_open_segment(l->disk);
    elog_cover_later(l);
    if (rec.closed)
        elog_look_closed(l);
    r = rec.fresh ? 0 : elog_seal_start(l, &rec);
    if (r == 0 && rec.keyset_changed)
        r = elog_seal_keyset(l);
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
    ev_init(&l->closed_timer, elog_on_closed_timer);
    l->closed_timer.data = l;
    ev_init(&l->cover_timer, elog_on_cover_timer);
    l->cover_timer.data = l;
    ev_init(&l->age_timer, elog_on_age_timer);
    l->age_timer.data = l;
    seal_init(&l->seal, cfg->keys, cfg->seal == SEAL_BATCH, cfg->host);
    claim_queue_init(&l->pending);
    claim_queue_init(&l->batch);
    buf_init(&l->lines, LIMIT_BATCH_BYTES + 2 * LIMIT_LINE);
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
    bool idle = !l->busy && !l->pending.head && !l->dead && l->commit;
    ev_clear_pending(l->cfg.loop, &l->kick);
    ev_timer_stop(l->cfg.loop, &l->closed_timer);
    ev_timer_stop(l->cfg.loop, &l->cover_timer);
    ev_timer_stop(l->cfg.loop, &l->age_timer);
    keeper_free(l->keeper);
    commit_free(l->commit);
    if (!l->busy && !l->dead && l->disk)
        elog_cover_now(l);
    elog_after_close(l, idle);
    if (idle)
        elog_store_partial_tiles(l);
    while ((c = claim_queue_pop(&l->batch)) || (c = claim_queue_pop(&l->pending)))
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
