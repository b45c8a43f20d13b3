/* SPDX-License-Identifier: MIT */
/* One endpoint against a peer by hand, on every way the peer can behave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "proto/endpoint.h"
#include "tests/unit/child.h"
#include "tests/unit/proto_wire.h"

#define RUN_ID "0190b3c4-0000-7000-8000-000000000001"
#define SHORT  30 /* ms: a deadline that will pass */

struct answer {
    int n;
    uint32_t fail; /* 0: a reply */
    char text[LIMIT_ERROR_TEXT + 1];
    uint64_t value;
    size_t nfds;
};

struct fixture {
    struct ev_loop *loop;
    struct endpoint *e;
    struct wire w;
    int fds_before;
    struct endpoint_ops ops;
    struct endpoint_handler handlers[2];
    /* what the callbacks do */
    bool free_in_handler, free_in_ready, free_in_gone, free_in_answer, take, defer;
    int handler_result;
    /* what they saw */
    int ready, gone, gone_err, handled, taken;
    size_t got_fds;
    uint64_t seq;
    struct answer answer;
};

static void on_ready(void *self, struct endpoint *e)
{
    struct fixture *x = self;
    x->ready++;
    if (x->free_in_ready)
        x->e = endpoint_free(e);
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    struct fixture *x = self;
    x->gone++;
    x->gone_err = err;
    if (x->free_in_gone)
        x->e = endpoint_free(e);
}

static int on_message(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct fixture *x = self;
    x->handled++;
    x->seq = m->seq;
    x->got_fds = m->nfds;
    if (x->take && m->nfds > 0)
        x->taken = TAKE_FD(m->fds[0]);
    if (x->free_in_handler)
        x->e = endpoint_free(e);
    return x->handler_result;
}

static void on_answer(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    struct fixture *x = data;
    x->answer.n++;
    x->answer.fail = error ? error->fail : 0;
    x->answer.nfds = nfds;
    if (error) {
        assert_null(rec);
        assert_int_equal(nfds, 0);
        memcpy(x->answer.text, error->text.p, error->text.len);
    }
    if (x->take && nfds > 0)
        x->taken = TAKE_FD(fds[0]);
    if (x->free_in_answer)
        x->e = endpoint_free(x->e);
}

static void on_claimed(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    struct fixture *x = data;
    on_answer(data, error, rec, fds, nfds);
    x->answer.value = error ? 0 : ((const struct signer_claims_rep *)rec)->results.v[0].sequence;
}

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof(*x));
    if (!x)
        return -1;
    log_init("test", LOG_CRIT); /* refusals are the subject here */
    x->fds_before = child_open_fds();
    x->loop = ev_loop_new(EVFLAG_NOENV);
    x->taken = x->w.sock = -EBADF;
    x->ops = (struct endpoint_ops){x->handlers, 0, on_ready, on_gone};
    *state = x;
    return x->loop ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    endpoint_free(x->e);
    wire_close(&x->w);
    cleanup_closep(&x->taken);
    ev_loop_destroy(x->loop);
    int leaked = child_open_fds() - x->fds_before;
    if (leaked != 0)
        fprintf(stderr, "%d fds leaked\n", leaked);
    bool bad = x->gone > 1;
    free(x);
    return leaked == 0 && !bad ? 0 : -1;
}

