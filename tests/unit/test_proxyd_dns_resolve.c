/* SPDX-License-Identifier: MIT */
/* Names for proxyd's own dials: one judgement, one cache and the same events as for the cell. */
#include "tests/unit/test_proxyd_dns_rig.h"

struct resolved {
    unsigned calls;
    int result;
    enum dns_reason_code reason;
    size_t n;
    struct addr addrs[LIMIT_DIAL_ADDRS];
};

static void on_resolved(void *data, int result, enum dns_reason_code reason, const struct addr *addrs,
                        size_t n)
{
    struct resolved *o = data;

    o->calls++;
    o->result = result;
    o->reason = reason;
    o->n = n;
    memcpy(o->addrs, addrs, n * sizeof(*addrs));
}

static void resolve(struct rig *rig, const char *name, struct resolved *o, unsigned ms)
{
    struct name host = host_of(name);
    struct dns_resolve *r;
    uint64_t end = clock_boottime_us() + (uint64_t)ms * 1000;

    *o = (struct resolved){0};
    assert_int_equal(dns_resolve(rig->cell, &host, on_resolved, o, &r), 0);
    assert_int_equal(o->calls, 0); /* never from inside */
    while (o->calls == 0 && clock_boottime_us() < end)
        ev_run(rig->loop, EVRUN_ONCE);
    assert_int_equal(o->calls, 1);
}

static void both_families_in_turn(void **state)
{
    struct rig *rig = *state;
    struct resolved o;
    char text[ADDR_TEXT_MAX];

    rig->script = script_address;
    resolve(rig, "www.example.com", &o, 2000);
    assert_int_equal(o.result, 0);
    assert_int_equal(o.n, 2);
    assert_string_equal(addr_format(&o.addrs[0], text), "2606:2800:220:1::1");
    assert_string_equal(addr_format(&o.addrs[1], text), "93.184.216.34");
    assert_int_equal(rig->udp_seen, 2);
    assert_int_equal(rig->nevents, 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(rig->events[i].own && rig->events[i].wants_ack);
    /* from now on from the cache, for both sides */
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
    resolve(rig, "www.example.com", &o, 2000);
    assert_int_equal(o.n, 2);
    assert_int_equal(rig->udp_seen, 2);
    assert_int_equal(rig->nevents, 5); /* the dial found nothing that the log does not have */
    assert_true(rig->events[4].cached && !rig->events[4].own);
}

static void only_types_that_may_be_asked(void **state)
{
    static const uint16_t a = DNS_TYPE_A, txt = 16;
    struct rig *rig = *state;
    struct resolved o;

    rig->script = script_address;
    rig->policy.qtypes = &a;
    rig->policy.nqtypes = 1;
    resolve(rig, "www.example.com", &o, 2000);
    assert_int_equal(o.n, 1);
    assert_int_equal(o.addrs[0].family, AF_INET);
    assert_int_equal(rig->udp_seen, 1);
    rig->policy.qtypes = &txt;
    resolve(rig, "a.wild.test", &o, 2000);
    assert_int_equal(o.result, -EPERM);
    assert_int_equal(o.reason, DNS_TYPE_DENIED);
    assert_int_equal(rig->udp_seen, 1);
}

static void a_name_off_the_list_is_not_asked(void **state)
{
    struct rig *rig = *state;
    struct resolved o;

    resolve(rig, "evil.test", &o, 2000);
    assert_int_equal(o.result, -EPERM);
    assert_int_equal(o.reason, DNS_ALLOWLIST_MISS);
    assert_int_equal(rig->udp_seen, 0);
    assert_int_equal(rig->nevents, 1);
    assert_false(rig->events[0].allow);
}

static void script_by_arg(struct rig *rig, const struct dns_ask *ask, bool tcp, struct buf *b)
{
    bool v6 = ask->q.qtype == DNS_TYPE_AAAA;

    (void)tcp;
    switch (rig->arg) {
    case 0: /* neither */
        put_header(b, ask->id, 0x8180 | DNS_NXDOMAIN, 0, 0, 0);
        put_question(b, &ask->q);
        break;
    case 1: /* IPv4 only */
        put_header(b, ask->id, 0x8180, v6 ? 0 : 1, 0, 0);
        put_question(b, &ask->q);
        if (!v6)
            put_addr(b, ask->name.text, 60, "93.184.216.34");
        break;
    case 2: /* private */
        put_header(b, ask->id, 0x8180, 1, 0, 0);
        put_question(b, &ask->q);
        put_addr(b, ask->name.text, 60, v6 ? "fd00::1" : "10.0.0.1");
        break;
    case 3: /* no answer for AAAA */
        if (!v6)
            script_address(rig, ask, tcp, b);
        break;
    default: /* many, and of no lasting value */
        put_header(b, ask->id, 0x8180, v6 ? 0 : 40, 0, 0);
        put_question(b, &ask->q);
        for (unsigned i = 0; i < (v6 ? 0u : 40u); i++)
            put_addr(b, ask->name.text, 0, "93.184.216.34");
    }
}

static void every_end_has_its_errno(void **state)
{
    struct rig *rig = *state;
    struct resolved o;

    rig->script = script_by_arg;
    resolve(rig, "a.wild.test", &o, 2000);
    assert_int_equal(o.result, -ENOENT);
    rig->arg = 1;
    resolve(rig, "b.wild.test", &o, 2000);
    assert_int_equal(o.result, 0);
    assert_int_equal(o.n, 1);
    rig->arg = 2;
    resolve(rig, "c.wild.test", &o, 2000);
    assert_int_equal(o.result, -EPERM);
    assert_int_equal(o.reason, DNS_REBIND_REJECTED);
    rig->arg = 4;
    resolve(rig, "d.wild.test", &o, 2000);
    assert_int_equal(o.result, 0);
    assert_int_equal(o.n, LIMIT_DIAL_ADDRS);
    rig->mode = ACK_FAIL;
    resolve(rig, "e.wild.test", &o, 2000);
    assert_int_equal(o.result, -EIO);
    rig->mode = ACK_AT_ONCE;
    rig->policy.nresolvers = 0;
    rig_restart(rig);
    resolve(rig, "f.wild.test", &o, 2000);
    assert_int_equal(o.result, -EHOSTUNREACH);
    assert_int_equal(o.reason, DNS_UPSTREAM_FAILURE);
}

static void a_slow_family_is_not_waited_for(void **state)
{
    struct rig *rig = *state;
    uint64_t start = clock_boottime_us();
    struct resolved o;

    rig->script = script_by_arg;
    rig->arg = 3;
    resolve(rig, "www.example.com", &o, 5000);
    assert_int_equal(o.n, 1);
    assert_true(clock_boottime_us() - start < 1000000);
    /* its answer has nobody left to go to, and no more than that */
    rig_run(rig, 4600);
    assert_int_equal(o.calls, 1);
    assert_int_equal(rig->events[rig->nevents - 1].reason, DNS_UPSTREAM_TIMEOUT);
}

static void silence_is_a_timeout(void **state)
{
    struct rig *rig = *state;
    struct resolved o;

    resolve(rig, "www.example.com", &o, 6000);
    assert_int_equal(o.result, -ETIMEDOUT);
    assert_int_equal(o.reason, DNS_UPSTREAM_TIMEOUT);
}

static void many_wait_their_turn(void **state)
{
    static struct resolved o[300];
    struct rig *rig = *state;
    struct name host = host_of("www.example.com");
    struct dns_resolve *r;

    memset(o, 0, sizeof(o));
    rig->mode = ACK_HOLD;
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(dns_resolve(rig->cell, &host, on_resolved, &o[i], &r), 0);
    rig_run(rig, 50);
    assert_int_equal(rig->nacks, 2 * DNS_RESOLVE_ACTIVE_MAX);
    /* the cell's own queries are not in their way */
    client_ask(rig, 1, "www.example.com", DNS_TYPE_A);
    rig_run(rig, 20);
    assert_int_equal(rig->nacks, 2 * DNS_RESOLVE_ACTIVE_MAX + 1);
    rig->script = script_address;
    rig->mode = ACK_AT_ONCE;
    rig_ack_all(rig, 0);
    rig_run(rig, 500);
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(o[i].calls, 1);
        assert_int_equal(o[i].n, 2);
    }
    /* only those that were under way before the first answer went out */
    assert_in_range(rig->udp_seen, 2, 2 * DNS_RESOLVE_ACTIVE_MAX + 1);
}

