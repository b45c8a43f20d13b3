/* SPDX-License-Identifier: MIT */
/* The claims of an emitter against a signerd by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "proto/signer_client.h"
#include "tests/unit/child.h"
#include "tests/unit/proto_wire.h"

#define RUN_ID "0190b3c4-0000-7000-8000-000000000001"

struct fixture;

struct ack {
    struct fixture *x;
    int n, err;
    uint64_t sequence;
    bool free_client, claim_again;
};

struct fixture {
    struct ev_loop *loop;
    struct signer_client *s;
    struct wire w;
    int fds_before;
    int gone, gone_err;
    bool free_in_gone, calling;
    struct ack ack, other;
    /* the last frame, whose claims are looked at and answered one by one */
    uint64_t group_seq, counters[LIMIT_CLAIMS_FRAME];
    struct signer_result results[LIMIT_CLAIMS_FRAME];
    size_t ngroup, seen, answered;
};

static const struct ev_gap gap = {1, STR_LIT("2026-01-01T00:00:00Z"), STR_LIT("2026-01-01T00:00:01Z"),
                                  STR_LIT("test")};

static void on_gone(void *self, int err)
{
    struct fixture *x = self;
    x->gone++;
    x->gone_err = err;
    if (x->free_in_gone)
        x->s = signer_client_free(x->s);
}

static void on_ack(void *data, int err, uint64_t sequence)
{
    struct ack *a = data;
    assert_false(a->x->calling); /* never from inside */
    a->n++;
    a->err = err;
    a->sequence = sequence;
    if (a->claim_again) {
        a->claim_again = false;
        assert_true(signer_claim(a->x->s, RUN_ID, EVENT_GAP, &gap, true, on_ack, a) <= 0);
    }
    if (a->free_client)
        a->x->s = signer_client_free(a->x->s);
}

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof(*x));
    int s[2];
    if (!x)
        return -1;
    log_init("test", LOG_CRIT);
    x->fds_before = child_open_fds();
    x->ack.x = x->other.x = x;
    x->loop = ev_loop_new(EVFLAG_NOENV);
    if (!x->loop || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
        return -1;
    wire_init(&x->w, s[1], &iface_signer, FROM_SERVER, ROLE_SIGNERD);
    *state = x;
    return signer_client_new(x->loop, s[0], ROLE_SUPERVISOR, on_gone, x, &x->s);
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    signer_client_free(x->s);
    wire_close(&x->w);
    ev_loop_destroy(x->loop);
    int leaked = child_open_fds() - x->fds_before;
    if (leaked != 0)
        fprintf(stderr, "%d fds leaked\n", leaked);
    free(x);
    return leaked == 0 ? 0 : -1;
}

static void turn(struct fixture *x)
{
    for (int i = 0; i < 8; i++)
        ev_run(x->loop, EVRUN_NOWAIT);
}

