/* SPDX-License-Identifier: MIT */
/* A whole session between any client and any server: two bytes say how many of the rest are the client's, the
 * others are what every server answers. Nothing may crash or hang on; and what goes to a server over HTTP/1
 * must be, read again, requests for the one allowed host and nothing else. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proxyd/http/body.h"
#include "proxyd/http/session_state.h"

#define SERVERS 8
#define TURNS   400

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct endpoint_addr original = {.addr = {.family = AF_INET, .bytes = {192, 0, 2, 1}},
                                              .port = 80};

struct upstream {
    upstream_done done;
    void *self;
    bool again;
    struct upstream *next, **at;
};

static struct {
    struct ev_loop *loop;
    uint8_t scratch[HTTP_SCRATCH];
    struct upstream *pending;
    int servers[SERVERS];
    struct buf heard[SERVERS];
    size_t n;
    const uint8_t *says;
    size_t says_len;
    bool ended, h2c;
} world;

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void on_judge(struct gate *g, const struct endpoint_addr *to, const struct http_host *host,
                     uint32_t protocol, struct judgement *ret)
{
    (void)g;
    (void)to;
    *ret =
        (struct judgement){.protocol = protocol, .rule = -1, .name = host->name, .reason = L7_NAME_CONFLICT};
    if (host->literal.family != AF_UNSPEC || (host->port != 0 && host->port != 80))
        return;
    ret->allow = str_is(name_str(&host->name), "a.example") ||
                 (protocol == L7_H2C && str_is(name_str(&host->name), "h.example"));
    world.h2c |= ret->allow && protocol == L7_H2C;
    ret->rule = ret->allow ? 0 : -1;
    ret->reason = ret->allow ? L7_HTTP_HOST_ALLOWLIST_MATCH : L7_HTTP_HOST_ALLOWLIST_MISS;
}

static int ask(const struct upstream_want *want, bool again, upstream_done done, void *self,
               struct upstream **ret)
{
    struct upstream *u = malloc(sizeof(*u));
    check(u && want->j.allow);
    *u = (struct upstream){done, self, again, world.pending, &world.pending};
    if (u->next)
        u->next->at = &u->next;
    world.pending = u;
    *ret = u;
    return 0;
}

static int on_open(struct gate *g, const struct upstream_want *want, upstream_done done, void *self,
                   struct upstream **ret)
{
    (void)g;
    return world.n < SERVERS ? ask(want, false, done, self, ret) : -EDQUOT;
}

static int on_again(struct gate *g, const struct upstream_want *want, const struct endpoint_addr *dialed,
                    upstream_done done, void *self, struct upstream **ret)
{
    (void)g;
    (void)dialed;
    return ask(want, true, done, self, ret);
}

static void on_cancel(struct upstream *u)
{
    if (!u)
        return;
    *u->at = u->next;
    if (u->next)
        u->next->at = u->at;
    free(u);
}

static void decide(void)
{
    struct upstream u = *world.pending;
    struct upstream_result result = {.fd = -EBADF, .dialed = original};
    int pair[2];
    on_cancel(world.pending);
    if (!u.again && world.n < SERVERS) {
        check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        result.fd = pair[0];
        buf_init(&world.heard[world.n], 1 << 22);
        world.servers[world.n++] = pair[1];
        (void)!send(pair[1], world.says, world.says_len, MSG_NOSIGNAL);
    } else if (!u.again) {
        result.reason = L7_UPSTREAM_UNREACHABLE;
    }
    u.done(u.self, &result);
}

static void on_deny(struct gate *g, const struct upstream_want *want, const struct upstream_result *result)
{
    (void)g;
    (void)result;
    check(!want->j.allow && want->j.reason != 0);
}

static bool on_count(struct gate *g, enum quota_direction d, uint64_t n)
{
    (void)g;
    (void)d;
    return n > 0;
}

static double on_wait(struct gate *g)
{
    (void)g;
    return 0;
}

static void on_done(void *self)
{
    (void)self;
    check(!world.ended);
    world.ended = true;
}

static bool drain(int fd, struct buf *to)
{
    uint8_t got[65536];
    ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);
    if (n > 0 && to)
        buf_put(to, got, (size_t)n);
    return n > 0;
}

/* Everything a server heard is whole requests for the allowed host, the last one perhaps cut off. Behind a
 * websocket anything goes. */
static void check_heard(const struct buf *b)
{
    size_t at = 0;
    while (at < b->len) {
        struct http_head_reader r = {0};
        struct http_head head;
        struct http_body body;
        enum http_head_outcome o = http_head_read(&r, b->data + at, b->len - at, &head);
        if (o == HTTP_HEAD_MORE)
            return;
        check(o == HTTP_HEAD_DONE && str_is(name_str(&head.host.name), "a.example"));
        if (head.websocket)
            return;
        at += head.len;
        http_body_init(&body, &head);
        ssize_t n = http_body_take(&body, b->data + at, b->len - at);
        check(n >= 0);
        at += (size_t)n;
    }
}

static void run(struct http_session **s, int client)
{
    for (int quiet = 0, i = 0; i < TURNS && quiet < 4 && !world.ended; i++) {
        bool any = drain(client, NULL);
        ev_run(world.loop, EVRUN_NOWAIT);
        for (size_t k = 0; k < world.n; k++)
            any |= drain(world.servers[k], &world.heard[k]);
        if (world.pending && !world.ended) {
            decide();
            any = true;
        }
        quiet = any ? 0 : quiet + 1;
        if (quiet == 2) { /* the servers, then the client, end their side */
            for (size_t k = 0; k < world.n; k++)
                shutdown(world.servers[k], SHUT_WR);
            shutdown(client, SHUT_WR);
        }
    }
    if (!world.ended)
        http_session_free(*s);
    check(!world.pending);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct http_env env = {(struct gate *)&world,
                                 NULL,
                                 world.scratch,
                                 on_judge,
                                 on_open,
                                 on_again,
                                 on_cancel,
                                 on_deny,
                                 on_count,
                                 on_wait};
    struct http_env mine = env;
    struct http_session *s = NULL;
    struct buf seen;
    int pair[2];
    if (size < 3)
        return 0;
    signal(SIGPIPE, SIG_IGN);
    size_t client = (size_t)(data[0] | data[1] << 8);
    client = client < 1 ? 1 : client > size - 2 ? size - 2 : client;
    if (!world.loop)
        world.loop = ev_loop_new(EVFLAG_AUTO);
    mine.loop = world.loop;
    world.says = data + 2 + client;
    world.says_len = size - 2 - client;
    world.n = 0;
    world.ended = world.h2c = false;
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    buf_init(&seen, LIMIT_PEEK);
    buf_put(&seen, data + 2, client < 7 ? client : 7);
    if (client > 7)
        (void)!send(pair[1], data + 9, client - 7, MSG_NOSIGNAL);
    check(http_session_new(&mine, pair[0], &original, &original, &seen, on_done, NULL, &s) == 0);
    run(&s, pair[1]);
    for (size_t k = 0; k < world.n; k++) {
        if (!world.h2c)
            check_heard(&world.heard[k]);
        buf_done(&world.heard[k]);
        close(world.servers[k]);
    }
    close(pair[1]);
    return 0;
}
