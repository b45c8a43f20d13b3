/* SPDX-License-Identifier: MIT */
/* signerd's three lines with the real tables: the real client stub, and hostile frames. */
#undef _FORTIFY_SOURCE
#include "tests/unit/fault_calls.h"

#include <sys/socket.h>

#include "tests/unit/signerd_rig.h"

#include "common/evidence/log_reader.h"
#include "proto/line.h"
#include "proto/signer_client.h"
#include "signerd/dispatch.h"

struct suite {
    struct rig r;
    struct dispatch d;
    struct signer_client *client[DISPATCH_LINES];
    int sock[DISPATCH_LINES]; /* the peers' ends, for raw frames */
    unsigned gone;
    int gone_err;
};

static const uint32_t roles[DISPATCH_LINES] = {ROLE_SUPERVISOR, ROLE_NETD, ROLE_PROXYD};

static void on_client_gone(void *self, int err)
{
    struct suite *s = self;

    s->gone++;
    s->gone_err = err;
}

/* clients: with the client stubs; else the peers' ends stay raw in sock. */
static void suite_init(struct suite *s, bool clients)
{
    int ours[DISPATCH_LINES];

    *s = (struct suite){.gone = 0};
    rig_init(&s->r);
    for (size_t i = 0; i < DISPATCH_LINES; i++) {
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        ours[i] = pair[0];
        s->sock[i] = pair[1];
    }
    assert_int_equal(dispatch_init(&s->d, s->r.loop, s->r.cells, ours), 0);
    struct elog_config cfg = {.loop = s->r.loop,
                              .dirfd = s->r.log_dir,
                              .keys = s->r.keys,
                              .cells = s->r.cells,
                              .host = "test-host",
                              .boot_id = RIG_BOOT,
                              .origin = s->r.origin,
                              .failed = dispatch_on_log_failed,
                              .idle = dispatch_on_log_idle,
                              .self = &s->d};
    assert_int_equal(elog_open(&cfg, &s->d.log), 0);
    if (!clients)
        return;
    for (size_t i = 0; i < DISPATCH_LINES; i++) {
        assert_int_equal(signer_client_new(s->r.loop, s->sock[i], roles[i], on_client_gone, s, &s->client[i]),
                         0);
        s->sock[i] = -EBADF;
    }
}

static void suite_done(struct suite *s)
{
    for (size_t i = 0; i < DISPATCH_LINES; i++) {
        s->client[i] = signer_client_free(s->client[i]);
        cleanup_closep(&s->sock[i]);
    }
    while (s->d.open > 0 || !elog_is_idle(s->d.log))
        ev_run(s->r.loop, EVRUN_ONCE);
    s->d.log = elog_free(s->d.log);
    dispatch_done(&s->d);
    struct log_report report;
    rig_verify(&s->r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    rig_done(&s->r);
}

struct opened {
    bool done;
    uint32_t fail;
};

static void on_opened(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    struct opened *o = data;

    (void)rec;
    (void)fds;
    (void)nfds;
    *o = (struct opened){true, error ? error->fail : 0};
}

static uint32_t open_cell(struct suite *s, const char *run_id, const char *cell_id)
{
    struct signer_cell_open_req req = {.run_id = str_of(run_id), .cell_id = str_of(cell_id)};
    struct opened o = {false, 0};

    assert_int_equal(endpoint_call(signer_client_endpoint(s->client[0]), MSG_SIGNER_CELL_OPEN_REQ, &req, NULL,
                                   0, 0, on_opened, &o),
                     0);
    while (!o.done)
        ev_run(s->r.loop, EVRUN_ONCE);
    return o.fail;
}

struct acked {
    bool done;
    int err;
    uint64_t sequence;
};

static void on_acked(void *data, int err, uint64_t sequence)
{
    *(struct acked *)data = (struct acked){true, err, sequence};
}

static int claim(struct suite *s, size_t line, const char *run_id, enum event_type type, const void *rec,
                 uint64_t *sequence)
{
    struct acked a = {false, 0, 0};

    assert_int_equal(signer_claim(s->client[line], run_id, type, rec, true, on_acked, &a), 0);
    while (!a.done)
        ev_run(s->r.loop, EVRUN_ONCE);
    if (sequence)
        *sequence = a.sequence;
    return a.err;
}

static struct ev_gap gap = {.lost = 3,
                            .since = {"2026-11-23T05:10:00Z", 20},
                            .until = {"2026-11-23T05:10:01Z", 20},
                            .cause = {"flood", 5}};
static struct ev_destroyed destroyed = {.outcome = OUTCOME_FAILED,
                                        .terminal_state = TERMINAL_FORCED,
                                        .reason = {"test", 4},
                                        .residue_class = RESIDUE_NONE};

/* The type suffixes of all lines, separated by blanks. */
static void types(struct suite *s, struct buf *b)
{
    struct log_reader *reader;
    struct log_line l;

    buf_clear(b);
    assert_int_equal(log_reader_open(s->r.log_dir, 0, &reader), 0);
    while (log_reader_next(reader, &l) == LOG_READ_LINE) {
        struct envelope_line e;

        assert_int_equal(envelope_parse(l.text, &e), ENVELOPE_OK);
        if (b->len)
            buf_putc(b, ' ');
        buf_put(b, e.e.type.p + sizeof(EVENT_TYPE_PREFIX) - 1, e.e.type.len - sizeof(EVENT_TYPE_PREFIX) + 1);
    }
    log_reader_free(reader);
}

static void test_claims_of_all_roles(void **state)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    char run[UUID_TEXT_LEN + 1];
    uint64_t sequence;
    struct suite s;

    (void)state;
    buf_init(&b, 4096);
    suite_init(&s, true);
    uuid_v7(run);
    assert_int_equal(open_cell(&s, run, "web-1"), 0);
    for (size_t i = 0; i < DISPATCH_LINES; i++) {
        assert_int_equal(claim(&s, i, run, EVENT_GAP, &gap, &sequence), 0);
        assert_int_equal(sequence, i);
    }
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, &sequence), 0);
    assert_int_equal(sequence, 3);
    types(&s, &b);
    assert_string_equal(
        buf_cstr(&b),
        "observability.v1.gap observability.v1.gap observability.v1.gap lifecycle.v1.destroyed");
    suite_done(&s);
}