static void on_wait_end(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)t;
    (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

static void wait_ms(struct fixture *x, unsigned ms)
{
    ev_timer t;
    ev_timer_init(&t, on_wait_end, ms / 1000.0, 0);
    ev_now_update(x->loop);
    ev_timer_start(x->loop, &t);
    ev_run(x->loop, 0);
}

static void start(struct fixture *x)
{
    struct msg m;
    assert_int_equal(wire_hello(&x->w), 0);
    turn(x);
    assert_int_equal(wire_recv(&x->w, ROLE_SUPERVISOR, LINE_HELLO, &m), 0);
    assert_true(endpoint_is_ready(signer_client_endpoint(x->s)));
}

static int claim(struct fixture *x, struct ack *a)
{
    x->calling = true;
    int r = signer_claim(x->s, RUN_ID, EVENT_GAP, &gap, true, a ? on_ack : NULL, a);
    x->calling = false;
    return r;
}

static void check_claim(struct fixture *x, const struct signer_claim *req)
{
    struct ev_gap got;
    assert_true(str_is(req->run_id, RUN_ID));
    assert_int_equal(req->type, EVENT_GAP);
    assert_int_equal(codec_decode_all(event_row(EVENT_GAP)->data, req->body, &x->w.arena, &got), 0);
    assert_true(str_is(got.cause, "test"));
}

static void take_group(struct fixture *x, const struct msg *m)
{
    const struct signer_claims_req *req = m->rec;
    const struct signer_claim *claim = req->claims.v;
    assert_int_equal(m->row->id, MSG_SIGNER_CLAIMS_REQ);
    assert_in_range(req->claims.n, 1, LIMIT_CLAIMS_FRAME);
    x->group_seq = m->seq;
    x->ngroup = req->claims.n;
    x->seen = x->answered = 0;
    for (size_t i = 0; i < x->ngroup; i++) {
        check_claim(x, &claim[i]);
        x->counters[i] = claim[i].counter;
    }
}

/* The claim that signerd sees next: its seq, and its counter in *counter. */
static uint64_t expect_claim(struct fixture *x, uint64_t *counter)
{
    struct msg m;
    if (x->seen == x->ngroup) {
        turn(x);
        assert_int_equal(wire_recv(&x->w, ROLE_SUPERVISOR, LINE_READY, &m), 0);
        take_group(x, &m);
    }
    *counter = x->counters[x->seen++];
    return x->group_seq;
}

static void acknowledge(struct fixture *x, uint64_t seq, uint64_t sequence)
{
    struct signer_result one = {.sequence = sequence};
    struct signer_claims_rep rep = {.results = {&one, 1}}; /* an earlier frame had one */
    if (seq == x->group_seq) {
        x->results[x->answered++] = one;
        if (x->answered < x->ngroup)
            return;
        rep = (struct signer_claims_rep){.results = {x->results, x->ngroup}};
    }
    assert_int_equal(wire_send(&x->w, MSG_SIGNER_CLAIMS_REP, seq, &rep), 0);
    turn(x);
}

static void test_ack(void **state)
{
    struct fixture *x = *state;
    uint64_t counter, last = 0;
    start(x);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(claim(x, &x->ack), 0);
        assert_int_equal(signer_client_open(x->s), 1);
        uint64_t seq = expect_claim(x, &counter);
        assert_true(counter > last);
        last = counter;
        assert_int_equal(x->ack.n, i);
        acknowledge(x, seq, 100 + i);
        assert_int_equal(x->ack.n, i + 1);
        assert_int_equal(x->ack.err, 0);
        assert_true(x->ack.sequence == 100 + i);
        assert_int_equal(signer_client_open(x->s), 0);
    }
}

static void test_nobody_waits(void **state)
{
    struct fixture *x = *state;
    uint64_t counter;
    start(x);
    assert_int_equal(claim(x, NULL), 0);
    acknowledge(x, expect_claim(x, &counter), 1);
    assert_int_equal(signer_client_open(x->s), 0);
    assert_int_equal(x->gone, 0);
}

static void test_refusals(void **state)
{
    static const struct {
        uint32_t fail;
        int err;
    } rows[] = {
        {FAIL_INTERNAL, -EIO},        {FAIL_INVALID, -EPROTO},  {FAIL_STATE, -EPROTO},
        {FAIL_UNKNOWN, -EPROTO},      {FAIL_EXISTS, -EPROTO},   {FAIL_QUOTA, -EDQUOT},
        {FAIL_AUTHORITY, -EPERM},     {FAIL_BAD_FD, -EPROTO},   {FAIL_TIMEOUT, -ETIMEDOUT},
        {FAIL_UNSUPPORTED, -EPROTO},  {FAIL_NO_SPACE, -ENOSPC}, {FAIL_UNAVAILABLE, -EPIPE},
        {FAIL_SECRET, -EKEYREJECTED},
    };
    struct fixture *x = *state;
    start(x);
    assert_int_equal(ARRAY_LEN(rows), enum_fail.n); /* a new word needs its errno */
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        struct signer_result result = {.fail = rows[i / 2].fail};
        struct signer_claims_rep rep = {.results = {&result, 1}};
        uint64_t counter, seq;
        assert_int_equal(claim(x, &x->ack), 0);
        seq = expect_claim(x, &counter);
        if (i % 2) /* the whole frame */
            assert_int_equal(wire_error(&x->w, seq, rows[i / 2].fail, "no"), 0);
        else
            assert_int_equal(wire_send(&x->w, MSG_SIGNER_CLAIMS_REP, seq, &rep), 0);
        turn(x);
        assert_int_equal(x->ack.n, i + 1);
        assert_int_equal(x->ack.err, rows[i / 2].err);
        assert_true(x->ack.sequence == 0);
    }
    assert_int_equal(x->gone, 0);
}