/* Our endpoint on this side of the interface; the peer by hand on the other. */
static void start(struct fixture *x, const struct iface *i, uint32_t side, uint32_t role, uint32_t peer_role)
{
    int s[2];
    struct endpoint_config cfg = {i, side, role, peer_role, &x->ops, x};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
    wire_init(&x->w, s[1], i, side == FROM_CLIENT ? FROM_SERVER : FROM_CLIENT, peer_role);
    assert_int_equal(endpoint_new(x->loop, s[0], &cfg, &x->e), 0);
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

static void expect_hello(struct fixture *x, uint32_t role)
{
    struct msg m;
    assert_int_equal(wire_recv(&x->w, role, LINE_HELLO, &m), 0);
    assert_int_equal(m.row->id, MSG_HELLO);
    const struct hello *h = m.rec;
    assert_true(str_is(h->interface, x->w.iface->name));
    assert_int_equal(h->version, x->w.iface->version);
    assert_int_equal(h->role, role);
}

static void start_ready(struct fixture *x, const struct iface *i, uint32_t side, uint32_t role,
                        uint32_t peer_role)
{
    start(x, i, side, role, peer_role);
    expect_hello(x, role);
    assert_int_equal(wire_hello(&x->w), 0);
    turn(x);
    assert_int_equal(x->ready, 1);
    assert_true(endpoint_is_ready(x->e));
}

static void start_signer_client(struct fixture *x)
{
    x->handlers[0] = (struct endpoint_handler){MSG_SIGNER_LOG_FAILED, on_message};
    x->ops.n = 1;
    start_ready(x, &iface_signer, FROM_CLIENT, ROLE_SUPERVISOR, ROLE_SIGNERD);
}

static void start_netd_client(struct fixture *x)
{
    start_ready(x, &iface_netd, FROM_CLIENT, ROLE_SUPERVISOR, ROLE_NETD);
}

static void start_netd_server(struct fixture *x)
{
    x->handlers[0] = (struct endpoint_handler){MSG_NETD_CELL_ATTACH_REQ, on_message};
    x->handlers[1] = (struct endpoint_handler){MSG_NETD_CELL_COUNTERS_REQ, on_message};
    x->ops.n = 2;
    start_ready(x, &iface_netd, FROM_SERVER, ROLE_NETD, ROLE_SUPERVISOR);
}

static void expect_cut(struct fixture *x, int err)
{
    turn(x);
    assert_int_equal(x->gone, 1);
    assert_int_equal(x->gone_err, err);
    if (x->e) { /* and it stays dead */
        struct netd_cell_ref ref = {STR_LIT(RUN_ID)};
        struct empty none;
        if (x->w.iface == &iface_netd && x->w.side == FROM_SERVER)
            assert_int_equal(endpoint_call(x->e, MSG_NETD_CELL_DETACH_REQ, &ref, NULL, 0, 0, on_answer, x),
                             -EPIPE);
        if (x->w.iface == &iface_signer)
            assert_int_equal(endpoint_call(x->e, MSG_SIGNER_HEAD_REQ, &none, NULL, 0, 0, on_answer, x),
                             -EPIPE);
    }
}

static int head(struct fixture *x, unsigned timeout_ms)
{
    struct empty none;
    return endpoint_call(x->e, MSG_SIGNER_HEAD_REQ, &none, NULL, 0, timeout_ms, on_answer, x);
}

/* The seq of the request that the peer sees next. */
static uint64_t expect_request(struct fixture *x, uint32_t id, uint32_t role)
{
    struct msg m;
    assert_int_equal(wire_recv(&x->w, role, LINE_READY, &m), 0);
    assert_int_equal(m.row->id, id);
    return m.seq;
}

static int answer_head(struct fixture *x, uint64_t seq)
{
    struct signer_head_rep rep = {7, STR_LIT("checkpoint")};
    return wire_send(&x->w, MSG_SIGNER_HEAD_REP, seq, &rep);
}

/* ---- hello ---- */

static void test_hello(void **state)
{
    struct fixture *x = *state;
    start(x, &iface_netd, FROM_SERVER, ROLE_NETD, ROLE_SUPERVISOR);
    assert_false(endpoint_is_ready(x->e));
    assert_int_equal(endpoint_state(x->e), LINE_HELLO);
    expect_hello(x, ROLE_NETD);
    turn(x);
    assert_int_equal(x->ready, 0);
    assert_int_equal(wire_hello(&x->w), 0);
    turn(x);
    assert_int_equal(x->ready, 1);
    assert_int_equal(endpoint_state(x->e), LINE_READY);
    assert_int_equal(wire_hello(&x->w), 0); /* a second one */
    expect_cut(x, -EPROTO);
}

static void check_hello_refused(struct fixture *x, const char *interface, uint32_t version, uint32_t role)
{
    struct hello h = {str_of(interface), version, role};
    start(x, &iface_netd, FROM_SERVER, ROLE_NETD, ROLE_SUPERVISOR);
    assert_int_equal(wire_send(&x->w, MSG_HELLO, 0, &h), 0);
    expect_cut(x, -EPROTO);
    assert_int_equal(x->ready, 0);
}

static void test_hello_interface(void **state)
{
    check_hello_refused(*state, "proxy", 1, ROLE_SUPERVISOR);
}

static void test_hello_version(void **state)
{
    check_hello_refused(*state, "netd", 2, ROLE_SUPERVISOR);
}

static void test_hello_role(void **state)
{
    check_hello_refused(*state, "netd", 1, ROLE_PROXYD);
}

static void test_before_hello(void **state)
{
    struct fixture *x = *state;
    struct netd_cell_ref ref = {STR_LIT(RUN_ID)};
    start(x, &iface_netd, FROM_SERVER, ROLE_NETD, ROLE_SUPERVISOR);
    assert_int_equal(wire_send(&x->w, MSG_NETD_CELL_DETACH_REQ, 1, &ref), 0);
    expect_cut(x, -EPROTO);
}

static void test_hello_too_late(void **state)
{
    struct fixture *x = *state;
    start(x, &iface_netd, FROM_SERVER, ROLE_NETD, ROLE_SUPERVISOR);
    wait_ms(x, LIMIT_HELLO_MS - 500);
    assert_int_equal(x->gone, 0);
    wait_ms(x, 700);
    assert_int_equal(x->gone, 1);
    assert_int_equal(x->gone_err, -ETIMEDOUT);
    wire_close(&x->w); /* not told a second time */
    expect_cut(x, -ETIMEDOUT);
}

/* The owner may keep the dead endpoint for a while: the hello deadline must not fire as well. */
static void test_gone_before_hello_once(void **state)
{
    struct fixture *x = *state;
    start(x, &iface_netd, FROM_SERVER, ROLE_NETD, ROLE_SUPERVISOR);
    wire_close(&x->w);
    expect_cut(x, 0);
    wait_ms(x, LIMIT_HELLO_MS + 200);
    assert_int_equal(x->gone, 1);
}

static void test_send_before_ready(void **state)
{
    struct fixture *x = *state;
    start(x, &iface_signer, FROM_CLIENT, ROLE_SUPERVISOR, ROLE_SIGNERD);
    assert_int_equal(head(x, 0), 0);
    expect_hello(x, ROLE_SUPERVISOR); /* first */
    uint64_t seq = expect_request(x, MSG_SIGNER_HEAD_REQ, ROLE_SUPERVISOR);
    assert_int_equal(wire_hello(&x->w), 0);
    assert_int_equal(answer_head(x, seq), 0);
    turn(x);
    assert_int_equal(x->answer.n, 1);
}

/* ---- calls ---- */

static void test_call_and_reply(void **state)
{
    struct fixture *x = *state;
    struct signer_claim claim = {1, STR_LIT(RUN_ID), EVENT_GAP, STR_LIT("body")};
    struct signer_claims_req req = {.claims = {&claim, 1}};
    struct signer_result result = {.sequence = 4711};
    struct signer_claims_rep rep = {.results = {&result, 1}};
    start_signer_client(x);
    assert_int_equal(endpoint_call(x->e, MSG_SIGNER_CLAIMS_REQ, &req, NULL, 0, 1000, on_claimed, x), 0);
    uint64_t seq = expect_request(x, MSG_SIGNER_CLAIMS_REQ, ROLE_SUPERVISOR);
    assert_int_equal(wire_send(&x->w, MSG_SIGNER_CLAIMS_REP, seq, &rep), 0);
    turn(x);
    assert_int_equal(x->answer.n, 1);
    assert_int_equal(x->answer.fail, 0);
    assert_true(x->answer.value == 4711);
    assert_int_equal(x->gone, 0);
}

static void test_call_and_error(void **state)
{
    struct fixture *x = *state;
    start_signer_client(x);
    assert_int_equal(head(x, 1000), 0);
    uint64_t seq = expect_request(x, MSG_SIGNER_HEAD_REQ, ROLE_SUPERVISOR);
    assert_int_equal(wire_error(&x->w, seq, FAIL_QUOTA, "enough"), 0);
    turn(x);
    assert_int_equal(x->answer.n, 1);
    assert_int_equal(x->answer.fail, FAIL_QUOTA);
    assert_string_equal(x->answer.text, "enough");
    assert_int_equal(x->gone, 0);
}

static void test_replies_out_of_order(void **state)
{
    struct fixture *x = *state;
    uint64_t seq[5];
    start_signer_client(x);
    for (size_t i = 0; i < ARRAY_LEN(seq); i++)
        assert_int_equal(head(x, 1000), 0);
    for (size_t i = 0; i < ARRAY_LEN(seq); i++)
        seq[i] = expect_request(x, MSG_SIGNER_HEAD_REQ, ROLE_SUPERVISOR);
    static const size_t order[] = {4, 2, 0, 1, 3}; /* the last, the middle, the first of the list */
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        assert_int_equal(answer_head(x, seq[order[i]]), 0);
        turn(x);
        assert_int_equal(x->answer.n, i + 1);
    }
    assert_int_equal(head(x, 1000), 0); /* the list is whole again */
    assert_int_equal(answer_head(x, expect_request(x, MSG_SIGNER_HEAD_REQ, ROLE_SUPERVISOR)), 0);
    turn(x);
    assert_int_equal(x->answer.n, 6);
}