/* Refused, answered, and the refusal is in the log. */
static void test_role_cell_and_state(void **state)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    char run[UUID_TEXT_LEN + 1], unknown[UUID_TEXT_LEN + 1];
    struct suite s;

    (void)state;
    buf_init(&b, 4096);
    suite_init(&s, true);
    uuid_v7(run);
    uuid_v7(unknown);
    assert_int_equal(open_cell(&s, run, "web-1"), 0);
    assert_int_equal(claim(&s, 2, run, EVENT_DESTROYED, &destroyed, NULL), -EPERM);
    assert_int_equal(claim(&s, 0, unknown, EVENT_DESTROYED, &destroyed, NULL), -EPROTO);
    struct ev_l7 l7 = {.action = ACTION_ALLOW,
                       .reason_code = L7_SNI_ALLOWLIST_MATCH,
                       .protocol = L7_TLS,
                       .port = 443,
                       .original_destination = STR_LIT("192.0.2.1:443")};
    assert_int_equal(claim(&s, 2, run, EVENT_L7, &l7, NULL), -EPROTO); /* not started yet */
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), 0);
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), -EPROTO);
    types(&s, &b);
    assert_string_equal(
        buf_cstr(&b),
        "log.v1.claim_refused log.v1.claim_refused log.v1.claim_refused lifecycle.v1.destroyed");
    suite_done(&s);
}

static void test_a_flood_of_refusals_is_one_line(void **state)
{
    _cleanup_(buf_done) struct buf lines = {.data = NULL};
    char run[UUID_TEXT_LEN + 1];
    struct acked a[300];
    struct suite s;

    (void)state;
    buf_init(&lines, 1u << 20);
    suite_init(&s, true);
    uuid_v7(run);
    assert_int_equal(open_cell(&s, run, "web-1"), 0);
    for (size_t i = 0; i < ARRAY_LEN(a); i++) {
        a[i].done = false;
        assert_int_equal(signer_claim(s.client[2], run, EVENT_DESTROYED, &destroyed, true, on_acked, &a[i]),
                         0);
    }
    for (size_t i = 0; i < ARRAY_LEN(a); i++) {
        while (!a[i].done)
            ev_run(s.r.loop, EVRUN_ONCE);
        assert_int_equal(a[i].err, -EPERM);
    }
    for (size_t i = 0; i < DISPATCH_LINES; i++)
        s.client[i] = signer_client_free(s.client[i]);
    ev_run(s.r.loop, 0); /* closing reports what is still counted */
    rig_read(&s.r, RIG_FIRST, &lines);
    assert_non_null(strstr(buf_cstr(&lines), "\"count\":1}"));
    assert_non_null(strstr(buf_cstr(&lines), "\"count\":299}"));
    uint64_t size;
    (void)elog_head(s.d.log, &size);
    assert_int_equal(size, 2);
    suite_done(&s);
}

static void test_run_ids_are_used_once(void **state)
{
    char run[UUID_TEXT_LEN + 1];
    struct suite s;

    (void)state;
    suite_init(&s, true);
    uuid_v7(run);
    assert_int_equal(open_cell(&s, "not-an-id", "web-1"), FAIL_INVALID);
    assert_int_equal(open_cell(&s, run, "a/b"), FAIL_INVALID);
    assert_int_equal(open_cell(&s, run, "web-1"), 0);
    assert_int_equal(open_cell(&s, run, "web-1"), FAIL_EXISTS);
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), 0);
    assert_int_equal(open_cell(&s, run, "web-1"), FAIL_EXISTS);
    suite_done(&s);
}

/* A run whose id is far ahead of its lines could be opened again later, when nobody looks so far back. */
static void test_run_ids_of_the_future(void **state)
{
    char run[UUID_TEXT_LEN + 1];
    struct suite s;

    (void)state;
    suite_init(&s, true);
    fault_clock.day_s += 2 * 86400;
    uuid_v7(run);
    fault_clock.day_s -= 2 * 86400;
    assert_int_equal(open_cell(&s, run, "a"), FAIL_INVALID);
    fault_clock.day_s += 3600;
    uuid_v7(run);
    fault_clock.day_s -= 3600;
    assert_int_equal(open_cell(&s, run, "a"), 0);
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), 0);
    uuid_v7(run); /* and the ids are those of the clock again */
    assert_int_equal(open_cell(&s, run, "a"), 0);
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), 0);
    suite_done(&s);
}

/* A second signer on the same log: a run of before the restart goes on where it was, a closed one stays
 * closed. Between the two somebody sets the clock. */