static void test_bad_claims(void **state)
{
    struct fixture *x = *state;
    struct ev_gap bad = gap;
    struct ev_gap late = gap;
    char cause[65];
    start(x);
    memset(cause, 'x', sizeof(cause));
    bad.cause = (struct str){cause, 65};
    assert_int_equal(signer_claim(x->s, RUN_ID, EVENT_GAP, &bad, true, on_ack, &x->ack), -EINVAL);
    assert_int_equal(signer_claim(x->s, RUN_ID, 0, &gap, true, on_ack, &x->ack), -EINVAL);
    assert_int_equal(signer_claim(x->s, RUN_ID, _EVENT_TYPE_MAX, &gap, true, on_ack, &x->ack), -EINVAL);
    assert_int_equal(signer_claim(x->s, RUN_ID "0", EVENT_GAP, &late, true, on_ack, &x->ack), -EINVAL);
    assert_int_equal(signer_client_open(x->s), 0);
    turn(x);
    assert_int_equal(x->ack.n, 0);
}

/* A body over LIMIT_CLAIM_BODY is not sent at all. */
static void test_body_too_big(void **state)
{
    struct fixture *x = *state;
    static struct str names[LIMIT_DNS_NAMES];
    static char name[LIMIT_HOSTNAME];
    start(x);
    memset(name, 'n', sizeof(name));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        names[i] = (struct str){name, sizeof(name)};
    struct ev_network_scope scope = {.mode = NET_MODE_INTERCEPT,
                                     .hostname_allowlist = {names, ARRAY_LEN(names)}};
    assert_int_equal(signer_claim(x->s, RUN_ID, EVENT_NETWORK_SCOPE, &scope, true, on_ack, &x->ack),
                     -ENOBUFS);
    assert_int_equal(signer_client_open(x->s), 0);
}

static void test_deadline(void **state)
{
    struct fixture *x = *state;
    uint64_t counter;
    start(x);
    assert_int_equal(claim(x, &x->ack), 0);
    assert_int_equal(signer_claim(x->s, RUN_ID, EVENT_GAP, &gap, false, on_ack, &x->other),
                     0); /* no deadline */
    uint64_t first = expect_claim(x, &counter), second = expect_claim(x, &counter);
    wait_ms(x, LIMIT_ACK_MS - 500);
    assert_int_equal(x->ack.n, 0);
    wait_ms(x, 700);
    assert_int_equal(x->ack.n, 1);
    assert_int_equal(x->ack.err, -ETIMEDOUT);
    assert_int_equal(signer_client_open(x->s), 1);
    acknowledge(x, first, 1); /* late: dropped */
    assert_int_equal(x->ack.n, 1);
    acknowledge(x, second, 2);
    assert_int_equal(x->other.n, 1);
    assert_int_equal(x->other.err, 0);
    assert_int_equal(x->gone, 0);
}

static void test_forget(void **state)
{
    struct fixture *x = *state;
    uint64_t counter;
    start(x);
    assert_int_equal(claim(x, &x->ack), 0);
    assert_int_equal(claim(x, &x->other), 0);
    assert_int_equal(claim(x, &x->ack), 0);
    signer_forget(x->s, &x->ack);
    assert_int_equal(signer_client_open(x->s), 3); /* signerd still owes the answers */
    for (uint64_t i = 0; i < 3; i++)
        acknowledge(x, expect_claim(x, &counter), i);
    assert_int_equal(x->ack.n, 0);
    assert_int_equal(x->other.n, 1);
    assert_int_equal(signer_client_open(x->s), 0);
}