static void test_deadline_and_late_reply(void **state)
{
    struct fixture *x = *state;
    start_signer_client(x);
    assert_int_equal(head(x, SHORT), 0);
    uint64_t seq = expect_request(x, MSG_SIGNER_HEAD_REQ, ROLE_SUPERVISOR);
    wait_ms(x, 3 * SHORT);
    assert_int_equal(x->answer.n, 1);
    assert_int_equal(x->answer.fail, FAIL_TIMEOUT);
    assert_int_equal(answer_head(x, seq), 0); /* late: dropped, the line lives */
    turn(x);
    assert_int_equal(x->answer.n, 1);
    assert_int_equal(x->gone, 0);
    assert_int_equal(answer_head(x, seq), 0); /* but once only */
    expect_cut(x, -EPROTO);
}

static void test_free_at_deadline(void **state)
{
    struct fixture *x = *state;
    start_signer_client(x);
    x->free_in_answer = true;
    assert_int_equal(head(x, SHORT), 0);
    assert_int_equal(head(x, SHORT), 0);
    wait_ms(x, 3 * SHORT);
    assert_int_equal(x->answer.n, 1); /* the other one went with the endpoint */
    assert_null(x->e);
}

static void test_reply_never_asked(void **state)
{
    struct fixture *x = *state;
    start_signer_client(x);
    assert_int_equal(answer_head(x, 1), 0);
    expect_cut(x, -EPROTO);
}