static void restart(int64_t clock_set_by_s)
{
    char open_run[UUID_TEXT_LEN + 1], closed_run[UUID_TEXT_LEN + 1];
    _cleanup_(buf_done) struct buf lines = {.data = NULL};
    struct suite s, again;

    buf_init(&lines, 1u << 20);
    suite_init(&s, true);
    uuid_v7(open_run);
    uuid_v7(closed_run);
    assert_int_equal(open_cell(&s, open_run, "a"), 0);
    assert_int_equal(open_cell(&s, closed_run, "b"), 0);
    assert_int_equal(claim(&s, 0, open_run, EVENT_GAP, &gap, NULL), 0);
    assert_int_equal(claim(&s, 0, closed_run, EVENT_DESTROYED, &destroyed, NULL), 0);
    for (size_t i = 0; i < DISPATCH_LINES; i++)
        s.client[i] = signer_client_free(s.client[i]);
    ev_run(s.r.loop, 0);
    s.d.log = elog_free(s.d.log);
    dispatch_done(&s.d);

    fault_clock.day_s += clock_set_by_s;
    suite_init(&again, true);
    again.d.log = elog_free(again.d.log);
    close(again.r.log_dir);
    again.r.log_dir = dup(s.r.log_dir);
    struct elog_config cfg = {.loop = again.r.loop,
                              .dirfd = again.r.log_dir,
                              .keys = s.r.keys,
                              .cells = again.r.cells,
                              .host = "test-host",
                              .boot_id = RIG_BOOT,
                              .origin = s.r.origin,
                              .failed = dispatch_on_log_failed,
                              .idle = dispatch_on_log_idle,
                              .self = &again.d};
    assert_int_equal(elog_open(&cfg, &again.d.log), 0);
    assert_int_equal(open_cell(&again, closed_run, "b"), FAIL_EXISTS);
    assert_int_equal(open_cell(&again, open_run, "another"), FAIL_EXISTS); /* it is of cell a */
    assert_int_equal(open_cell(&again, open_run, "a"), 0);
    assert_int_equal(claim(&again, 0, open_run, EVENT_DESTROYED, &destroyed, NULL), 0);
    struct log_report report;
    rig_verify(&s.r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_int_equal(report.open_runs, 0);
    for (size_t i = 0; i < DISPATCH_LINES; i++)
        again.client[i] = signer_client_free(again.client[i]);
    ev_run(again.r.loop, 0);
    again.d.log = elog_free(again.d.log);
    dispatch_done(&again.d);
    rig_done(&again.r);
    rig_done(&s.r);
    fault_clock.day_s = 0;
}

static void test_runs_of_before_a_restart(void **state)
{
    (void)state;
    restart(0);
    restart(-1);
    restart(-5 * 86400);
    restart(5 * 86400);
}

static void on_head(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    const struct signer_head_rep *rep = rec;
    struct buf *b = data;

    (void)fds;
    (void)nfds;
    assert_null(error);
    buf_printf(b, "%llu\n", (unsigned long long)rep->tree_size);
    buf_put_str(b, rep->checkpoint);
}

static void test_head(void **state)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    struct ev_rejected rejected = {.spec_digest = STR_NONE};
    char run[UUID_TEXT_LEN + 1];
    struct checkpoint c;
    struct suite s;

    (void)state;
    buf_init(&b, 4096);
    suite_init(&s, true);
    uuid_v7(run);
    assert_int_equal(open_cell(&s, run, "a"), 0);
    assert_int_equal(claim(&s, 0, run, EVENT_REJECTED, &rejected, NULL), 0);
    struct empty req;
    assert_int_equal(endpoint_call(signer_client_endpoint(s.client[0]), MSG_SIGNER_HEAD_REQ, &req, NULL, 0, 0,
                                   on_head, &b),
                     0);
    while (b.len == 0)
        ev_run(s.r.loop, EVRUN_ONCE);
    assert_memory_equal(b.data, "1\n", 2);
    assert_int_equal(
        checkpoint_open((struct str){(const char *)b.data + 2, b.len - 2}, keys_vkey(s.r.keys), &c),
        CHECKPOINT_OK);
    assert_int_equal(c.size, 1);
    suite_done(&s);
}

static void test_everything_accepted_is_written_at_the_end(void **state)
{
    char run[UUID_TEXT_LEN + 1];
    struct log_report report;
    struct suite s;

    (void)state;
    suite_init(&s, true);
    uuid_v7(run);
    assert_int_equal(open_cell(&s, run, "a"), 0);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(signer_claim(s.client[2], run, EVENT_GAP, &gap, false, NULL, NULL), 0);
    while (elog_is_idle(s.d.log)) /* until the first of them has arrived */
        ev_run(s.r.loop, EVRUN_ONCE);
    for (size_t i = 0; i < DISPATCH_LINES; i++)
        s.client[i] = signer_client_free(s.client[i]);
    ev_run(s.r.loop, 0);
    rig_verify(&s.r, &report);
    assert_int_equal(report.lines, 200);
    suite_done(&s);
}

/* ---- raw frames ---- */

static void send_rec(struct suite *s, size_t line, uint32_t id, uint64_t seq, const void *rec)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    buf_init(&b, LIMIT_FRAME);
    assert_int_equal(iface_encode(iface_row(&iface_signer, id), seq, rec, &b), 0);
    assert_int_equal(frame_send(s->sock[line], b.data, b.len, NULL, 0), 0);
}

static void send_claim(struct suite *s, size_t line, uint64_t seq, const struct signer_claim *claim)
{
    struct signer_claims_req req = {.claims = {claim, 1}};

    send_rec(s, line, MSG_SIGNER_CLAIMS_REQ, seq, &req);
}

