/* SPDX-License-Identifier: MIT */
/* A signer in this process over a directory of its own: keys, log, cells, loop. */
#pragma once

#include <ev.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/base/io.h"
#include "common/base/log.h"
#include "common/evidence/log_verify.h"
#include "common/evidence/tile.h"
#include "signerd/authority.h"
#include "signerd/event.h"
#include "signerd/log.h"

#define RIG_BOOT "00000000-0000-4000-8000-000000000001"

struct rig {
    char dir[64];
    int keys_dir, log_dir;
    struct ev_loop *loop;
    struct keys *keys;
    struct cells *cells;
    struct elog *log;
    struct elog_config config; /* what a test wants of its own: seal and the like */
    char origin[CHECKPOINT_NAME_MAX + 1];
    int failed; /* what the failed callback heard last */
    unsigned nfailed;
};

static int rig_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void rig_remove(const char *dir)
{
    (void)nftw(dir, rig_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

static void rig_on_failed(void *self, int err)
{
    struct rig *r = self;

    r->failed = err;
    r->nfailed++;
    if (err != -ENOSPC)
        ev_break(r->loop, EVBREAK_ALL);
}

static void rig_on_idle(void *self)
{
    ev_break(((struct rig *)self)->loop, EVBREAK_ALL);
}

/* Opens (or opens again) the log. 0 or elog_open's error. */
static inline int rig_open(struct rig *r)
{
    struct elog_config cfg = r->config;

    cfg.loop = r->loop;
    cfg.dirfd = r->log_dir;
    cfg.keys = r->keys;
    cfg.cells = r->cells;
    cfg.host = "test-host";
    cfg.boot_id = RIG_BOOT;
    cfg.origin = r->origin;
    cfg.failed = rig_on_failed;
    cfg.idle = rig_on_idle;
    cfg.self = r;
    return elog_open(&cfg, &r->log);
}

/* Runs until everything accepted is durable or lost. */
static inline void rig_flush(struct rig *r)
{
    elog_hurry(r->log);
    if (!elog_is_idle(r->log))
        ev_run(r->loop, 0);
}

static inline void rig_close(struct rig *r)
{
    if (!r->log)
        return;
    rig_flush(r);
    r->log = elog_free(r->log);
    cells_free(r->cells);
    assert_int_equal(cells_new(&r->cells), 0);
}

static inline void rig_init_at(struct rig *r, const char *dir)
{
    *r = (struct rig){.log = NULL};
    (void)snprintf(r->dir, sizeof(r->dir), "%s", dir);
    log_init("test", getenv("RIG_LOG") ? LOG_DEBUG : LOG_CRIT);
    assert_int_equal(ed25519_init(), 0);
    assert_int_equal(digest_init(), 0);
    char path[96];
    (void)snprintf(path, sizeof(path), "%s/keys", dir);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    r->keys_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(path, sizeof(path), "%s/log", dir);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    r->log_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(r->keys_dir >= 0 && r->log_dir >= 0);
    r->loop = ev_loop_new(EVFLAG_NOENV);
    assert_non_null(r->loop);
    assert_int_equal(keys_open(r->keys_dir, &r->keys), 0);
    assert_int_equal(cells_new(&r->cells), 0);
    (void)snprintf(r->origin, sizeof(r->origin), "%s", keys_vkey(r->keys)->name);
}

/* In a forked child: no key is inherited, it takes its own (and leaves what its parent has). */
static inline void rig_forked(struct rig *r)
{
    if (keys_open(r->keys_dir, &r->keys) < 0)
        _exit(1);
}

static inline void rig_init(struct rig *r)
{
    char dir[] = "/tmp/cellos-test-XXXXXX";

    assert_non_null(mkdtemp(dir));
    rig_init_at(r, dir);
}

/* In memory where there is such a place: for tests that open thousands of logs. */
static inline void rig_init_fast(struct rig *r)
{
    char dir[] = "/dev/shm/cellos-test-XXXXXX";

    if (mkdtemp(dir))
        rig_init_at(r, dir);
    else
        rig_init(r);
}

static inline void rig_done(struct rig *r)
{
    rig_close(r);
    cells_free(r->cells);
    keys_free(r->keys);
    ev_loop_destroy(r->loop);
    close(r->keys_dir);
    close(r->log_dir);
    rig_remove(r->dir);
}

static inline struct cell *rig_cell(struct rig *r, const char *cell_id)
{
    char run[UUID_TEXT_LEN + 1];
    struct cell *cell = NULL;

    uuid_v7(run);
    struct cells_open o = {.run_id = str_of(run), .cell_id = str_of(cell_id)};
    assert_int_equal(cells_add(r->cells, &o, &cell), 0);
    return cell;
}

/* What happened to one event. */
struct rig_ack {
    bool done;
    int err;
    uint64_t sequence;
};

/* For tests that keep count: called with the data of every event that is claimed with an ack, and again (json
 * absent) when that ack has come. */
static void (*rig_watch)(struct rig_ack *ack, struct str json);

static void rig_on_ack(void *data, int err, uint64_t sequence)
{
    struct rig_ack *a = data;

    *a = (struct rig_ack){true, err, sequence};
    if (rig_watch)
        rig_watch(a, STR_NONE);
}

/* Claims an event as dispatch does; the row's state rule is asserted. Returns elog_submit's result. */
static inline int rig_submit(struct rig *r, uint32_t role, enum event_type type, struct cell *cell,
                             const void *rec, struct rig_ack *ack)
{
    const struct event_row *row = event_row(type);
    struct event_stamps stamps = {.cell_id = STR_NONE};
    _cleanup_(buf_done) struct buf json = {.data = NULL};

    if (cell)
        stamps = (struct event_stamps){.cell_id = str_of(cell->cell_id), .run_id = str_of(cell->run_id)};
    assert_int_equal(authority_judge(role, row, cell ? cell->state : CELL_STATE_LOG), AUTHORITY_OK);
    buf_init(&json, LIMIT_EVENT_DATA);
    assert_int_equal(event_render(row, rec, &stamps, &json), 0);
    if (ack)
        *ack = (struct rig_ack){.done = false};
    if (ack && rig_watch)
        rig_watch(ack, buf_str(&json));
    return elog_submit(r->log,
                       &(struct elog_event){.role = role, .row = row, .cell = cell, .data = buf_str(&json)},
                       ack ? rig_on_ack : NULL, ack);
}

static inline int rig_started(struct rig *r, struct cell *cell, struct rig_ack *ack)
{
    static const struct str namespaces[] = {{"user", 4}, {"net", 3}};
    struct ev_isolation iso = {.namespaces = {namespaces, 2},
                               .cgroup = STR_LIT("none"),
                               .seccomp = STR_LIT("core"),
                               .landlock = STR_LIT("abi 3"),
                               .uid_map = STR_LIT("1000 -> 1000")};
    struct ev_started ev = {
        .ttl_seconds = 60,
        .backend = BACKEND_PROCESS,
        .spec_digest = STR_LIT("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        .evidence = EVIDENCE_STRICT,
        .isolation = &iso};

    return rig_submit(r, ROLE_SUPERVISOR, EVENT_STARTED, cell, &ev, ack);
}

static inline int rig_l7(struct rig *r, struct cell *cell, const char *host, struct rig_ack *ack)
{
    struct ev_l7 ev = {.action = ACTION_ALLOW,
                       .reason_code = L7_SNI_ALLOWLIST_MATCH,
                       .protocol = L7_TLS,
                       .host = str_of(host),
                       .port = 443,
                       .original_destination = STR_LIT("192.0.2.1:443")};

    return rig_submit(r, ROLE_PROXYD, EVENT_L7, cell, &ev, ack);
}

static inline int rig_completed(struct rig *r, struct cell *cell, struct rig_ack *ack)
{
    static const struct str argv[] = {{"true", 4}};
    struct ev_completed ev = {.argv = {argv, 1}, .exit_code = 0, .duration_ms = 12};

    return rig_submit(r, ROLE_SUPERVISOR, EVENT_COMPLETED, cell, &ev, ack);
}

static inline int rig_destroyed(struct rig *r, struct cell *cell, struct rig_ack *ack)
{
    struct ev_destroyed ev = {.outcome = OUTCOME_SUCCEEDED,
                              .terminal_state = TERMINAL_CLEAN,
                              .reason = STR_LIT("the command ended"),
                              .residue_class = RESIDUE_NONE};

    return rig_submit(r, ROLE_SUPERVISOR, EVENT_DESTROYED, cell, &ev, ack);
}

/* A whole run of 3 + n events, all durable. */
static inline void rig_run(struct rig *r, const char *cell_id, unsigned n)
{
    struct cell *cell = rig_cell(r, cell_id);

    assert_int_equal(rig_started(r, cell, NULL), 0);
    rig_flush(r);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(rig_l7(r, cell, "example.test", NULL), 0);
    assert_int_equal(rig_completed(r, cell, NULL), 0);
    assert_int_equal(rig_destroyed(r, cell, NULL), 0);
    rig_flush(r);
}

/* The whole check of the log with the rig's key. */
static inline void rig_verify(const struct rig *r, struct log_report *ret)
{
    struct log_verify_options o = {.trust.ring = keys_ring(r->keys)};

    assert_int_equal(log_verify(r->log_dir, &o, ret), 0);
    if (ret->verdict != LOG_GOOD)
        print_message("verdict %d, line %llu: %s\n", ret->verdict, (unsigned long long)ret->line, ret->why);
}

/* A file of the log, whole. */
static inline void rig_read(const struct rig *r, const char *name, struct buf *b)
{
    int fd = openat(r->log_dir, name, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(io_read_to_end(fd, b), 0);
    close(fd);
}

static inline void rig_write(const struct rig *r, const char *name, const void *p, size_t n)
{
    int fd = openat(r->log_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(io_write_full(fd, p, n), 0);
    close(fd);
}

#define RIG_FIRST "00000000000000000000.jsonl"