static void test_reply_to_hello(void **state)
{
    struct fixture *x = *state;
    start_signer_client(x);
    assert_int_equal(answer_head(x, 0), 0);
    expect_cut(x, -EPROTO);
}

static void test_error_never_asked(void **state)
{
    struct fixture *x = *state;
    start_signer_client(x);
    assert_int_equal(wire_error(&x->w, 3, FAIL_STATE, "no"), 0);
    expect_cut(x, -EPROTO);
}

static void test_reply_twice(void **state)
{
    struct fixture *x = *state;
    start_signer_client(x);
    assert_int_equal(head(x, 0), 0);
    uint64_t seq = expect_request(x, MSG_SIGNER_HEAD_REQ, ROLE_SUPERVISOR);
    assert_int_equal(answer_head(x, seq), 0);
    assert_int_equal(answer_head(x, seq), 0);
    expect_cut(x, -EPROTO);
    assert_int_equal(x->answer.n, 1);
}

static void test_reply_of_another_request(void **state)
{
    struct fixture *x = *state;
    struct signer_claims_rep rep = {.results = {NULL, 0}};
    start_signer_client(x);
    assert_int_equal(head(x, 0), 0);
    uint64_t seq = expect_request(x, MSG_SIGNER_HEAD_REQ, ROLE_SUPERVISOR);
    assert_int_equal(wire_send(&x->w, MSG_SIGNER_CLAIMS_REP, seq, &rep), 0);
    expect_cut(x, -EPROTO);
    assert_int_equal(x->answer.n, 1); /* the request learns that the line died */
    assert_int_equal(x->answer.fail, FAIL_UNAVAILABLE);
}

static void test_forget(void **state)
{
    struct fixture *x = *state;
    struct empty none;
    int other = 0;
    start_signer_client(x);
    assert_int_equal(endpoint_call(x->e, MSG_SIGNER_HEAD_REQ, &none, NULL, 0, SHORT, on_answer, &other), 0);
    assert_int_equal(endpoint_call(x->e, MSG_SIGNER_HEAD_REQ, &none, NULL, 0, 0, on_answer, &other), 0);
    assert_int_equal(head(x, 0), 0);
    endpoint_forget(x->e, &other); /* on_answer would fall over &other */
    wait_ms(x, 3 * SHORT);
    for (int i = 0; i < 3; i++)
        assert_int_equal(answer_head(x, expect_request(x, MSG_SIGNER_HEAD_REQ, ROLE_SUPERVISOR)), 0);
    turn(x);
    assert_int_equal(x->answer.n, 1);
    assert_int_equal(x->gone, 0);
}

static void test_too_many_calls(void **state)
{
    struct fixture *x = *state;
    uint64_t seq = 0;
    start_signer_client(x);
    for (unsigned i = 0; i < LIMIT_PENDING_CALLS; i++) {
        assert_int_equal(head(x, i % 2 ? 0 : SHORT), 0); /* those past their deadline count too */
        seq = expect_request(x, MSG_SIGNER_HEAD_REQ, ROLE_SUPERVISOR);
    }
    assert_int_equal(head(x, 0), -EDQUOT);
    wait_ms(x, 3 * SHORT);
    assert_int_equal(x->answer.n, LIMIT_PENDING_CALLS / 2);
    assert_int_equal(head(x, 0), -EDQUOT);
    assert_int_equal(answer_head(x, seq), 0);
    turn(x);
    assert_int_equal(head(x, 0), 0);
}