static void hello(struct suite *s, size_t line, uint32_t role)
{
    struct hello h = {STR_LIT("signer"), iface_signer.version, role};

    send_rec(s, line, MSG_HELLO, 0, &h);
}

static void settle(struct suite *s)
{
    for (unsigned i = 0; i < 5; i++)
        ev_run(s->r.loop, EVRUN_NOWAIT);
}

static bool is_cut(struct suite *s, size_t line)
{
    settle(s);
    return s->d.line[line].e == NULL;
}

static struct {
    struct signer_result r[8];
    size_t n;
} last_results; /* of the last answer to claims */

static void keep_results(const struct signer_claims_rep *rep)
{
    assert_in_range(rep->results.n, 1, ARRAY_LEN(last_results.r));
    last_results.n = rep->results.n;
    memcpy(last_results.r, rep->results.v, rep->results.n * sizeof(last_results.r[0]));
}

/* The next frame of the peer behind its hello: its id, or -1. */
static int next_id(struct suite *s, size_t line, uint64_t *ret_seq, uint64_t *ret_value)
{
    static struct frame f;
    struct arena arena;
    struct msg m;
    int r = -1;

    arena_init(&arena, LIMIT_ARENA);
    while (frame_recv(s->sock[line], &f) == FRAME_GOT) {
        if (iface_decode(&iface_signer, FROM_SERVER, ROLE_SIGNERD, LINE_HELLO | LINE_READY, f.data, f.len,
                         f.nfds, &arena, &m) < 0)
            break;
        if (m.row->id == MSG_HELLO)
            continue;
        *ret_seq = m.seq;
        if (m.row->id == MSG_SIGNER_CLAIMS_REP) {
            keep_results(m.rec);
            *ret_value = last_results.r[0].sequence;
        }
        r = (int)m.row->id;
        break;
    }
    arena_done(&arena);
    return r;
}

static void test_broken_frames_cut_the_line(void **state)
{
    struct suite s;

    (void)state;
    for (unsigned how = 0; how < 9; how++) {
        struct signer_secrets_req secrets = {.run_id = STR_LIT("x"), .key = STR_LIT("")};
        struct hello bad = {STR_LIT("signer"), iface_signer.version + 1, ROLE_NETD};
        struct signer_cell_open_req open_req = {.run_id = STR_LIT("x"), .cell_id = STR_LIT("y")};
        struct signer_claim req = {
            .counter = 0, .run_id = STR_LIT("x"), .type = EVENT_GAP, .body = STR_LIT("")};
        struct empty empty;

        suite_init(&s, false);
        switch (how) {
        case 0: /* before any hello */
            send_claim(&s, 1, 1, &req);
            break;
        case 1: /* another version */
            send_rec(&s, 1, MSG_HELLO, 0, &bad);
            break;
        case 2: /* somebody else's role: netd's line says it is proxyd */
            hello(&s, 1, ROLE_PROXYD);
            break;
        case 3: /* twice */
            hello(&s, 1, ROLE_NETD);
            hello(&s, 1, ROLE_NETD);
            break;
        case 4: /* only the supervisor opens cells */
            hello(&s, 1, ROLE_NETD);
            send_rec(&s, 1, MSG_SIGNER_CELL_OPEN_REQ, 1, &open_req);
            break;
        case 8: /* nor may others say what a secret is */
            hello(&s, 1, ROLE_NETD);
            send_rec(&s, 1, MSG_SIGNER_SECRETS_REQ, 1, &secrets);
            break;
        case 5: /* nor is the head for others */
            hello(&s, 1, ROLE_NETD);
            send_rec(&s, 1, MSG_SIGNER_HEAD_REQ, 1, &empty);
            break;
        case 6: /* counters begin with 1 */
            hello(&s, 1, ROLE_NETD);
            send_claim(&s, 1, 1, &req);
            break;
        default: /* an fd where none is allowed */
            hello(&s, 1, ROLE_NETD);
            assert_int_equal(frame_send(s.sock[1], "\xc0", 1, &s.r.log_dir, 1), 0);
        }
        if (!is_cut(&s, 1))
            fail_msg("case %u was not cut", how);
        assert_false(is_cut(&s, 0)); /* the others live on */
        suite_done(&s);
    }
}

/* A good claim cut short: the line is cut, nothing of it is in the log. */
static void test_truncated_claims(void **state)
{
    _cleanup_(buf_done) struct buf body = {.data = NULL}, frame = {.data = NULL};
    char run[UUID_TEXT_LEN + 1];
    struct suite s;

    (void)state;
    buf_init(&body, LIMIT_CLAIM_BODY);
    buf_init(&frame, LIMIT_FRAME);
    uuid_v7(run);
    assert_int_equal(codec_encode(&schema_ev_gap, &gap, &body), 0);
    struct signer_claim claim = {1, str_of(run), EVENT_GAP, buf_str(&body)};
    struct signer_claims_req req = {.claims = {&claim, 1}};
    assert_int_equal(iface_encode(iface_row(&iface_signer, MSG_SIGNER_CLAIMS_REQ), 1, &req, &frame), 0);
    for (size_t n = 1; n < frame.len; n += 3) {
        suite_init(&s, false);
        hello(&s, 2, ROLE_PROXYD);
        assert_int_equal(frame_send(s.sock[2], frame.data, n, NULL, 0), 0);
        assert_true(is_cut(&s, 2));
        suite_done(&s);
    }
}

