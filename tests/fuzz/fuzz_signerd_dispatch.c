/* SPDX-License-Identifier: MIT */
/* Three hostile daemons against signerd's real tables, handlers and log. Input: frames, each [line 0..2][2
 * bytes length][bytes]; a byte 0xf0 + line in front sends that line's honest hello and opens the run of the
 * seed corpus. The log must verify at the end, whatever was said. */
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/base/cursor.h"
#include "common/base/log.h"
#include "common/evidence/log_verify.h"
#include "signerd/dispatch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define FUZZ_FRAMES_MAX 16
#define FUZZ_LOG_INPUTS 64 /* so many inputs share a log: each finds the run of the one before again */
#define FUZZ_RUN        "0198c0de-0000-7000-8000-000000000001"

static struct ev_loop *loop;
static struct keys *keys;
static struct cells *cells;
static struct elog *elog;
static struct dispatch dispatch;
static int log_dir = -1;
static char log_path[] = "/dev/shm/cellos-fuzz-XXXXXX";
static unsigned inputs;
static const struct quota_options small = {.rate = 3, .events = 5, .bytes = 500};
static struct redact redact;

static void on_failed(void *self, int err)
{
    (void)self;
    fprintf(stderr, "the log failed: %d\n", err);
    abort();
}

static int make_keys(void)
{
    char dir[] = "/dev/shm/cellos-fuzz-XXXXXX", path[64];

    if (!mkdtemp(dir))
        return -errno;
    int keys_dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = keys_open(keys_dir, &keys);
    close(keys_dir);
    (void)snprintf(path, sizeof(path), "%s/" KEYS_FILE, dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/" KEYS_VKEY_FILE, dir);
    (void)unlink(path);
    (void)rmdir(dir);
    return r;
}

/* A fresh log in memory, so that the fuzzer is not measured by the disk. */
static void open_log(void)
{
    strcpy(log_path, "/dev/shm/cellos-fuzz-XXXXXX");
    if (!mkdtemp(log_path))
        abort();
    log_dir = open(log_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct elog_config cfg = {.loop = loop,
                              .dirfd = log_dir,
                              .keys = keys,
                              .cells = cells,
                              .host = "fuzz",
                              .boot_id = "00000000-0000-4000-8000-000000000001",
                              .origin = keys_vkey(keys)->name,
                              .failed = on_failed,
                              .idle = dispatch_on_log_idle,
                              .self = &dispatch};
    if (log_dir < 0 || cells_new(&cells) < 0)
        abort();
    cfg.cells = cells;
    if (elog_open(&cfg, &elog) < 0)
        abort();
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void verify(void);

static void close_log(void)
{
    verify();
    elog = elog_free(elog);
    cells = cells_free(cells);
    close(log_dir);
    (void)nftw(log_path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void at_exit(void)
{
    if (elog)
        close_log();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    log_init("fuzz", -1);
    char why[REDACT_WHY_MAX];
    if (ed25519_init() < 0 || digest_init() < 0 ||
        redact_parse(&redact, STR_LIT("defaults,host,isolation,answers"), why) != REDACT_OK)
        return 1;
    loop = ev_loop_new(EVFLAG_NOENV);
    return loop && atexit(at_exit) == 0 && make_keys() == 0 ? 0 : 1;
}

static void send_rec(int sock, uint32_t id, uint64_t seq, const void *rec)
{
    struct buf b;

    buf_init(&b, LIMIT_FRAME);
    if (iface_encode(iface_row(&iface_signer, id), seq, rec, &b) == 0)
        (void)!frame_send(sock, b.data, b.len, NULL, 0);
    buf_done(&b);
}

static void send_hello(const int *socks, unsigned line)
{
    static const uint32_t roles[] = {ROLE_SUPERVISOR, ROLE_NETD, ROLE_PROXYD};
    struct hello h = {STR_LIT("signer"), iface_signer.version, roles[line]};
    struct signer_cell_open_req open_req = {.run_id = STR_LIT(FUZZ_RUN), .cell_id = STR_LIT("fuzz")};

    send_rec(socks[line], MSG_HELLO, 0, &h);
    if (line == 0)
        send_rec(socks[0], MSG_SIGNER_CELL_OPEN_REQ, 1, &open_req);
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

static void drain(const int *socks)
{
    static uint8_t answer[FRAME_MAX];

    for (unsigned i = 0; i < DISPATCH_LINES; i++)
        while (recv(socks[i], answer, sizeof(answer), MSG_DONTWAIT) > 0)
            ;
}

static void send_frames(const int *socks, struct cursor c)
{
    for (unsigned i = 0; i < FUZZ_FRAMES_MAX; i++) {
        const uint8_t *p;
        uint16_t len;
        uint8_t line;

        if (cursor_u8(&c, &line) < 0)
            return;
        if (line >= 0xf0) {
            send_hello(socks, (line & 0x0f) % DISPATCH_LINES);
            turn();
            continue;
        }
        if (cursor_be16(&c, &len) < 0)
            return;
        size_t n = len < cursor_left(&c) ? len : cursor_left(&c);
        if (n == 0 || cursor_bytes(&c, n, &p) < 0)
            return;
        (void)!frame_send(socks[line % DISPATCH_LINES], p, n, NULL, 0);
        turn();
    }
}

static void verify(void)
{
    struct log_verify_options o = {.trust.ring = keys_ring(keys), .threads = 1};
    struct log_report report;

    if (log_verify(log_dir, &o, &report) < 0 || report.verdict != LOG_GOOD) {
        fprintf(stderr, "line %llu: %s\n", (unsigned long long)report.line, report.why);
        abort();
    }
}

/* The run of the input is over; the next one opens it again, as after a restart. False when it was destroyed.
 */
static bool forget_run(void)
{
    struct cell *cell = cells_find(cells, STR_LIT(FUZZ_RUN));
    bool unsure;

    if (cell) {
        cell->state = CELL_STATE_ENDED;
        cells_remove(cells, cell);
    }
    return !cells_was_closed(cells, STR_LIT(FUZZ_RUN), &unsure);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ours[DISPATCH_LINES], theirs[DISPATCH_LINES];

    if (!elog)
        open_log();
    for (unsigned i = 0; i < DISPATCH_LINES; i++) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
            abort();
        ours[i] = pair[0];
        theirs[i] = pair[1];
    }
    if (dispatch_init(&dispatch, loop, cells, ours) < 0)
        abort();
    dispatch.log = elog;
    dispatch_configure(&dispatch, inputs % 2 ? &small : NULL, inputs % 3 ? &redact : NULL);
    send_frames(theirs, cursor_of(data, size));
    drain(theirs);
    dispatch_stop(&dispatch);
    while (!elog_is_idle(elog))
        ev_run(loop, EVRUN_ONCE);
    dispatch_done(&dispatch);
    for (unsigned i = 0; i < DISPATCH_LINES; i++)
        close(theirs[i]);
    if (!forget_run() || ++inputs % FUZZ_LOG_INPUTS == 0)
        close_log();
    return 0;
}
