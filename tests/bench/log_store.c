/* SPDX-License-Identifier: MIT */
/* What storing a log costs, measured on signerd's own code in this process. One JSON object on stdout.
 *
 *   log_store size LINES DIR         bytes of closed segments beside those of the bare JSON; 600-byte data
 *   log_store start LINES DIR        time and memory of a start on a log of that many (unsigned, short) lines
 *   log_store pruned LINES DIR       the same where retention has left the last segment only, and the walk
 * over the tiles that verify makes log_store latency SECONDS BYTES DIR   acknowledgement of a thousand events
 * a second, segments of BYTES
 *
 * DIR: exists and is empty. */
#include <ev.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "common/base/log.h"
#include "common/evidence/log_pruned.h"
#include "signerd/compress.h"
#include "signerd/event.h"
#include "signerd/log.h"
#include "signerd/recover.h"

#define SEGMENT     (1u << 20)
#define LATENCY_MAX 100000

struct store {
    int log_dir;
    struct ev_loop *loop;
    struct keys *keys;
    struct cells *cells;
    struct elog *log;
    struct elog_config cfg;
    unsigned seed;
    size_t bare; /* bytes of data */
};

static void fail(const char *what, int err)
{
    fprintf(stderr, "log_store: %s: %s\n", what, strerror(-err));
    exit(EXIT_FAILURE);
}

static void must(const char *what, int r)
{
    if (r < 0)
        fail(what, r);
}

static void on_failed(void *self, int err)
{
    (void)self;
    fail("the log", err);
}

static void on_idle(void *self)
{
    ev_break(((struct store *)self)->loop, EVBREAK_ALL);
}