static void test_repeats_get_the_first_answer(void **state)
{
    _cleanup_(buf_done) struct buf body = {.data = NULL};
    char run[UUID_TEXT_LEN + 1];
    uint64_t seq = 0, first = 99, second = 99;
    struct suite s;

    (void)state;
    buf_init(&body, LIMIT_CLAIM_BODY);
    suite_init(&s, false);
    uuid_v7(run);
    hello(&s, 0, ROLE_SUPERVISOR);
    struct signer_cell_open_req o = {.run_id = str_of(run), .cell_id = STR_LIT("a")};
    send_rec(&s, 0, MSG_SIGNER_CELL_OPEN_REQ, 1, &o);
    assert_int_equal(codec_encode(&schema_ev_gap, &gap, &body), 0);
    struct signer_claim req = {7, str_of(run), EVENT_GAP, buf_str(&body)};
    send_claim(&s, 0, 2, &req);
    uint64_t size = 0;
    while (size == 0) {
        ev_run(s.r.loop, EVRUN_ONCE);
        (void)elog_head(s.d.log, &size);
    }
    settle(&s);
    send_claim(&s, 0, 3, &req); /* the same counter */
    settle(&s);
    assert_int_equal(next_id(&s, 0, &seq, &first), MSG_SIGNER_CELL_OPEN_REP);
    assert_int_equal(next_id(&s, 0, &seq, &first), MSG_SIGNER_CLAIMS_REP);
    assert_int_equal(seq, 2);
    assert_int_equal(next_id(&s, 0, &seq, &second), MSG_SIGNER_CLAIMS_REP);
    assert_int_equal(seq, 3);
    assert_int_equal(first, 0);
    assert_int_equal(second, 0);
    (void)elog_head(s.d.log, &size);
    assert_int_equal(size, 1); /* one line */
    req.counter = 3;           /* never seen, but below the greatest: nobody knows what it was */
    send_claim(&s, 0, 4, &req);
    settle(&s);
    assert_int_equal(next_id(&s, 0, &seq, &second), MSG_SIGNER_CLAIMS_REP);
    assert_int_equal(last_results.r[0].fail, FAIL_STATE);
    suite_done(&s);
}

/* Claims in one frame: each judged for itself, one answer when the last has its own; a repeat of one of them
 * is answered apart and leaves no hole. */
static void test_groups(void **state)
{
    _cleanup_(buf_done) struct buf body = {.data = NULL};
    char run[UUID_TEXT_LEN + 1], other[UUID_TEXT_LEN + 1];
    uint64_t seq = 0, value = 99, size = 0, first;
    struct suite s;

    (void)state;
    buf_init(&body, LIMIT_CLAIM_BODY);
    suite_init(&s, false);
    uuid_v7(run);
    uuid_v7(other);
    hello(&s, 0, ROLE_SUPERVISOR);
    struct signer_cell_open_req o = {.run_id = str_of(run), .cell_id = STR_LIT("a")};
    send_rec(&s, 0, MSG_SIGNER_CELL_OPEN_REQ, 1, &o);
    assert_int_equal(codec_encode(&schema_ev_gap, &gap, &body), 0);
    struct signer_claim claims[] = {
        {1, str_of(run), EVENT_GAP, buf_str(&body)},
        {2, str_of(other), EVENT_GAP, buf_str(&body)},     /* no such cell */
        {3, str_of(run), EVENT_DNS_QUERY, buf_str(&body)}, /* not the supervisor's */
        {4, str_of(run), EVENT_GAP, buf_str(&body)},
        {4, str_of(run), EVENT_GAP, buf_str(&body)}, /* twice in one frame */
    };
    struct signer_claims_req req = {.claims = {claims, ARRAY_LEN(claims)}};
    send_rec(&s, 0, MSG_SIGNER_CLAIMS_REQ, 2, &req);
    while (size < 4) { /* two gaps and two refusals */
        ev_run(s.r.loop, EVRUN_ONCE);
        (void)elog_head(s.d.log, &size);
    }
    settle(&s);
    assert_int_equal(next_id(&s, 0, &seq, &value), MSG_SIGNER_CELL_OPEN_REP);
    assert_int_equal(next_id(&s, 0, &seq, &value), MSG_SIGNER_CLAIMS_REP);
    assert_int_equal(seq, 2);
    assert_int_equal(last_results.n, 5);
    assert_int_equal(last_results.r[0].fail, 0);
    assert_int_equal(last_results.r[1].fail, FAIL_STATE);
    assert_int_equal(last_results.r[2].fail, FAIL_AUTHORITY);
    assert_int_equal(last_results.r[3].fail, FAIL_STATE); /* its answer went to who asked last */
    assert_int_equal(last_results.r[4].fail, 0);
    assert_true(last_results.r[4].sequence > last_results.r[0].sequence);
    first = last_results.r[0].sequence;
    send_claim(&s, 0, 3, &claims[0]);
    settle(&s);
    assert_int_equal(next_id(&s, 0, &seq, &value), MSG_SIGNER_CLAIMS_REP);
    assert_int_equal(last_results.r[0].fail, 0);
    assert_int_equal(value, first);
    claims[1].counter = 0;
    send_rec(&s, 0, MSG_SIGNER_CLAIMS_REQ, 4, &req);
    assert_true(is_cut(&s, 0));
    suite_done(&s);
}

