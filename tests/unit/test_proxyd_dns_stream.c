/* SPDX-License-Identifier: MIT */
/* Connections to resolvers that a test scripts: reused, out of order, broken, lying, trickling, silent. */
#include "proxyd/resolver/conn.h"
#include "tests/unit/proxyd_fake_resolver.h"

/* ---- TCP ---- */

static void one_connection_serves_many_questions(void **state)
{
    struct world *w = *state;

    know(w, RESOLVER_DO53_TCP, 1);
    for (int i = 0; i < 5; i++)
        ANSWERED(ask(&w->a, "e.example", DNS_TYPE_A), "192.0.2.4");
    assert_int_equal(w->one.accepted, 1);
    assert_int_equal(w->one.tcp_seen, 5);
    assert_int_equal(w->one.udp_seen, 0);
}

static void keep_three_then_reverse(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    f->kept[f->nkept++] = *ask;
    if (f->nkept < 3)
        return;
    while (f->nkept > 0)
        answer(f, c, &f->kept[--f->nkept]);
}

static void answers_come_in_any_order(void **state)
{
    static const char *const names[] = {"a.example", "b.example", "c.example"};
    static const char *const addrs[] = {"192.0.2.0", "192.0.2.1", "192.0.2.2"};
    struct world *w = *state;
    static struct heard h[3];

    know(w, RESOLVER_DO53_TCP, 1);
    w->one.script = keep_three_then_reverse;
    for (size_t i = 0; i < 3; i++)
        ask_start(&w->a, &h[i], names[i], DNS_TYPE_A);
    for (size_t i = 0; i < 3; i++) {
        ask_wait(&w->a, &h[i]);
        ANSWERED(&h[i], addrs[i]);
    }
    assert_int_equal(w->one.accepted, 1);
    assert_int_equal(w->one.tcp_seen, 3); /* all on their way before the first answer */
}

static void connections_are_bounded(void **state)
{
    static struct heard h[200];
    struct world *w = *state;

    know(w, RESOLVER_DO53_TCP, 1);
    for (size_t i = 0; i < ARRAY_LEN(h); i++)
        ask_start(&w->a, &h[i], "f.example", DNS_TYPE_A);
    for (size_t i = 0; i < ARRAY_LEN(h); i++) {
        ask_wait(&w->a, &h[i]);
        ANSWERED(&h[i], "192.0.2.5");
    }
    assert_in_range(w->one.accepted, 1, DNS_CONNS_MAX);
    assert_int_equal(w->one.tcp_seen, ARRAY_LEN(h));
}

static void close_on_second(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    if (c->asked == 2)
        fake_close(c);
    else
        answer(f, c, ask);
}

static void a_used_connection_that_breaks_is_replaced(void **state)
{
    struct world *w = *state;

    know(w, RESOLVER_DO53_TCP, 1);
    w->one.script = close_on_second;
    for (int i = 0; i < 4; i++)
        ANSWERED(ask(&w->a, "g.example", DNS_TYPE_A), "192.0.2.6");
    assert_int_equal(w->one.accepted, 4); /* the second to fourth began on one that broke */
}

static void close_at_once(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    (void)f;
    (void)ask;
    fake_close(c);
}

static void a_server_that_only_breaks_is_an_error(void **state)
{
    struct world *w = *state;

    know(w, RESOLVER_DO53_TCP, 1);
    w->one.script = close_at_once;
    assert_int_equal(ask(&w->a, "g.example", DNS_TYPE_A)->error, -ECONNRESET);
    assert_int_equal(w->one.accepted, LIMIT_DNS_TRIES);
    w->one.script = answer;
    ANSWERED(ask(&w->a, "g.example", DNS_TYPE_A), "192.0.2.6");
}

static void lie(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    struct dns_ask other = *ask;

    if (f->arg) {
        answer(f, c, ask);
        return;
    }
    other.q.qname.b[1] = 'z';
    answer(f, c, &other);
}