/* The peer does not read: frames queue up to the limit, and all arrive in the end. */
static void test_queue_full(void **state)
{
    struct fixture *x = *state;
    struct init_signal s = {15};
    unsigned sent = 0, got = 0;
    struct msg m;
    int r;
    start_ready(x, &iface_init, FROM_CLIENT, ROLE_SUPERVISOR, ROLE_INIT);
    endpoint_set_state(x->e, LINE_RUNNING);
    while ((r = endpoint_send(x->e, MSG_INIT_SIGNAL, &s, NULL, 0)) == 0)
        sent++;
    assert_int_equal(r, -EDQUOT);
    assert_true(sent >= LIMIT_SEND_QUEUE);
    for (int i = 0; i < 10000 && got < sent; i++) {
        turn(x);
        while (wire_recv(&x->w, ROLE_SUPERVISOR, LINE_RUNNING, &m) == 0)
            got++;
    }
    assert_int_equal(got, sent);
    assert_int_equal(endpoint_send(x->e, MSG_INIT_SIGNAL, &s, NULL, 0), 0);
    assert_int_equal(x->gone, 0);
}

static void test_wrong_use(void **state)
{
    struct fixture *x = *state;
    struct empty none;
    struct signer_claims_rep rep = {.results = {NULL, 0}};
    struct error e = {FAIL_STATE, STR_LIT("")};
    int fd = 0;
    start_signer_client(x);
    assert_int_equal(endpoint_send(x->e, 9998, &none, NULL, 0), -EINVAL); /* unknown */
    assert_int_equal(endpoint_call(x->e, 9998, &none, NULL, 0, 0, on_answer, x), -EINVAL);
    assert_int_equal(endpoint_send(x->e, MSG_SIGNER_HEAD_REQ, &none, NULL, 0), -EINVAL); /* a request */
    assert_int_equal(endpoint_send(x->e, MSG_SIGNER_LOG_FAILED, &e, NULL, 0), -EINVAL); /* the other side's */
    assert_int_equal(endpoint_call(x->e, MSG_SIGNER_LOG_FAILED, &e, NULL, 0, 0, on_answer, x), -EINVAL);
    assert_int_equal(endpoint_reply(x->e, MSG_SIGNER_CLAIMS_REQ, 1, &rep, NULL, 0), -EINVAL);
    assert_int_equal(endpoint_call(x->e, MSG_SIGNER_HEAD_REQ, &none, &fd, 1, 0, on_answer, x), -EINVAL);
    turn(x);
    assert_int_equal(x->answer.n, 0);
}

/* ---- requests and notes that come in ---- */

static void test_request_and_reply(void **state)
{
    struct fixture *x = *state;
    struct netd_cell_ref ref = {STR_LIT(RUN_ID)};
    struct netd_cell_counters_rep rep = {1, 2};
    struct msg m;
    start_netd_server(x);
    assert_int_equal(wire_send(&x->w, MSG_NETD_CELL_COUNTERS_REQ, 17, &ref), 0);
    turn(x);
    assert_int_equal(x->handled, 1);
    assert_true(x->seq == 17);
    assert_int_equal(endpoint_reply(x->e, MSG_NETD_CELL_COUNTERS_REQ, x->seq, &rep, NULL, 0), 0);
    assert_int_equal(wire_recv(&x->w, ROLE_NETD, LINE_READY, &m), 0);
    assert_int_equal(m.row->id, MSG_NETD_CELL_COUNTERS_REP);
    assert_true(m.seq == 17);
}

static void check_fail(struct fixture *x, const char *text, const char *expected)
{
    struct msg m;
    assert_int_equal(endpoint_fail(x->e, 5, FAIL_UNKNOWN, "%s", text), 0);
    assert_int_equal(wire_recv(&x->w, ROLE_NETD, LINE_READY, &m), 0);
    assert_int_equal(m.row->id, MSG_ERROR);
    assert_true(m.seq == 5);
    const struct error *e = m.rec;
    assert_int_equal(e->fail, FAIL_UNKNOWN);
    assert_true(str_is(e->text, expected));
}