/* The line goes while a group is under way: nothing is answered, nothing is left behind (valgrind, ASan). */
static void test_group_of_a_line_that_died(void **state)
{
    _cleanup_(buf_done) struct buf body = {.data = NULL};
    char run[UUID_TEXT_LEN + 1];
    uint64_t size = 0;
    struct suite s;

    (void)state;
    buf_init(&body, LIMIT_CLAIM_BODY);
    suite_init(&s, false);
    uuid_v7(run);
    hello(&s, 0, ROLE_SUPERVISOR);
    struct signer_cell_open_req o = {.run_id = str_of(run), .cell_id = STR_LIT("a")};
    send_rec(&s, 0, MSG_SIGNER_CELL_OPEN_REQ, 1, &o);
    settle(&s);
    assert_int_equal(codec_encode(&schema_ev_gap, &gap, &body), 0);
    struct signer_claim claims[] = {{1, str_of(run), EVENT_GAP, buf_str(&body)},
                                    {2, str_of(run), EVENT_GAP, buf_str(&body)}};
    struct signer_claims_req req = {.claims = {claims, ARRAY_LEN(claims)}};
    send_rec(&s, 0, MSG_SIGNER_CLAIMS_REQ, 2, &req);
    cleanup_closep(&s.sock[0]);
    s.sock[0] = -EBADF;
    while (s.d.line[0].e || !elog_is_idle(s.d.log))
        ev_run(s.r.loop, EVRUN_ONCE);
    (void)elog_head(s.d.log, &size);
    assert_int_equal(size, 2); /* what it had said counts */
    assert_true(LIST_EMPTY(&s.d.line[0].groups));
    suite_done(&s);
}

static void test_credits(void **state)
{
    _cleanup_(buf_done) struct buf body = {.data = NULL};
    char run[UUID_TEXT_LEN + 1];
    struct suite s;

    (void)state;
    buf_init(&body, LIMIT_CLAIM_BODY);
    suite_init(&s, true);
    uuid_v7(run);
    assert_int_equal(open_cell(&s, run, "a"), 0);
    struct cell *cell = cells_find(s.r.cells, str_of(run));
    cell->credits[ROLE_PROXYD] = LIMIT_CLAIM_CREDITS;
    assert_int_equal(claim(&s, 2, run, EVENT_GAP, &gap, NULL), -EDQUOT);
    assert_int_equal(claim(&s, 1, run, EVENT_GAP, &gap, NULL), 0); /* another line has its own */
    cell->credits[ROLE_PROXYD] = 0;
    assert_int_equal(claim(&s, 2, run, EVENT_GAP, &gap, NULL), 0);
    assert_int_equal(cell->credits[ROLE_PROXYD], 0);
    suite_done(&s);
}

/* What one line has waiting for the disk takes no room from the others: the end of a cell gets in whatever
 * proxyd says. */
static void test_one_line_does_not_fill_what_waits(void **state)
{
    char run[UUID_TEXT_LEN + 1];
    struct suite s;

    (void)state;
    suite_init(&s, true);
    uuid_v7(run);
    assert_int_equal(open_cell(&s, run, "a"), 0);
    s.d.line[2].pending = LIMIT_PENDING_LINE_BYTES;
    assert_int_equal(claim(&s, 2, run, EVENT_GAP, &gap, NULL), -EDQUOT);
    assert_int_equal(claim(&s, 1, run, EVENT_GAP, &gap, NULL), 0);
    s.d.line[2].pending = 0;
    assert_int_equal(claim(&s, 2, run, EVENT_GAP, &gap, NULL), 0);
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), 0);
    for (size_t i = 0; i < DISPATCH_LINES; i++)
        assert_int_equal(s.d.line[i].pending, 0);
    suite_done(&s);
}

/* ---- quotas ---- */

static void start_cell(struct suite *s, const char *run)
{
    struct ev_isolation iso = {.cgroup = STR_LIT("none"),
                               .seccomp = STR_LIT("core"),
                               .landlock = STR_LIT("none"),
                               .uid_map = STR_LIT("1 -> 1")};
    struct ev_started ev = {.ttl_seconds = 1,
                            .backend = BACKEND_PROCESS,
                            .spec_digest = STR_LIT("x"),
                            .evidence = EVIDENCE_STRICT,
                            .isolation = &iso};

    assert_int_equal(open_cell(s, run, "a"), 0);
    assert_int_equal(claim(s, 0, run, EVENT_STARTED, &ev, NULL), 0);
}

static struct ev_dns_query query = {
    .query_name = {"a.test", 6}, .action = ACTION_DENY, .reason_code = DNS_ALLOWLIST_MISS};

/* What is refused is refused as a quota, counted exactly, and costs nobody else anything: not the other
 * roles, not another cell; and the end of the cell is in the log. */
