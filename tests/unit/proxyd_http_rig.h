/* SPDX-License-Identifier: MIT */
/* For the tests of HTTP sessions: a session between a client of the test's own and servers of the test's own,
 * with a gate that allows by a table, opens connections as socket pairs and writes down what it is asked. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "proto/words.h"
#include "proxyd/http/session_state.h"

#define RIG_PENDING 32

struct upstream {
    struct rig *rig;
    upstream_done done;
    void *self;
    bool again;
    struct ev_timer timer;
    struct upstream *next, **at;
};

struct rig {
    struct ev_loop *loop;
    uint8_t scratch[HTTP_SCRATCH];
    struct http_session *session;
    int client;               /* the test's end */
    int servers[RIG_PENDING]; /* the test's ends of what was opened, in order */
    size_t nservers;
    struct upstream *pending;
    bool hold;       /* decisions stay open until rig_release */
    uint32_t refuse; /* decisions are denied with this reason */
    bool no_quota;
    const char *outlawed; /* a name that another policy does not allow any more */
    bool ended;
    char log[16384]; /* "open a.example;again a.example;deny l7_... b.example;" */
};

static struct rig rig;

static inline void rig_log(const char *what, const char *more, const struct judgement *j)
{
    size_t n = strlen(rig.log);
    assert_true(n + 400 < sizeof(rig.log));
    snprintf(rig.log + n, sizeof(rig.log) - n, "%s %s%s%s;", what, more, *more ? " " : "",
             j->literal ? "literal" : j->name.text);
}

static inline void rig_judge(struct gate *g, const struct endpoint_addr *original,
                             const struct http_host *host, uint32_t protocol, struct judgement *ret)
{
    static const struct {
        const char *name;
        uint32_t protocol;
    } allowed[] = {{"a.example", L7_HTTP},
                   {"b.example", L7_HTTP},
                   {"a.example", L7_H2C},
                   {"b.example", L7_H2C},
                   {"h2only.example", L7_H2C}};
    assert_ptr_equal(g, (struct gate *)&rig);
    bool h2c = protocol == L7_H2C;
    *ret = (struct judgement){.protocol = protocol, .rule = -1, .name = host->name};
    if (host->port != 0 && host->port != original->port) {
        ret->reason = L7_NAME_CONFLICT;
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
        if (strcmp(allowed[i].name, host->name.text) == 0 && allowed[i].protocol == protocol)
            ret->allow = !rig.outlawed || strcmp(rig.outlawed, allowed[i].name) != 0;
    ret->rule = ret->allow ? 0 : -1;
    ret->reason = ret->allow ? (h2c ? L7_H2_AUTHORITY_ALLOWLIST_MATCH : L7_HTTP_HOST_ALLOWLIST_MATCH)
                             : (h2c ? L7_H2_AUTHORITY_ALLOWLIST_MISS : L7_HTTP_HOST_ALLOWLIST_MISS);
}

static inline void rig_unlink(struct upstream *u)
{
    ev_timer_stop(rig.loop, &u->timer);
    *u->at = u->next;
    if (u->next)
        u->next->at = u->at;
    free(u);
}

static inline void rig_on_decided(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct upstream *u = w->data;
    struct upstream copy = *u;
    struct upstream_result result = {.reason = rig.refuse, .fd = -EBADF};
    int pair[2];
    (void)loop;
    (void)events;
    rig_unlink(u);
    if (!rig.refuse && !copy.again) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        result.fd = pair[0];
        assert_true(rig.nservers < RIG_PENDING);
        rig.servers[rig.nservers++] = pair[1];
    }
    copy.done(copy.self, &result);
}

static inline int rig_decide(const struct upstream_want *want, bool again, upstream_done done, void *self,
                             struct upstream **ret)
{
    struct upstream *u = calloc(1, sizeof(*u));
    assert_true(want->j.allow);
    rig_log(again ? "again" : "open", "", &want->j);
    *u = (struct upstream){.rig = &rig, .done = done, .self = self, .again = again};
    u->next = rig.pending;
    u->at = &rig.pending;
    if (u->next)
        u->next->at = &u->next;
    rig.pending = u;
    ev_timer_init(&u->timer, rig_on_decided, 0, 0);
    u->timer.data = u;
    if (!rig.hold)
        ev_timer_start(rig.loop, &u->timer);
    *ret = u;
    return 0;
}