static void test_fail_text(void **state)
{
    struct fixture *x = *state;
    char big[2 * LIMIT_ERROR_TEXT];
    struct msg m;
    start_netd_server(x);
    check_fail(x, "no such cell", "no such cell");
    check_fail(x, "", "");
    check_fail(x, "foreign \xff\x1b", "foreign \\xff\\x1b");
    memset(big, 0, sizeof(big));
    for (size_t i = 0; i + 3 < sizeof(big); i += 3)
        memcpy(big + i, "\xe2\x82\xac", 3); /* cut inside a character */
    assert_int_equal(endpoint_fail(x->e, 5, FAIL_UNKNOWN, "%s", big), 0);
    assert_int_equal(wire_recv(&x->w, ROLE_NETD, LINE_READY, &m), 0);
    assert_true(((const struct error *)m.rec)->text.len > 100);
}

static void test_handler_refuses(void **state)
{
    struct fixture *x = *state;
    struct netd_cell_ref ref = {STR_LIT(RUN_ID)};
    x->handler_result = -EPERM;
    start_netd_server(x);
    assert_int_equal(wire_send(&x->w, MSG_NETD_CELL_COUNTERS_REQ, 1, &ref), 0);
    expect_cut(x, -EPERM);
}

static void test_row_without_handler(void **state)
{
    struct fixture *x = *state;
    struct netd_cell_ref ref = {STR_LIT(RUN_ID)};
    start_netd_server(x);
    assert_int_equal(wire_send(&x->w, MSG_NETD_CELL_DETACH_REQ, 1, &ref), 0);
    expect_cut(x, -EPROTO);
    assert_int_equal(x->handled, 0);
}

static void test_unknown_message(void **state)
{
    struct fixture *x = *state;
    struct msg_row row = *iface_row(&iface_netd, MSG_NETD_CELL_DETACH_REQ);
    struct netd_cell_ref ref = {STR_LIT(RUN_ID)};
    row.id = 200;
    start_netd_server(x);
    assert_int_equal(wire_send_row(&x->w, &row, 1, &ref, NULL, 0), 0);
    expect_cut(x, -EBADMSG);
}

static void test_garbage(void **state)
{
    struct fixture *x = *state;
    start_netd_server(x);
    assert_int_equal(frame_send(x->w.sock, "garbage", 7, NULL, 0), 0);
    expect_cut(x, -EBADMSG);
}

static void test_wrong_direction(void **state)
{
    struct fixture *x = *state;
    struct netd_cell_counters_rep rep = {1, 2};
    start_netd_server(x);
    assert_int_equal(wire_send(&x->w, MSG_NETD_CELL_COUNTERS_REP, 1, &rep), 0);
    expect_cut(x, -EPROTO);
}

static void test_once(void **state)
{
    struct fixture *x = *state;
    struct init_failed f = {.stage = STR_LIT("mount"), .text = STR_LIT("no")};
    x->handlers[0] = (struct endpoint_handler){MSG_INIT_FAILED, on_message};
    x->ops.n = 1;
    start_ready(x, &iface_init, FROM_CLIENT, ROLE_SUPERVISOR, ROLE_INIT);
    assert_int_equal(wire_send(&x->w, MSG_INIT_FAILED, 1, &f), 0);
    turn(x);
    assert_int_equal(x->handled, 1);
    assert_int_equal(x->gone, 0);
    assert_int_equal(wire_send(&x->w, MSG_INIT_FAILED, 2, &f), 0);
    expect_cut(x, -EPROTO);
    assert_int_equal(x->handled, 1);
}

/* A disk gets full more than once. */
static void test_more_than_once(void **state)
{
    struct fixture *x = *state;
    struct signer_log_failed f = {FAIL_NO_SPACE, STR_LIT("full")};
    start_signer_client(x);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(wire_send(&x->w, MSG_SIGNER_LOG_FAILED, (uint64_t)i, &f), 0);
        turn(x);
        assert_int_equal(x->handled, i);
    }
    assert_int_equal(x->gone, 0);
}

static void test_states(void **state)
{
    struct fixture *x = *state;
    struct empty none;
    x->handlers[0] = (struct endpoint_handler){MSG_INIT_STARTED, on_message};
    x->ops.n = 1;
    start_ready(x, &iface_init, FROM_CLIENT, ROLE_SUPERVISOR, ROLE_INIT);
    endpoint_set_state(x->e, LINE_RUNNING);
    assert_int_equal(endpoint_state(x->e), LINE_RUNNING);
    assert_int_equal(wire_send(&x->w, MSG_INIT_STARTED, 1, &none), 0);
    turn(x);
    assert_int_equal(x->handled, 1);
    endpoint_set_state(x->e, LINE_ENDED);
    struct init_exited ex = {.timed_out = false};
    assert_int_equal(wire_send(&x->w, MSG_INIT_EXITED, 2, &ex), 0); /* only while running */
    expect_cut(x, -EPROTO);
}

/* ---- fds ---- */