static void test_quotas(void **state)
{
    static const struct quota_options small = {.rate = 1, .events = 3};
    _cleanup_(buf_done) struct buf lines = {.data = NULL};
    char run[UUID_TEXT_LEN + 1], other[UUID_TEXT_LEN + 1];
    struct suite s;

    (void)state;
    buf_init(&lines, 1u << 20);
    suite_init(&s, true);
    dispatch_configure(&s.d, &small, NULL);
    uuid_v7(run);
    start_cell(&s, run);
    uuid_v7(other);
    start_cell(&s, other);
    unsigned ok = 0, refused = 0;
    for (unsigned i = 0; i < 50; i++) {
        int r = claim(&s, 2, run, EVENT_DNS_QUERY, &query, NULL);
        assert_true(r == 0 || r == -EDQUOT);
        ok += r == 0;
        refused += r == -EDQUOT;
    }
    assert_in_range(ok, LIMIT_QUOTA_BURST_S, 3);
    assert_int_equal(claim(&s, 2, other, EVENT_DNS_QUERY, &query, NULL), 0);
    assert_int_equal(claim(&s, 1, run, EVENT_GAP, &gap, NULL), 0);
    assert_int_equal(claim(&s, 2, run, EVENT_GAP, &gap, NULL), 0); /* what is missing may still be said */
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), 0);
    assert_int_equal(claim(&s, 0, other, EVENT_DESTROYED, &destroyed, NULL), 0);
    for (size_t i = 0; i < DISPATCH_LINES; i++)
        s.client[i] = signer_client_free(s.client[i]);
    while (s.d.open > 0 || !elog_is_idle(s.d.log))
        ev_run(s.r.loop, EVRUN_ONCE);
    rig_read(&s.r, RIG_FIRST, &lines);
    unsigned counted = 0;
    for (const char *at = buf_cstr(&lines); (at = strstr(at, "\"reason\":\"quota: more events")); at++)
        counted += (unsigned)strtoul(strstr(at, "\"count\":") + 8, NULL, 10);
    assert_int_equal(counted, refused);
    suite_done(&s);
}

/* ---- redaction ---- */

static void test_started_says_what_is_redacted(void **state)
{
    static struct redact redact;
    _cleanup_(buf_done) struct buf lines = {.data = NULL};
    char run[UUID_TEXT_LEN + 1], why[REDACT_WHY_MAX];
    struct suite s;

    (void)state;
    buf_init(&lines, 1u << 20);
    assert_int_equal(redact_parse(&redact, STR_LIT("reason,queryName"), why), REDACT_OK);
    suite_init(&s, true);
    dispatch_configure(&s.d, NULL, &redact);
    uuid_v7(run);
    start_cell(&s, run);
    assert_int_equal(claim(&s, 2, run, EVENT_DNS_QUERY, &query, NULL), 0);
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), 0);
    rig_read(&s.r, RIG_FIRST, &lines);
    assert_non_null(strstr(buf_cstr(&lines), "\"redacted\":[\"reason\",\"queryName\"]"));
    assert_non_null(strstr(buf_cstr(&lines), "\"queryName\":\"[redacted]\""));
    assert_non_null(strstr(buf_cstr(&lines), "\"reason\":\"[redacted]\""));
    assert_null(strstr(buf_cstr(&lines), "a.test"));
    suite_done(&s);
}

/* ---- values of secrets ---- */

#define SECRET "correct-horse-battery"

static struct secret_marks *secret_of(const uint8_t *key)
{
    struct secret_marks *m = NULL;

    assert_int_equal(secret_marks_new(key, 1, LIMIT_SECRET_FORMS, &m), 0);
    assert_int_equal(secret_marks_add_value(m, STR_LIT("token"), STR_LIT(SECRET)), 0);
    return m;
}

/* The request with all that it points to; broken one way. */
enum wrong { GOOD, SHORT_KEY, SHORT_DIGEST, NO_NAMES, EMPTY_NAME, BAD_INDEX, ZERO_LENGTH, _WRONG_MAX };

static uint32_t send_secrets(struct suite *s, const char *run, enum wrong wrong)
{
    static const uint8_t key[SECRET_KEY_LEN] = {7};
    struct secret_marks *m = secret_of(key);
    struct signer_secret_mark marks[LIMIT_SECRET_FORMS];
    struct str names[] = {wrong == EMPTY_NAME ? STR_LIT("") : STR_LIT("token")};
    size_t n = secret_marks_count(m);
    struct opened o = {false, 0};

    for (size_t i = 0; i < n; i++) {
        const struct secret_mark *from = secret_marks_at(m, i);

        marks[i] = (struct signer_secret_mark){wrong == BAD_INDEX ? 1 : from->secret,
                                               wrong == ZERO_LENGTH ? 0 : from->length,
                                               from->filter,
                                               {(const char *)from->digest, wrong == SHORT_DIGEST ? 31 : 32}};
    }
    struct signer_secrets_req req = {str_of(run),
                                     {(const char *)key, wrong == SHORT_KEY ? 31 : 32},
                                     {names, wrong == NO_NAMES ? 0 : 1},
                                     {marks, n}};
    assert_int_equal(endpoint_call(signer_client_endpoint(s->client[0]), MSG_SIGNER_SECRETS_REQ, &req, NULL,
                                   0, 0, on_opened, &o),
                     0);
    while (!o.done)
        ev_run(s->r.loop, EVRUN_ONCE);
    secret_marks_free(m);
    return o.fail;
}

/* On every line, in every encoding that is looked for; only for that cell; the log has the path, and neither
 * value nor any form of it. */