static void given_up_resolves_still_count(void **state)
{
    static struct resolved o[200];
    struct rig *rig = *state;
    struct name host = host_of("www.example.com");
    struct dns_resolve *r[200];

    memset(o, 0, sizeof(o));
    /* begun and cancelled over and over: the sockets they leave behind stay bounded */
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(dns_resolve(rig->cell, &host, on_resolved, &o[i], &r[i]), 0);
        ev_run(rig->loop, EVRUN_NOWAIT);
        ev_run(rig->loop, EVRUN_NOWAIT);
        dns_resolve_cancel(r[i]);
    }
    rig_run(rig, 50);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(o[i].calls, 0);
    assert_in_range(rig->udp_seen, 2, 2 * DNS_RESOLVE_ACTIVE_MAX);
}

static void the_queue_is_bounded(void **state)
{
    static struct resolved o;
    struct rig *rig = *state;
    struct name host = host_of("www.example.com");
    struct dns_resolve *r;

    o = (struct resolved){0};
    for (size_t i = 0; i < DNS_RESOLVE_QUEUE_MAX; i++)
        assert_int_equal(dns_resolve(rig->cell, &host, on_resolved, &o, &r), 0);
    assert_int_equal(dns_resolve(rig->cell, &host, on_resolved, &o, &r), -EDQUOT);
    rig_run(rig, 20); /* some under way, the rest waiting: all are called back at the end */
    rig->cell = dns_cell_free(rig->cell);
    assert_int_equal(o.calls, DNS_RESOLVE_QUEUE_MAX);
    assert_int_equal(o.result, -ECANCELED);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(both_families_in_turn),   T(only_types_that_may_be_asked),    T(a_name_off_the_list_is_not_asked),
        T(every_end_has_its_errno), T(a_slow_family_is_not_waited_for), T(silence_is_a_timeout),
        T(many_wait_their_turn),    T(given_up_resolves_still_count),   T(the_queue_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