static int attach(struct fixture *x, size_t n)
{
    struct netd_cell_attach_req req = {STR_LIT(RUN_ID), STR_LIT("cell")};
    return wire_send_fds(&x->w, MSG_NETD_CELL_ATTACH_REQ, 1, &req, n);
}

static void test_fds_of_a_request(void **state)
{
    struct fixture *x = *state;
    start_netd_server(x);
    int before = child_open_fds();
    assert_int_equal(attach(x, 2), 0);
    turn(x);
    assert_int_equal(x->handled, 1);
    assert_int_equal(x->got_fds, 2);
    assert_int_equal(child_open_fds(), before); /* not taken: closed */
    x->take = true;
    assert_int_equal(attach(x, 2), 0);
    turn(x);
    assert_int_equal(child_open_fds(), before + 1);
    assert_true(fcntl(x->taken, F_GETFD) & FD_CLOEXEC);
}

static void check_fd_count(struct fixture *x, size_t n)
{
    start_netd_server(x);
    int before = child_open_fds();
    assert_int_equal(attach(x, n), 0);
    expect_cut(x, -EPROTO);
    assert_int_equal(x->handled, 0);
    assert_int_equal(child_open_fds(), before - 1); /* the socket itself */
}

static void test_fds_missing(void **state)
{
    check_fd_count(*state, 1);
}

static void test_fds_surplus(void **state)
{
    check_fd_count(*state, 3);
}

static void test_fds_flood(void **state)
{
    check_fd_count(*state, FRAME_FDS_MAX);
}

static int call_attach(struct fixture *x, unsigned timeout_ms)
{
    struct netd_cell_attach_req req = {STR_LIT(RUN_ID), STR_LIT("cell")};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fds[2] = {null, null};
    int r = endpoint_call(x->e, MSG_NETD_CELL_ATTACH_REQ, &req, fds, 2, timeout_ms, on_answer, x);
    assert_true(fcntl(null, F_GETFD) >= 0); /* still ours */
    close(null);
    return r;
}

static int answer_attach(struct fixture *x, uint64_t seq, size_t n)
{
    struct netd_cell_attach_rep rep = {STR_LIT("sha256:")};
    return wire_send_fds(&x->w, MSG_NETD_CELL_ATTACH_REP, seq, &rep, n);
}

static void test_fds_of_a_reply(void **state)
{
    struct fixture *x = *state;
    start_netd_client(x);
    int before = child_open_fds();
    x->take = true;
    assert_int_equal(call_attach(x, 1000), 0);
    uint64_t seq = expect_request(x, MSG_NETD_CELL_ATTACH_REQ, ROLE_SUPERVISOR);
    assert_int_equal(x->w.frame.nfds, 2);
    frame_close_fds(&x->w.frame);
    assert_int_equal(answer_attach(x, seq, NETD_CELL_SOCKETS), 0);
    turn(x);
    assert_int_equal(x->answer.n, 1);
    assert_int_equal(x->answer.nfds, NETD_CELL_SOCKETS);
    assert_int_equal(child_open_fds(), before + 1); /* one taken, five closed */
}

static void test_fds_of_a_late_reply(void **state)
{
    struct fixture *x = *state;
    start_netd_client(x);
    int before = child_open_fds();
    assert_int_equal(call_attach(x, SHORT), 0);
    uint64_t seq = expect_request(x, MSG_NETD_CELL_ATTACH_REQ, ROLE_SUPERVISOR);
    frame_close_fds(&x->w.frame);
    wait_ms(x, 3 * SHORT);
    assert_int_equal(answer_attach(x, seq, NETD_CELL_SOCKETS), 0);
    turn(x);
    assert_int_equal(x->answer.n, 1);
    assert_int_equal(x->answer.fail, FAIL_TIMEOUT);
    assert_int_equal(x->gone, 0);
    assert_int_equal(child_open_fds(), before);
}

/* ---- the end ---- */

static void test_peer_closes(void **state)
{
    struct fixture *x = *state;
    start_signer_client(x);
    assert_int_equal(head(x, 1000), 0);
    assert_int_equal(head(x, 0), 0);
    wire_close(&x->w);
    expect_cut(x, 0);
    assert_int_equal(x->answer.n, 2);
    assert_int_equal(x->answer.fail, FAIL_UNAVAILABLE);
}

/* A suite may be over before its slowest daemon has started. */
static void test_peer_closed_before(void **state)
{
    struct fixture *x = *state;
    int s[2];
    struct endpoint_config cfg = {&iface_signer, FROM_CLIENT, ROLE_SUPERVISOR, ROLE_SIGNERD, &x->ops, x};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
    close(s[1]);
    assert_int_equal(endpoint_new(x->loop, s[0], &cfg, &x->e), 0);
    assert_int_equal(x->gone, 0);
    turn(x);
    assert_int_equal(x->gone, 1);
    assert_int_equal(x->gone_err, 0);
}

