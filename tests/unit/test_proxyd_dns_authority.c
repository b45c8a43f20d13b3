/* SPDX-License-Identifier: MIT */
/* What cells make of what a lookup says: DNSSEC, failures, answers past their TTL, and who waits for what.
 * The resolvers are played here: dns_forward_new and its kin are this file's own. */
#include "tests/unit/test_proxyd_dns_rig.h"

#include "proxyd/dns/authority.h"
#include "proxyd/dns/cell.h"

/* ---- the resolvers ---- */

struct dns_upstreams {
    struct dns_resolver resolver;
};

struct dns_forward {
    struct dns_upstreams *upstreams;
    struct dns_question q;
    dns_forward_cb cb;
    void *data;
    ev_timer timer;
};

static struct {
    struct ev_loop *loop;
    unsigned upstreams, forwards, asked;
    bool never;
    int error;
    uint8_t rcode;
    enum dnssec_status dnssec;
} world;

int dns_upstreams_new(struct ev_loop *loop, const struct dns_resolver *resolvers, size_t n,
                      const struct endpoint_addr *bootstrap, size_t nbootstrap, struct dns_upstreams **ret)
{
    (void)loop;
    (void)bootstrap;
    (void)nbootstrap;
    assert_int_equal(n, 1);
    *ret = calloc(1, sizeof(**ret));
    assert_non_null(*ret);
    (*ret)->resolver = resolvers[0];
    world.upstreams++;
    return 0;
}

struct dns_upstreams *dns_upstreams_free(struct dns_upstreams *all)
{
    assert_int_equal(world.forwards, 0);
    world.upstreams -= all != NULL;
    free(all);
    return NULL;
}

static void say(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_forward *f = w->data;
    struct dns_forward_result result = {.error = world.error,
                                        .resolver = &f->upstreams->resolver,
                                        .latency_us = 1,
                                        .dnssec = world.dnssec,
                                        .dnssec_why = "because"};
    struct name name;
    struct buf b;

    (void)loop;
    (void)events;
    buf_init(&b, 4096);
    put_header(&b, 1, 0x8180u | world.rcode, world.rcode ? 0 : 1, 0, 0);
    put_question(&b, &f->q);
    assert_true(dns_name_host(&f->q.qname, &name));
    if (!world.rcode)
        put_addr(&b, name.text, 60, f->q.qtype == DNS_TYPE_A ? "93.184.216.34" : "2606:2800:220:1::1");
    if (world.error == 0) {
        result.msg = b.data;
        result.len = b.len;
    }
    f->cb(f->data, &result);
    buf_done(&b);
}

int dns_forward_new(struct dns_upstreams *all, const struct dns_question *q, struct dns_counters *counters,
                    dns_forward_cb cb, void *data, struct dns_forward **ret)
{
    struct dns_forward *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    *f = (struct dns_forward){all, *q, cb, data, {0}};
    ev_timer_init(&f->timer, say, 0.001, 0.);
    f->timer.data = f;
    if (!world.never)
        ev_timer_start(world.loop, &f->timer);
    counters->upstream++;
    world.asked++;
    world.forwards++;
    *ret = f;
    return 0;
}

struct dns_forward *dns_forward_free(struct dns_forward *f)
{
    if (!f)
        return NULL;
    ev_timer_stop(world.loop, &f->timer);
    world.forwards--;
    free(f);
    return NULL;
}

/* ---- a cell that only dials ---- */

static void restart(struct rig *rig)
{
    struct dns_cell_config cfg = {
        .loop = rig->loop,
        .run_id = "01930000-0000-7000-8000-000000000001",
        .policy = &rig->policy,
        .udp_fd = -EBADF,
        .tcp_fd = -EBADF,
        .events = &rig_events,
        .self = rig,
    };

    rig->cell = dns_cell_free(rig->cell);
    assert_int_equal(dns_cell_new(&cfg, &rig->cell), 0);
}

static int setup(void **state)
{
    static const uint16_t only_a[] = {DNS_TYPE_A};

    memset(&world, 0, sizeof(world));
    rig_setup(state);
    struct rig *rig = *state;
    world.loop = rig->loop;
    rig->policy.qtypes = only_a;
    rig->policy.nqtypes = 1;
    restart(rig);
    return 0;
}

static int teardown(void **state)
{
    rig_teardown(state);
    assert_int_equal(world.upstreams, 0);
    assert_int_equal(world.forwards, 0);
    return 0;
}

struct dialed {
    bool done;
    int result;
    enum dns_reason_code reason;
    size_t n;
};

static void on_resolved(void *data, int result, enum dns_reason_code reason, const struct addr *addrs,
                        size_t n)
{
    (void)addrs;
    *(struct dialed *)data = (struct dialed){true, result, reason, n};
}

static struct dialed dial(struct rig *rig, const char *text)
{
    struct dialed o = {.done = false};
    struct name name = host_of(text);
    struct dns_resolve *r;

    assert_int_equal(dns_resolve(rig->cell, &name, on_resolved, &o, &r), 0);
    for (unsigned i = 0; i < 1000 && !o.done; i++)
        rig_run(rig, 2);
    assert_true(o.done);
    return o;
}