static long peak_kib(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

static void store_init(struct store *s, const char *dir)
{
    char path[512];
    int keys;

    *s = (struct store){.seed = 1};
    log_init("log_store", LOG_WARNING);
    must("ed25519", ed25519_init());
    must("digest", digest_init());
    (void)snprintf(path, sizeof(path), "%s/keys", dir);
    must("mkdir", mkdir(path, 0700));
    keys = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(path, sizeof(path), "%s/log", dir);
    must("mkdir", mkdir(path, 0700));
    s->log_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s->loop = ev_loop_new(EVFLAG_NOENV);
    must("keys", keys_open(keys, &s->keys));
    close(keys);
    must("cells", cells_new(&s->cells));
    s->cfg = (struct elog_config){.loop = s->loop,
                                  .dirfd = s->log_dir,
                                  .keys = s->keys,
                                  .cells = s->cells,
                                  .host = "bench",
                                  .boot_id = "00000000-0000-4000-8000-000000000001",
                                  .origin = keys_vkey(s->keys)->name,
                                  .failed = on_failed,
                                  .idle = on_idle,
                                  .self = s};
}

static uint64_t store_open(struct store *s)
{
    uint64_t t = clock_boottime_us();

    must("open the log", elog_open(&s->cfg, &s->log));
    return clock_boottime_us() - t;
}

static void store_flush(struct store *s)
{
    elog_hurry(s->log);
    if (!elog_is_idle(s->log))
        ev_run(s->loop, 0);
}

static void store_settle(struct store *s)
{
    while (!elog_is_settled(s->log) || !elog_is_idle(s->log))
        ev_run(s->loop, EVRUN_ONCE);
}

static unsigned any(struct store *s, unsigned below)
{
    return (unsigned)rand_r(&s->seed) % below;
}

/* A decision of proxyd as there are many of: names and addresses of a dozen services, ports, processes,
 * paths. */
static void store_event(struct store *s, struct cell *cell, elog_done_fn done, void *data)
{
    static const char *const names[] = {"api.example.org",
                                        "registry.npmjs.org",
                                        "pypi.org",
                                        "files.pythonhosted.org",
                                        "static.crates.io",
                                        "index.crates.io",
                                        "github.com",
                                        "codeload.github.com",
                                        "deb.debian.org",
                                        "security.debian.org",
                                        "storage.googleapis.com"};
    const char *name = names[any(s, 11)];
    char host[128], original[64], dialed[64], rule[330], exe[128];
    struct ev_process process = {.pid = 400 + any(s, 30000)};
    struct ev_l7 ev = {.action = ACTION_ALLOW,
                       .reason_code = L7_SNI_ALLOWLIST_MATCH,
                       .protocol = L7_TLS,
                       .port = 443,
                       .process = &process};
    struct event_stamps stamps = {.cell_id = str_of(cell->cell_id),
                                  .run_id = str_of(cell->run_id),
                                  .policy_digest = str_of(cell->policy_digest),
                                  .correlation_id = STR_LIT("job-20261129-4711")};
    _cleanup_(buf_done) struct buf json = {.data = NULL};
    const struct event_row *row = event_row(EVENT_L7);

    (void)snprintf(host, sizeof(host), "%s%u.%s", any(s, 2) ? "edge" : "cdn-", any(s, 64), name);
    (void)snprintf(original, sizeof(original), "10.0.%u.%u:443", any(s, 256), any(s, 256));
    (void)snprintf(dialed, sizeof(dialed), "[2a04:4e42:%x::%x]:443", any(s, 4096), any(s, 65536));
    (void)snprintf(rule, sizeof(rule),
                   "*.%s:443 tls, from authority.egressRules[%u] of the spec build-and-test", name,
                   any(s, 40));
    (void)snprintf(exe, sizeof(exe), "/usr/lib/%s/bin/worker-%u",
                   any(s, 2) ? "jvm/java-17-openjdk" : "node_modules", any(s, 8));
    ev.host = str_of(host);
    ev.original_destination = str_of(original);
    ev.dialed_address = str_of(dialed);
    ev.rule = str_of(rule);
    process.exe = str_of(exe);
    buf_init(&json, LIMIT_EVENT_DATA);
    must("render", event_render(row, &ev, &stamps, &json));
    s->bare += json.len;
    must("submit", elog_submit(s->log,
                               &(struct elog_event){
                                   .role = ROLE_PROXYD, .row = row, .cell = cell, .data = buf_str(&json)},
                               done, data));
}

static struct cell *store_cell(struct store *s)
{
    char run[UUID_TEXT_LEN + 1];
    struct cell *cell = NULL;
    struct cells_open o = {
        .cell_id = STR_LIT("build-4711"),
        .policy_digest = STR_LIT("sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")};

    uuid_v7(run);
    o.run_id = str_of(run);
    must("cell", cells_add(s->cells, &o, &cell));
    cell->state = CELL_STATE_STARTED;
    return cell;
}

/* ---- size ---- */

static void bench_size(struct store *s, uint64_t lines)
{
    _cleanup_free_ uint64_t *segments = NULL;
    uint64_t whole = 0, closed = 0, bare = 0, n = 0;
    struct cell *cell;
    int nsegments;

    s->cfg.segment_bytes = 8u << 20;
    (void)store_open(s);
    cell = store_cell(s);
    for (uint64_t i = 0; i < lines; i++) {
        store_event(s, cell, NULL, NULL);
        if (i % 512 == 511)
            store_flush(s);
    }
    store_flush(s);
    store_settle(s);
    nsegments = log_reader_segments(s->log_dir, &segments);
    for (int i = 0; i + 1 < nsegments; i++) {
        struct log_reader *reader;
        struct log_line l;
        uint64_t size;

        must("size", segment_size(s->log_dir, segments[i], &size));
        closed += size;
        must("read", log_reader_open(s->log_dir, segments[i], &reader));
        while (log_reader_next(reader, &l) == LOG_READ_LINE && l.index < segments[i + 1]) {
            const char *seal = memmem(l.text.p, l.text.len, ",\"dssematerial\"", 15);

            whole += l.text.len + 1;
            bare += seal ? (size_t)(seal - l.text.p) + 2 : l.text.len + 1;
            n++;
        }
        log_reader_free(reader);
    }
    printf("{\"lines\": %" PRIu64 ", \"data_bytes\": %.0f, \"bare_bytes\": %.0f, \"line_bytes\": %.0f, "
           "\"closed_bytes\": %.0f, \"open_ratio\": %.3f, \"closed_ratio\": %.3f}\n",
           n, (double)s->bare / (double)lines, (double)bare / (double)n, (double)whole / (double)n,
           (double)closed / (double)n, (double)whole / (double)bare, (double)closed / (double)bare);
}

/* ---- start ---- */

static void store_full_tile(void *arg, unsigned level, uint64_t index, const uint8_t *data)
{
    struct store *s = arg;
    static struct disk_tile t;

    t.level = level;
    t.index = index;
    t.width = TILE_WIDTH;
    memcpy(t.data, data, TILE_BYTES);
    must("tile", disk_write_tile_at(s->log_dir, &t));
}

static void put_file(const struct store *s, const char *name, const void *p, size_t n)
{
    int fd = openat(s->log_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    must(name, fd < 0 ? -errno : io_write_full(fd, p, n));
    close(fd);
}

/* A log of lines that are no events, which nobody looks at who does not have to: with tiles and checkpoint.
 * Returns where its last segment begins. */
static uint64_t make_log(struct store *s, uint64_t lines, bool whole)
{
    static struct tiles tiles;
    _cleanup_(buf_done) struct buf text = {.data = NULL}, note = {.data = NULL};
    const atomic_bool stop = false;
    char name[LOG_SEGMENT_NAME_MAX];
    uint64_t first = 0;
    struct merkle tree;

    buf_init(&text, 2 * SEGMENT);
    buf_init(&note, CHECKPOINT_NOTE_MAX);
    tiles_init(&tiles);
    for (uint64_t i = 0; i < lines; i++) {
        uint8_t leaf[DIGEST_LEN];
        size_t at = text.len;

        buf_printf(&text, "%" PRIu64 "\n", i);
        merkle_leaf(text.data + at, text.len - at - 1, leaf);
        tiles_append(&tiles, leaf, store_full_tile, s);
        if (text.len < SEGMENT && i + 1 < lines)
            continue;
        log_segment_name(first, name);
        if (whole || i + 1 == lines)
            put_file(s, name, text.data, text.len);
        if (whole && i + 1 < lines)
            must("compress", compress_segment(s->log_dir, first, &stop));
        buf_clear(&text);
        if (i + 1 < lines)
            first = i + 1;
    }
    tiles_merkle(&tiles, &tree);
    must("note", recover_note(s->keys, s->cfg.origin, &tree, &note));
    put_file(s, "checkpoint", note.data, note.len);
    (void)snprintf((char *)buf_reserve(&text, 512), 512, "%s\n", s->cfg.origin);
    put_file(s, "origin", text.data, strlen((char *)text.data));
    return first;
}

static void bench_start(struct store *s, uint64_t lines, bool whole)
{
    uint64_t first = make_log(s, lines, whole), took, walk = 0;
    long before = peak_kib();
    struct log_pruned pruned;
    struct tile_fault fault;

    took = store_open(s);
    store_flush(s);
    if (!whole) {
        walk = clock_boottime_us();
        must("tiles", log_pruned_load(s->log_dir, first, lines, UINT64_MAX, &pruned, &fault));
        walk = clock_boottime_us() - walk;
    }
    printf("{\"lines\": %" PRIu64 ", \"first\": %" PRIu64 ", \"start_ms\": %.1f, \"walk_ms\": %.1f, "
           "\"peak_kib_before\": %ld, \"peak_kib\": %ld}\n",
           lines, whole ? 0 : first, (double)took / 1e3, (double)walk / 1e3, before, peak_kib());
}

/* ---- latency ---- */

static uint64_t sent[LATENCY_MAX], latency[LATENCY_MAX];
static size_t nlatency;

static void on_done(void *data, int err, uint64_t sequence)
{
    (void)sequence;
    must("an event", err);
    latency[nlatency++] = clock_boottime_us() - *(uint64_t *)data;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static void bench_latency(struct store *s, uint64_t seconds, uint64_t segment_bytes)
{
    uint64_t begin, n = 0, want = seconds * 1000;
    struct cell *cell;
    ev_timer tick;

    s->cfg.segment_bytes = segment_bytes;
    s->cfg.idle = NULL;
    (void)store_open(s);
    cell = store_cell(s);
    ev_timer_init(&tick, on_tick, 0.001, 0.001);
    ev_timer_start(s->loop, &tick);
    begin = clock_boottime_us();
    while (nlatency < want) {
        while (n < want && n < LATENCY_MAX && clock_boottime_us() - begin >= n * 1000) {
            sent[n] = clock_boottime_us();
            store_event(s, cell, on_done, &sent[n]);
            n++;
        }
        ev_run(s->loop, EVRUN_ONCE);
    }
    ev_timer_stop(s->loop, &tick);
    qsort(latency, nlatency, sizeof(latency[0]), by_value);
    printf("{\"events\": %zu, \"p50_us\": %" PRIu64 ", \"p99_us\": %" PRIu64 ", \"max_us\": %" PRIu64 "}\n",
           nlatency, latency[nlatency / 2], latency[nlatency * 99 / 100], latency[nlatency - 1]);
}

int main(int argc, char **argv)
{
    struct store s;
    uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    bool latencies = argc == 5 && strcmp(argv[1], "latency") == 0 && n <= LATENCY_MAX / 1000;

    if ((argc != 4 && !latencies) || n == 0) {
        fprintf(stderr, "usage: log_store size|start|pruned LINES DIR | latency SECONDS BYTES DIR\n");
        return 2;
    }
    store_init(&s, argv[argc - 1]);
    if (latencies)
        bench_latency(&s, n, strtoull(argv[3], NULL, 10));
    else if (strcmp(argv[1], "size") == 0)
        bench_size(&s, n);
    else
        bench_start(&s, n, strcmp(argv[1], "start") == 0);
    elog_free(s.log);
    cells_free(s.cells);
    keys_free(s.keys);
    ev_loop_destroy(s.loop);
    close(s.log_dir);
    return 0;
}