static void test_free_in_gone(void **state)
{
    struct fixture *x = *state;
    x->free_in_gone = true;
    start_signer_client(x);
    wire_close(&x->w);
    turn(x);
    assert_int_equal(x->gone, 1);
    assert_null(x->e);
}

static void test_free_in_handler(void **state)
{
    struct fixture *x = *state;
    x->free_in_handler = true;
    start_netd_server(x);
    assert_int_equal(attach(x, 2), 0);
    assert_int_equal(attach(x, 2), 0);
    turn(x);
    assert_int_equal(x->handled, 1);
    assert_int_equal(x->gone, 0);
    assert_null(x->e);
}

/* A handler that frees and then says that the peer broke the protocol. */
static void test_free_and_refuse(void **state)
{
    struct fixture *x = *state;
    x->handler_result = -EPROTO;
    test_free_in_handler(state);
}

static void test_free_in_ready(void **state)
{
    struct fixture *x = *state;
    x->free_in_ready = true;
    start(x, &iface_netd, FROM_SERVER, ROLE_NETD, ROLE_SUPERVISOR);
    assert_int_equal(wire_hello(&x->w), 0);
    turn(x);
    assert_int_equal(x->ready, 1);
    assert_null(x->e);
}

static void test_free_in_reply(void **state)
{
    struct fixture *x = *state;
    x->free_in_answer = true;
    start_signer_client(x);
    assert_int_equal(head(x, 1000), 0);
    assert_int_equal(head(x, 1000), 0);
    assert_int_equal(answer_head(x, expect_request(x, MSG_SIGNER_HEAD_REQ, ROLE_SUPERVISOR)), 0);
    turn(x);
    assert_int_equal(x->answer.n, 1);
    assert_null(x->e);
}

static void test_free_while_calls_fail(void **state)
{
    struct fixture *x = *state;
    x->free_in_answer = true;
    start_signer_client(x);
    for (int i = 0; i < 3; i++)
        assert_int_equal(head(x, 1000), 0);
    wire_close(&x->w);
    turn(x);
    assert_int_equal(x->answer.n, 1);
    assert_int_equal(x->gone, 0); /* freed before */
    assert_null(x->e);
}

static void test_free_with_open_calls(void **state)
{
    struct fixture *x = *state;
    start_signer_client(x);
    assert_int_equal(head(x, SHORT), 0);
    x->e = endpoint_free(x->e);
    wait_ms(x, 3 * SHORT);
    assert_int_equal(x->answer.n, 0);
    assert_int_equal(x->gone, 0);
    assert_null(endpoint_free(NULL));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hello),
        TEST(test_hello_interface),
        TEST(test_hello_version),
        TEST(test_hello_role),
        TEST(test_before_hello),
        TEST(test_hello_too_late),
        TEST(test_gone_before_hello_once),
        TEST(test_send_before_ready),
        TEST(test_call_and_reply),
        TEST(test_call_and_error),
        TEST(test_replies_out_of_order),
        TEST(test_deadline_and_late_reply),
        TEST(test_free_at_deadline),
        TEST(test_reply_never_asked),
        TEST(test_reply_to_hello),
        TEST(test_error_never_asked),
        TEST(test_reply_twice),
        TEST(test_reply_of_another_request),
        TEST(test_forget),
        TEST(test_too_many_calls),
        TEST(test_queue_full),
        TEST(test_wrong_use),
        TEST(test_request_and_reply),
        TEST(test_fail_text),
        TEST(test_handler_refuses),
        TEST(test_row_without_handler),
        TEST(test_unknown_message),
        TEST(test_garbage),
        TEST(test_wrong_direction),
        TEST(test_once),
        TEST(test_more_than_once),
        TEST(test_states),
        TEST(test_fds_of_a_request),
        TEST(test_fds_missing),
        TEST(test_fds_surplus),
        TEST(test_fds_flood),
        TEST(test_fds_of_a_reply),
        TEST(test_fds_of_a_late_reply),
        TEST(test_peer_closes),
        TEST(test_peer_closed_before),
        TEST(test_free_in_gone),
        TEST(test_free_in_handler),
        TEST(test_free_and_refuse),
        TEST(test_free_in_ready),
        TEST(test_free_in_reply),
        TEST(test_free_while_calls_fail),
        TEST(test_free_with_open_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