/* What a turn makes goes out as one frame behind its first claim; each claim has its own answer. */
static void test_group(void **state)
{
    struct fixture *x = *state;
    uint64_t counter, seq;
    start(x);
    for (int i = 0; i < 4; i++)
        assert_int_equal(claim(x, i == 2 ? &x->other : &x->ack), 0);
    acknowledge(x, expect_claim(x, &counter), 7);
    assert_int_equal(x->ack.n, 1);
    seq = expect_claim(x, &counter);
    assert_int_equal(x->ngroup, 3);
    assert_int_equal(x->counters[0], 2);
    assert_int_equal(x->counters[2], 4);
    struct signer_result r[] = {{.sequence = 8}, {.fail = FAIL_QUOTA}, {.sequence = 9}};
    struct signer_claims_rep rep = {.results = {r, 3}};
    assert_int_equal(wire_send(&x->w, MSG_SIGNER_CLAIMS_REP, seq, &rep), 0);
    turn(x);
    assert_int_equal(x->ack.n, 3);
    assert_int_equal(x->ack.sequence, 9);
    assert_int_equal(x->other.n, 1);
    assert_int_equal(x->other.err, -EDQUOT);
    assert_int_equal(signer_client_open(x->s), 0);
}

/* An answer with another number of results is none: nothing counts as durable. */
static void test_group_answer_too_short(void **state)
{
    struct fixture *x = *state;
    uint64_t counter;
    start(x);
    for (int i = 0; i < 3; i++)
        assert_int_equal(claim(x, i ? &x->other : &x->ack), 0);
    acknowledge(x, expect_claim(x, &counter), 7);
    struct signer_result r[] = {{.sequence = 8}};
    struct signer_claims_rep rep = {.results = {r, 1}};
    assert_int_equal(wire_send(&x->w, MSG_SIGNER_CLAIMS_REP, expect_claim(x, &counter), &rep), 0);
    turn(x);
    assert_int_equal(x->other.n, 2);
    assert_int_equal(x->other.err, -EPROTO);
}

static void test_group_freed_in_ack(void **state)
{
    struct fixture *x = *state;
    uint64_t counter;
    start(x);
    for (int i = 0; i < 5; i++)
        assert_int_equal(claim(x, &x->ack), 0);
    acknowledge(x, expect_claim(x, &counter), 1);
    x->ack.free_client = true;
    for (uint64_t i = 0; i < 4; i++)
        acknowledge(x, expect_claim(x, &counter), i);
    assert_int_equal(x->ack.n, 2);
    assert_null(x->s);
}

static void test_free_with_open_claims(void **state)
{
    struct fixture *x = *state;
    start(x);
    for (int i = 0; i < 3; i++)
        assert_int_equal(claim(x, &x->ack), 0);
    x->s = signer_client_free(x->s);
    turn(x);
    assert_int_equal(x->ack.n, 0);
    assert_int_equal(x->gone, 0);
    assert_null(signer_client_free(NULL));
}

static void test_free_in_ack(void **state)
{
    struct fixture *x = *state;
    uint64_t counter;
    start(x);
    x->ack.free_client = true;
    for (int i = 0; i < 3; i++)
        assert_int_equal(claim(x, &x->ack), 0);
    acknowledge(x, expect_claim(x, &counter), 1);
    assert_int_equal(x->ack.n, 1);
    assert_null(x->s);
}

/* ---- more than the line takes at a time ---- */

#define MORE 200u

static void claim_many(struct fixture *x)
{
    for (unsigned i = 0; i < LIMIT_CLAIMS_SENT + MORE; i++)
        assert_int_equal(claim(x, &x->ack), 0);
    assert_int_equal(signer_client_open(x->s), LIMIT_CLAIMS_SENT + MORE);
}

/* They wait, and come in order, with rising counters, each acknowledged once; also those that an
 * acknowledgement's callback makes meanwhile. */
static void test_waiting_claims(void **state)
{
    struct fixture *x = *state;
    uint64_t counter, last = 0;
    start(x);
    claim_many(x);
    x->ack.claim_again = true;
    for (unsigned i = 0; i < LIMIT_CLAIMS_SENT + MORE + 1; i++) {
        turn(x);
        uint64_t seq = expect_claim(x, &counter);
        assert_true(counter == last + 1);
        last = counter;
        acknowledge(x, seq, i);
    }
    assert_int_equal(x->ack.n, LIMIT_CLAIMS_SENT + MORE + 1);
    assert_int_equal(x->ack.err, 0);
    assert_int_equal(signer_client_open(x->s), 0);
}