static void test_secret_values(void **state)
{
    static const char inside[] = "x." SECRET ".test";
    static const char *const texts[] = {SECRET, inside, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5",
                                        "636f72726563742d686f7273652d62617474657279",
                                        "CORRECT-HORSE-BATTERY"};
    _cleanup_(buf_done) struct buf lines = {.data = NULL};
    char run[UUID_TEXT_LEN + 1], other[UUID_TEXT_LEN + 1];
    struct ev_dns_query q = query;
    struct ev_gap g = gap;
    struct suite s;

    (void)state;
    buf_init(&lines, 1u << 20);
    suite_init(&s, true);
    uuid_v7(run);
    assert_int_equal(send_secrets(&s, run, GOOD), FAIL_UNKNOWN); /* before it is open */
    start_cell(&s, run);
    for (enum wrong w = SHORT_KEY; w < _WRONG_MAX; w++)
        assert_int_equal(send_secrets(&s, run, w), FAIL_INVALID);
    assert_null(cells_find(s.r.cells, str_of(run))->secrets);
    assert_int_equal(send_secrets(&s, run, GOOD), 0);
    assert_int_equal(send_secrets(&s, run, GOOD), FAIL_EXISTS); /* once: they cannot be taken away */
    uuid_v7(other);
    start_cell(&s, other);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        q.query_name = str_of(texts[i]);
        assert_int_equal(claim(&s, 2, run, EVENT_DNS_QUERY, &q, NULL), -EKEYREJECTED);
    }
    g.cause = STR_LIT(SECRET);
    assert_int_equal(claim(&s, 1, run, EVENT_GAP, &g, NULL), -EKEYREJECTED);
    assert_int_equal(claim(&s, 0, run, EVENT_GAP, &g, NULL), -EKEYREJECTED);
    q.query_name = STR_LIT("correct-horse-batter"); /* a part is none */
    assert_int_equal(claim(&s, 2, run, EVENT_DNS_QUERY, &q, NULL), 0);
    q.query_name = STR_LIT("fine.test");
    assert_int_equal(claim(&s, 2, other, EVENT_DNS_QUERY, &q, NULL), 0);
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), 0);
    assert_int_equal(send_secrets(&s, run, GOOD), FAIL_UNKNOWN); /* after it was closed */
    assert_int_equal(claim(&s, 0, other, EVENT_DESTROYED, &destroyed, NULL), 0);
    for (size_t i = 0; i < DISPATCH_LINES; i++)
        s.client[i] = signer_client_free(s.client[i]);
    while (s.d.open > 0 || !elog_is_idle(s.d.log))
        ev_run(s.r.loop, EVRUN_ONCE);
    rig_read(&s.r, RIG_FIRST, &lines);
    assert_non_null(strstr(buf_cstr(&lines), "data.queryName contains the value of the secret token"));
    assert_non_null(strstr(buf_cstr(&lines), "data.cause contains the value of the secret token"));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_null(strcasestr(buf_cstr(&lines), texts[i]));
    suite_done(&s);
}

/* ---- the disk ---- */

/* A disk that is full, has room again and is full again: the supervisor hears of both, on a line that lives
 * on. */
static void test_a_disk_that_is_full_twice(void **state)
{
    char run[UUID_TEXT_LEN + 1];
    struct suite s;

    (void)state;
    suite_init(&s, true);
    uuid_v7(run);
    assert_int_equal(open_cell(&s, run, "a"), 0);
    for (unsigned i = 1; i <= 2; i++) {
        dispatch_on_log_failed(&s.d, -ENOSPC);
        while (s.gone < i)
            ev_run(s.r.loop, EVRUN_ONCE);
        assert_int_equal(s.gone_err, -ENOSPC);
    }
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), 0);
    suite_done(&s);
}

/* The disk is full just when the event about a refusal is to be written: the refusal is counted again and
 * said once there is room. */
static void test_a_refusal_outlives_a_full_disk(void **state)
{
    static const struct fault_plan full = {.calls = FAULT_WRITE | FAULT_ALLOCATE, .from = 1, .err = ENOSPC};
    _cleanup_(buf_done) struct buf lines = {.data = NULL};
    char run[UUID_TEXT_LEN + 1];
    struct journal journal;
    struct suite s;

    (void)state;
    buf_init(&lines, 1u << 20);
    suite_init(&s, true);
    uuid_v7(run);
    assert_int_equal(open_cell(&s, run, "a"), 0);
    faults_record(&journal, s.r.log_dir);
    faults_plan(full);
    assert_int_equal(claim(&s, 2, run, EVENT_DESTROYED, &destroyed, NULL), -EPERM);
    while (s.gone == 0) /* the batch with it was refused */
        ev_run(s.r.loop, EVRUN_ONCE);
    assert_int_equal(s.gone_err, -ENOSPC);
    faults_plan((struct fault_plan){.calls = 0});
    uint64_t size = 0;
    while (size == 0) { /* a second or two: when the disk is tried again */
        ev_run(s.r.loop, EVRUN_ONCE);
        (void)elog_head(s.d.log, &size);
    }
    faults_stop();
    journal_done(&journal);
    assert_int_equal(claim(&s, 0, run, EVENT_DESTROYED, &destroyed, NULL), 0);
    rig_read(&s.r, RIG_FIRST, &lines);
    assert_non_null(strstr(buf_cstr(&lines), "log.v1.claim_refused"));
    assert_non_null(strstr(buf_cstr(&lines), "\"count\":1}"));
    suite_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims_of_all_roles),
        cmocka_unit_test(test_role_cell_and_state),
        cmocka_unit_test(test_a_flood_of_refusals_is_one_line),
        cmocka_unit_test(test_run_ids_are_used_once),
        cmocka_unit_test(test_run_ids_of_the_future),
        cmocka_unit_test(test_runs_of_before_a_restart),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_everything_accepted_is_written_at_the_end),
        cmocka_unit_test(test_broken_frames_cut_the_line),
        cmocka_unit_test(test_truncated_claims),
        cmocka_unit_test(test_repeats_get_the_first_answer),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_group_of_a_line_that_died),
        cmocka_unit_test(test_credits),
        cmocka_unit_test(test_one_line_does_not_fill_what_waits),
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_started_says_what_is_redacted),
        cmocka_unit_test(test_secret_values),
        cmocka_unit_test(test_a_disk_that_is_full_twice),
        cmocka_unit_test(test_a_refusal_outlives_a_full_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