static void an_answer_to_another_question_ends_the_connection(void **state)
{
    struct world *w = *state;

    know(w, RESOLVER_DO53_TCP, 1);
    w->one.script = lie;
    assert_int_equal(ask(&w->a, "g.example", DNS_TYPE_A)->error, -EBADMSG);
    w->one.arg = 1;
    unsigned before = w->one.accepted;
    ANSWERED(ask(&w->a, "g.example", DNS_TYPE_A), "192.0.2.6");
    assert_int_equal(w->one.accepted, before + 1);
}

static void too_long(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    (void)f;
    (void)ask;
    assert_int_equal(send(c->fd, "\xff\xff\0\0", 4, MSG_NOSIGNAL), 4);
}

static void a_message_beyond_the_limit_is_an_error(void **state)
{
    struct world *w = *state;

    know(w, RESOLVER_DO53_TCP, 1);
    w->one.script = too_long;
    assert_int_equal(ask(&w->a, "g.example", DNS_TYPE_A)->error, -EMSGSIZE);
}

/* One byte at a time, with the loop between them. */
static ev_timer trickle_timer;
static uint8_t trickle_bytes[512];
static size_t trickle_len, trickle_at;

static void on_trickle(struct ev_loop *loop, ev_timer *t, int events)
{
    struct fake_conn *c = t->data;

    (void)events;
    if (c->fd < 0 || trickle_at == trickle_len) {
        ev_timer_stop(loop, t);
        return;
    }
    assert_int_equal(send(c->fd, trickle_bytes + trickle_at++, 1, MSG_NOSIGNAL), 1);
}

static void trickle(struct fake *f, struct fake_conn *c, const struct dns_ask *ask)
{
    uint8_t addr[4] = {192, 0, 2, 7};
    struct buf b;

    put_head(&b, ask, 0x8180, 1, 0);
    put_a(&b, addr);
    trickle_bytes[0] = 0;
    trickle_bytes[1] = (uint8_t)b.len;
    memcpy(trickle_bytes + 2, b.data, b.len);
    trickle_len = b.len + 2;
    trickle_at = 0;
    buf_done(&b);
    ev_timer_init(&trickle_timer, on_trickle, 0.001, 0.001);
    trickle_timer.data = c;
    ev_timer_start(f->a->loop, &trickle_timer);
}

static void a_message_may_come_in_single_bytes(void **state)
{
    struct world *w = *state;

    know(w, RESOLVER_DO53_TCP, 1);
    w->one.script = trickle;
    ANSWERED(ask(&w->a, "h.example", DNS_TYPE_A), "192.0.2.7");
    ev_timer_stop(w->a.loop, &trickle_timer);
}

static void a_silent_connection_is_not_used_again(void **state)
{
    struct world *w = *state;

    know(w, RESOLVER_DO53_TCP, 1);
    w->one.script = NULL;
    assert_int_equal(ask(&w->a, "h.example", DNS_TYPE_A)->error, -ETIMEDOUT);
    w->one.script = answer;
    unsigned before = w->one.accepted;
    ANSWERED(ask(&w->a, "h.example", DNS_TYPE_A), "192.0.2.7");
    assert_int_equal(w->one.accepted, before + 1);
}

static void an_unused_connection_ends(void **state)
{
    struct world *w = *state;

    know(w, RESOLVER_DO53_TCP, 1);
    ANSWERED(ask(&w->a, "h.example", DNS_TYPE_A), "192.0.2.7");
    struct dns_conn *c = LIST_FIRST(&w->a.all->v[0].conns);
    assert_true(ev_is_active(&c->idle));          /* its time is running ... */
    ev_feed_event(w->a.loop, &c->idle, EV_TIMER); /* ... and over */
    ev_run(w->a.loop, EVRUN_NOWAIT);
    assert_int_equal(w->a.all->v[0].nconns, 0);
    ANSWERED(ask(&w->a, "h.example", DNS_TYPE_A), "192.0.2.7");
    assert_int_equal(w->one.accepted, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_connection_serves_many_questions),
        T(answers_come_in_any_order),
        T(connections_are_bounded),
        T(a_used_connection_that_breaks_is_replaced),
        T(a_server_that_only_breaks_is_an_error),
        T(an_answer_to_another_question_ends_the_connection),
        T(a_message_beyond_the_limit_is_an_error),
        T(a_message_may_come_in_single_bytes),
        T(a_silent_connection_is_not_used_again),
        T(an_unused_connection_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