static void test_waiting_when_signerd_dies(void **state)
{
    struct fixture *x = *state;
    start(x);
    claim_many(x);
    wire_close(&x->w);
    turn(x);
    assert_int_equal(x->ack.n, LIMIT_CLAIMS_SENT + MORE);
    assert_int_equal(x->ack.err, -EPIPE);
    assert_int_equal(x->gone, 1);
    assert_int_equal(signer_client_open(x->s), 0);
}

static void test_waiting_freed_in_ack(void **state)
{
    struct fixture *x = *state;
    uint64_t counter;
    start(x);
    claim_many(x);
    turn(x);
    x->ack.free_client = true;
    acknowledge(x, expect_claim(x, &counter), 1);
    assert_int_equal(x->ack.n, 1);
    assert_null(x->s);
}

static void test_waiting_freed_while_dying(void **state)
{
    struct fixture *x = *state;
    start(x);
    claim_many(x);
    turn(x);
    x->ack.free_client = true;
    wire_close(&x->w);
    turn(x);
    assert_int_equal(x->ack.n, 1);
    assert_null(x->s);
}

static void test_signerd_dies(void **state)
{
    struct fixture *x = *state;
    start(x);
    assert_int_equal(claim(x, &x->ack), 0);
    assert_int_equal(claim(x, &x->other), 0);
    x->other.claim_again = true; /* from inside: refused, not endless */
    wire_close(&x->w);
    turn(x);
    assert_int_equal(x->ack.n, 1);
    assert_int_equal(x->ack.err, -EPIPE);
    assert_int_equal(x->other.n, 1);
    assert_int_equal(x->gone, 1);
    assert_int_equal(x->gone_err, 0);
    assert_int_equal(signer_client_open(x->s), 0);
    assert_int_equal(claim(x, &x->ack), -EPIPE);
}

static void test_free_in_ack_while_dying(void **state)
{
    struct fixture *x = *state;
    start(x);
    x->ack.free_client = true;
    for (int i = 0; i < 3; i++)
        assert_int_equal(claim(x, &x->ack), 0);
    wire_close(&x->w);
    turn(x);
    assert_int_equal(x->ack.n, 1);
    assert_int_equal(x->gone, 0);
    assert_null(x->s);
}

static void test_free_in_gone(void **state)
{
    struct fixture *x = *state;
    start(x);
    x->free_in_gone = true;
    assert_int_equal(claim(x, &x->ack), 0);
    wire_close(&x->w);
    turn(x);
    assert_int_equal(x->ack.n, 1);
    assert_int_equal(x->gone, 1);
    assert_null(x->s);
}

static void check_log_failed(struct fixture *x, uint32_t fail, int err)
{
    struct signer_log_failed f = {fail, STR_LIT("the disk")};
    uint64_t counter;
    start(x);
    assert_int_equal(claim(x, &x->ack), 0);
    uint64_t seq = expect_claim(x, &counter);
    assert_int_equal(wire_send(&x->w, MSG_SIGNER_LOG_FAILED, 1, &f), 0);
    turn(x);
    assert_int_equal(x->gone, 1);
    assert_int_equal(x->gone_err, err);
    acknowledge(x, seq, 3); /* the line lives on for the end events */
    assert_int_equal(x->ack.n, 1);
    assert_int_equal(x->ack.err, 0);
}

static void test_log_full(void **state)
{
    check_log_failed(*state, FAIL_NO_SPACE, -ENOSPC);
}

static void test_log_broken(void **state)
{
    check_log_failed(*state, FAIL_INTERNAL, -EIO);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ack),
        TEST(test_nobody_waits),
        TEST(test_refusals),
        TEST(test_bad_claims),
        TEST(test_body_too_big),
        TEST(test_deadline),
        TEST(test_group),
        TEST(test_group_answer_too_short),
        TEST(test_group_freed_in_ack),
        TEST(test_forget),
        TEST(test_free_with_open_claims),
        TEST(test_free_in_ack),
        TEST(test_waiting_claims),
        TEST(test_waiting_when_signerd_dies),
        TEST(test_waiting_freed_in_ack),
        TEST(test_waiting_freed_while_dying),
        TEST(test_signerd_dies),
        TEST(test_free_in_ack_while_dying),
        TEST(test_free_in_gone),
        TEST(test_log_full),
        TEST(test_log_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
