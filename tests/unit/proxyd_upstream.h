/* SPDX-License-Identifier: MIT */
/* What the tests of the upstream transports share: one question at a time to a set of resolvers, and what
 * came back. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <signal.h>

#include "common/base/clock.h"
#include "proxyd/resolver/forward.h"
#include "proxyd/resolver/server.h"

#define UNUSED __attribute__((unused))

#define ASK_DEADLINE_US 20000000u /* far beyond DNS_UPSTREAM_MS: a slow machine is no failure */

struct heard {
    bool done;
    int error;
    unsigned rcode, ancount;
    uint8_t msg[DNS_MESSAGE_MAX * 2];
    size_t len;
    char resolver[32];
    enum dnssec_status dnssec;
    char why[256]; /* of either kind */
    struct dns_forward *forward;
};

struct asker {
    struct ev_loop *loop;
    ev_timer tick;
    struct dns_upstreams *all;
    struct dns_counters counters;
    struct heard heard;
};

static void asker_tick(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
}

UNUSED static struct endpoint_addr local(uint16_t port)
{
    return (struct endpoint_addr){{AF_INET, {127, 0, 0, 1}}, port};
}

UNUSED static void asker_open(struct asker *a)
{
    *a = (struct asker){.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV)};
    signal(SIGPIPE, SIG_IGN); /* as proxyd's main does */
    ev_timer_init(&a->tick, asker_tick, 0.005, 0.005);
    ev_timer_start(a->loop, &a->tick);
}

UNUSED static void asker_resolvers(struct asker *a, const struct dns_resolver *v, size_t n)
{
    a->all = dns_upstreams_free(a->all);
    assert_int_equal(dns_upstreams_new(a->loop, v, n, NULL, 0, &a->all), 0);
}

UNUSED static void asker_close(struct asker *a)
{
    dns_upstreams_free(a->all);
    ev_loop_destroy(a->loop);
}

static void asker_heard(void *data, const struct dns_forward_result *r)
{
    struct heard *h = data;

    assert_false(h->done);
    h->done = true;
    h->error = r->error;
    h->dnssec = r->dnssec;
    (void)snprintf(h->resolver, sizeof(h->resolver), "%.31s", r->resolver ? r->resolver->id : "");
    const char *why = r->dnssec_why ? r->dnssec_why : r->why;
    (void)snprintf(h->why, sizeof(h->why), "%s", why ? why : "");
    if (r->error == 0) {
        assert_true(r->len >= DNS_HEADER_LEN && r->len <= sizeof(h->msg));
        memcpy(h->msg, r->msg, r->len);
        h->len = r->len;
        h->rcode = r->msg[3] & 0xf;
        h->ancount = (unsigned)r->msg[6] << 8 | r->msg[7];
    }
    h->forward = dns_forward_free(h->forward);
}

UNUSED static struct dns_question ask_question(const char *name, uint16_t type)
{
    struct dns_question q = {.qtype = type, .qclass = DNS_CLASS_IN};
    struct name n;

    assert_int_equal(name_parse(str_of(name), NAME_DNS, &n), NAME_OK);
    dns_name_from_host(&n, &q.qname);
    return q;
}

UNUSED static void ask_start(struct asker *a, struct heard *h, const char *name, uint16_t type)
{
    struct dns_question q = ask_question(name, type);

    *h = (struct heard){.done = false};
    assert_int_equal(dns_forward_new(a->all, &q, &a->counters, asker_heard, h, &h->forward), 0);
    assert_false(h->done); /* never from inside the call */
}

UNUSED static void ask_wait(struct asker *a, struct heard *h)
{
    uint64_t end = clock_boottime_us() + ASK_DEADLINE_US;

    while (!h->done && clock_boottime_us() < end)
        ev_run(a->loop, EVRUN_ONCE);
    if (!h->done)
        fail_msg("no answer and no failure");
}

UNUSED static const struct heard *ask(struct asker *a, const char *name, uint16_t type)
{
    ask_start(a, &a->heard, name, type);
    ask_wait(a, &a->heard);
    return &a->heard;
}

/* Runs the loop for a while: only to let something arrive that must make no difference. */
UNUSED static void asker_run(struct asker *a, unsigned ms)
{
    uint64_t end = clock_boottime_us() + 1000ull * ms;

    while (clock_boottime_us() < end)
        ev_run(a->loop, EVRUN_ONCE);
}

/* The first A record of the answer, as text. */
UNUSED static const char *heard_addr(const struct heard *h)
{
    struct dns_reader r = dns_reader_of(h->msg, h->len);
    static char text[ADDR_TEXT_MAX];
    struct dns_question q;
    struct dns_header head;
    struct dns_rr rr;

    if (dns_header_read(&r.at, &head) < 0 || dns_question_read(&r, &q) < 0)
        return "unreadable";
    for (unsigned i = 0; i < head.ancount && dns_rr_read(&r, &rr) == 0; i++) {
        struct addr a = {.family = AF_INET};
        if (rr.type != DNS_TYPE_A || rr.rdlen != 4)
            continue;
        memcpy(a.bytes, h->msg + rr.rdata, 4);
        return addr_format(&a, text);
    }
    return "none";
}

#define ANSWERED(h, address)                                                                                 \
    do {                                                                                                     \
        const struct heard *h_ = (h);                                                                        \
        if (h_->error)                                                                                       \
            fail_msg("error %d: %s", h_->error, h_->why);                                                    \
        assert_int_equal(h_->rcode, DNS_NOERROR);                                                            \
        assert_string_equal(heard_addr(h_), address);                                                        \
    } while (0)