static inline int rig_open(struct gate *g, const struct upstream_want *want, upstream_done done, void *self,
                           struct upstream **ret)
{
    (void)g;
    return rig_decide(want, false, done, self, ret);
}

static inline int rig_again(struct gate *g, const struct upstream_want *want,
                            const struct endpoint_addr *dialed, upstream_done done, void *self,
                            struct upstream **ret)
{
    (void)g;
    (void)dialed;
    return rig_decide(want, true, done, self, ret);
}

static inline void rig_cancel(struct upstream *u)
{
    if (u)
        rig_unlink(u);
}

static inline void rig_release(void)
{
    rig.hold = false;
    for (struct upstream *u = rig.pending; u; u = u->next)
        ev_timer_start(rig.loop, &u->timer);
}

static inline void rig_deny(struct gate *g, const struct upstream_want *want,
                            const struct upstream_result *result)
{
    (void)g;
    (void)result;
    rig_log("deny", enum_text(&enum_l7_reason, want->j.reason), &want->j);
}

static inline bool rig_count(struct gate *g, enum quota_direction d, uint64_t n)
{
    (void)g;
    (void)d;
    assert_true(n > 0);
    return !rig.no_quota;
}

static inline double rig_wait(struct gate *g)
{
    (void)g;
    return 0;
}

static inline void rig_done(void *self)
{
    struct rig *r = self;
    assert_false(r->ended);
    r->ended = true;
    r->session = NULL;
}

/* A session whose client has said this already. */
static inline void rig_start_bytes(const void *p, size_t n)
{
    static const struct endpoint_addr original = {.addr = {.family = AF_INET, .bytes = {93, 184, 216, 34}},
                                                  .port = 80};
    static const struct endpoint_addr from = {.addr = {.family = AF_INET, .bytes = {10, 88, 0, 2}},
                                              .port = 4};
    const struct http_env env = {
        .gate = (struct gate *)&rig,
        .scratch = rig.scratch,
        .judge = rig_judge,
        .open = rig_open,
        .again = rig_again,
        .cancel = rig_cancel,
        .deny = rig_deny,
        .count = rig_count,
        .wait = rig_wait,
    };
    struct http_env mine = env;
    struct buf seen;
    int pair[2];
    signal(SIGPIPE, SIG_IGN);
    memset(&rig, 0, sizeof(rig));
    rig.loop = ev_loop_new(EVFLAG_AUTO);
    mine.loop = rig.loop;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    rig.client = pair[1];
    buf_init(&seen, LIMIT_PEEK);
    buf_put(&seen, p, n);
    assert_int_equal(http_session_new(&mine, pair[0], &original, &from, &seen, rig_done, &rig, &rig.session),
                     0);
    assert_int_equal(seen.len, 0);
}

static inline void rig_start(const char *text)
{
    rig_start_bytes(text, strlen(text));
}

static inline void rig_stop(void)
{
    http_session_free(rig.session);
    assert_null(rig.pending);
    for (size_t i = 0; i < rig.nservers; i++)
        cleanup_closep(&rig.servers[i]);
    cleanup_closep(&rig.client);
    ev_loop_destroy(rig.loop);
}

static inline void rig_on_tick(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
}

/* One turn of the loop, at most a few milliseconds. */
static inline void rig_turn(void)
{
    struct ev_timer t;
    ev_timer_init(&t, rig_on_tick, 0.002, 0);
    ev_timer_start(rig.loop, &t);
    ev_run(rig.loop, EVRUN_ONCE);
    ev_timer_stop(rig.loop, &t);
}

/* Until nothing happens any more, as far as a few turns show. */
static inline void rig_calm(void)
{
    for (int i = 0; i < 8; i++)
        rig_turn();
}

/* cond is evaluated until it is true, never again. */
#define RIG_UNTIL(cond)                                                                                      \
    do {                                                                                                     \
        uint64_t end_ = clock_boottime_us() + 10000000;                                                      \
        bool met_ = false;                                                                                   \
        while (!(met_ = (cond)) && clock_boottime_us() < end_)                                               \
            rig_turn();                                                                                      \
        if (!met_)                                                                                           \
            fail_msg("not in time: " #cond);                                                                 \
    } while (0)