static const struct seen_event *last(struct rig *rig, size_t back)
{
    assert_true(rig->nevents > back);
    return &rig->events[rig->nevents - 1 - back];
}

static void fails_for_dnssec(struct rig *rig, enum dnssec_status status)
{
    unsigned before = world.asked;

    world.dnssec = status;
    for (unsigned i = 1; i <= 2; i++) {
        struct dialed o = dial(rig, "www.example.com");
        assert_int_equal(o.result, -EHOSTUNREACH);
        assert_int_equal(o.reason, DNS_DNSSEC_FAILED);
        assert_int_equal(world.asked, before + i); /* nothing is kept */
        const struct seen_event *d = last(rig, 0), *a = last(rig, 1);
        assert_true(d->kind == 'd' && a->kind == 'a');
        assert_string_equal(d->authority, "dnssec");
        assert_int_equal(d->dnssec, status);
        assert_string_equal(d->why, "because");
        assert_string_equal(d->resolver, "up");
        assert_int_equal(a->reason, DNS_DNSSEC_FAILED);
        assert_int_equal(a->dnssec, status);
        assert_int_equal(a->nanswers, 0);
    }
}

static void a_bogus_answer_is_no_answer(void **state)
{
    fails_for_dnssec(*state, DNSSEC_BOGUS);
}

static void fail_closed_wants_signatures(void **state)
{
    struct rig *rig = *state;

    rig->resolvers[0].fail_closed = true;
    restart(rig);
    fails_for_dnssec(rig, DNSSEC_INSECURE);
    fails_for_dnssec(rig, DNSSEC_INDETERMINATE);
    fails_for_dnssec(rig, dnssec_status_absent);
    world.dnssec = DNSSEC_SECURE;
    assert_int_equal(dial(rig, "www.example.com").result, 0);
    assert_int_equal(last(rig, 0)->dnssec, DNSSEC_SECURE);
}

static void an_unsigned_answer_passes_otherwise(void **state)
{
    struct rig *rig = *state;

    world.dnssec = DNSSEC_INSECURE;
    assert_int_equal(dial(rig, "www.example.com").result, 0);
    assert_int_equal(last(rig, 0)->dnssec, DNSSEC_INSECURE);
}

static void bogus_is_not_made_good_by_an_old_answer(void **state)
{
    struct rig *rig = *state;
    struct dns_found *f;
    struct name name = host_of("www.example.com");
    struct dns_key key = dns_key_of(&name, DNS_TYPE_A);
    bool stale;

    rig->policy.max_stale_s = 1000;
    restart(rig);
    assert_int_equal(dial(rig, "www.example.com").result, 0);
    f = dns_authority_cached(rig->cell->authority, &key, clock_boottime_us(), &stale);
    assert_non_null(f);
    f->at_us -= 100 * 1000000ull; /* its TTL is over */
    fails_for_dnssec(rig, DNSSEC_BOGUS);
    /* while a failure is */
    world.dnssec = dnssec_status_absent;
    world.error = -ETIMEDOUT;
    assert_int_equal(dial(rig, "www.example.com").result, 0);
    assert_true(last(rig, 0)->stale && last(rig, 0)->kind == 'a');
}

static void a_question_that_nobody_waits_for_is_given_up(void **state)
{
    struct rig *rig = *state;
    struct name name = host_of("www.example.com");
    struct dialed o = {.done = false};
    struct dns_resolve *r;

    world.never = true;
    assert_int_equal(dns_resolve(rig->cell, &name, on_resolved, &o, &r), 0);
    rig_run(rig, 20);
    assert_int_equal(world.forwards, 1);
    rig->cell = dns_cell_free(rig->cell);
    assert_int_equal(o.result, -ECANCELED);
    assert_int_equal(world.forwards, 0);
    assert_int_equal(world.upstreams, 0); /* nor is the authority kept */
}

static void other_resolvers_are_another_authority_at_once(void **state)
{
    struct rig *rig = *state;
    struct name name = host_of("www.example.com");
    struct dialed o = {.done = false};
    struct dns_resolve *r;

    assert_int_equal(dial(rig, "a.wild.test").result, 0);
    world.never = true;
    assert_int_equal(dns_resolve(rig->cell, &name, on_resolved, &o, &r), 0);
    rig_run(rig, 20);
    (void)snprintf(rig->resolvers[0].id, sizeof(rig->resolvers[0].id), "new");
    assert_int_equal(dns_cell_policy_set(rig->cell, &rig->policy), 0);
    assert_true(o.done && o.result == -EHOSTUNREACH);
    assert_int_equal(world.upstreams, 1);
    world.never = false;
    unsigned before = world.asked;
    assert_int_equal(dial(rig, "a.wild.test").result, 0); /* the old one's answer is not used */
    assert_int_equal(world.asked, before + 1);
    assert_string_equal(last(rig, 0)->resolver, "new");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_bogus_answer_is_no_answer),
        T(fail_closed_wants_signatures),
        T(an_unsigned_answer_passes_otherwise),
        T(bogus_is_not_made_good_by_an_old_answer),
        T(a_question_that_nobody_waits_for_is_given_up),
        T(other_resolvers_are_another_authority_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
