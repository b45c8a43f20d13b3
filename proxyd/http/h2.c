/* SPDX-License-Identifier: MIT */
/* An h2c connection: its life, the turns of the loop, its clocks. */
#include "proxyd/http/h2_state.h"

static void h2_drop_all(struct h2 *h)
{
    h->stopping = true;
    while (h->streams)
        h2_stream_free(h->streams);
    while (h->ups)
        h2_up_free(h->ups, true);
}

static void h2_stop(struct h2 *h)
{
    struct ev_loop *loop = h->s->env.loop;

    ev_timer_stop(loop, &h->timer);
    ev_timer_stop(loop, &h->pause);
    farewell_stop(&h->farewell);
    h2_drop_all(h);
    nghttp2_session_del(h->ng);
}

void h2_free(struct h2 *h)
{
    if (!h)
        return;
    h2_stop(h);
    http_io_reset(&h->io);
    free(h);
}

void h2_end(struct h2 *h, bool reset)
{
    struct http_session *s = h->s;

    if (!reset)
        http_io_done(&h->io);
    h2_free(h);
    s->h2 = NULL;
    http_session_end(s);
}

static void on_farewell(void *self)
{
    h2_end(self, false);
}

void h2_terminate(struct h2 *h, uint32_t error)
{
    h->closing = true;
    if (nghttp2_session_terminate_session(h->ng, error) != 0)
        h->io.eof = true; /* no memory for last words */
}

static void on_pause_over(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct h2 *h = w->data;

    (void)loop;
    (void)events;
    h->paused = false;
    h2_settle(h);
}

ssize_t h2_io_read(struct h2 *h, struct http_io *io, enum quota_direction d)
{
    struct http_env *env = &h->s->env;

    if (h->paused || io->eof)
        return 0;
    ssize_t n = http_io_read(io, env->scratch, HTTP_SCRATCH);
    if (n <= 0)
        return n;
    h->moved_at = ev_now(env->loop);
    if (!env->count(env->gate, d, (uint64_t)n))
        return -EDQUOT;
    double wait = env->wait(env->gate);
    if (wait > 0) {
        h->paused = true;
        ev_timer_set(&h->pause, wait, 0);
        ev_timer_start(env->loop, &h->pause);
    }
    return n;
}

/* ---- time ---- */

/* A denial that is about the connection and no stream of it. */
static void deny_connection(struct h2 *h, uint32_t reason)
{
    struct http_env *env = &h->s->env;
    const struct judgement j = {.reason = reason, .protocol = L7_H2C, .rule = -1};
    struct upstream_want want = http_session_want(h->s, &j);

    env->deny(env->gate, &want, NULL);
}

static ev_tstamp h2_deadline(const struct h2 *h)
{
    ev_tstamp idle = h->moved_at + LIMIT_RELAY_IDLE_MS / 1000.0;
    ev_tstamp head = h->head_at > 0 ? h->head_at + LIMIT_PEEK_MS / 1000.0 : idle;

    return head < idle ? head : idle;
}

static void h2_arm(struct h2 *h)
{
    struct ev_loop *loop = h->s->env.loop;
    ev_tstamp at = h2_deadline(h), now = ev_now(loop);
    ev_tstamp left = at > now ? at - now : 0;

    if (ev_is_active(&h->timer) && ev_timer_remaining(loop, &h->timer) <= left)
        return;
    ev_timer_stop(loop, &h->timer);
    ev_timer_set(&h->timer, left, 0);
    ev_timer_start(loop, &h->timer);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct h2 *h = w->data;

    (void)events;
    if (ev_now(loop) < h2_deadline(h)) {
        h2_arm(h);
        return;
    }
    if (h->head_at > 0)
        deny_connection(h, L7_PEEK_TIMEOUT);
    if (h->closing) {
        h2_end(h, true);
        return;
    }
    h->head_at = 0;
    h->moved_at = ev_now(loop);
    h2_terminate(h, NGHTTP2_NO_ERROR);
    h2_settle(h);
}

/* ---- turns ---- */

/* True: something was sent. */
static bool server_send(struct h2 *h)
{
    bool any = false;
    const uint8_t *p;
    ssize_t n;

    while (h->io.out.len < H2_OUT_MAX && (n = nghttp2_session_mem_send(h->ng, &p)) != 0) {
        if (n < 0 || http_io_send(&h->io, p, (size_t)n) < 0) {
            h->io.eof = h->closing = true;
            return false;
        }
        any = true;
        h->moved_at = ev_now(h->s->env.loop);
    }
    return any;
}

/* Nothing more of the connection can be read: what was asked for in the broken block nobody knows. */
void h2_broken(struct h2 *h, uint32_t error)
{
    deny_connection(h, error == NGHTTP2_COMPRESSION_ERROR ? L7_H2_UNPARSEABLE_HEADERS : L7_UNKNOWN_PROTOCOL);
}

void h2_quota_used_up(struct h2 *h)
{
    deny_connection(h, L7_QUOTA);
    h->io.eof = h->closing = true;
}

void h2_flooded(struct h2 *h)
{
    deny_connection(h, L7_QUOTA);
    h2_terminate(h, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void server_feed(struct h2 *h, const uint8_t *p, size_t n)
{
    ssize_t used = nghttp2_session_mem_recv(h->ng, p, n);

    if (used >= 0 && (size_t)used == n)
        return;
    /* Not h2c after all, or a flood: there is nobody to talk to. */
    if (!h->closing)
        deny_connection(h, used == NGHTTP2_ERR_FLOODED ? L7_QUOTA : L7_UNKNOWN_PROTOCOL);
    h->io.eof = h->closing = true;
}

static void server_step(struct h2 *h)
{
    if (http_io_flush(&h->io) < 0)
        h->io.eof = true;
    if (h->io.eof || h->io.out.len >= H2_OUT_MAX)
        return;
    ssize_t n = h2_io_read(h, &h->io, QUOTA_SENT);
    if (n > 0)
        server_feed(h, h->s->env.scratch, (size_t)n);
    else if (n == -EDQUOT)
        h2_quota_used_up(h);
    else if (n < 0)
        h->io.eof = true;
}

static void watch_all(struct h2 *h)
{
    http_io_watch(&h->io, !h->paused && h->io.out.len < H2_OUT_MAX);
    for (struct h2_up *up = h->ups; up; up = up->next)
        if (http_io_is(&up->io))
            http_io_watch(&up->io, !h->paused);
}

static bool server_over(const struct h2 *h)
{
    return !nghttp2_session_want_read(h->ng) && !nghttp2_session_want_write(h->ng);
}

void h2_settle(struct h2 *h)
{
    bool any;

    if (h->farewelling)
        return;
    do {
        any = !h->io.eof && server_send(h);
        for (struct h2_up *up = h->ups; up; up = up->next)
            any |= h2_up_send(up);
    } while (any && !h->io.eof);
    h2_ups_reap(h);
    if (h->io.eof) { /* nobody is there to hear the rest */
        h2_end(h, h->closing || h->streams);
        return;
    }
    if (server_over(h) && !http_io_waits(&h->io)) {
        h->farewelling = true;
        ev_timer_stop(h->s->env.loop, &h->timer);
        h2_drop_all(h);
        http_io_watch(&h->io, false);
        farewell_start(&h->farewell, h->s->env.loop, h->io.fd, NULL, 0, on_farewell, h);
        return;
    }
    watch_all(h);
    h2_arm(h);
}

void h2_io_cb(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct h2 *h = w->data;

    (void)loop;
    (void)events;
    if (w == &h->io.reader || w == &h->io.writer) {
        server_step(h);
    } else {
        for (struct h2_up *up = h->ups; up; up = up->next)
            if (w == &up->io.reader || w == &up->io.writer) {
                h2_up_step(up);
                break;
            }
    }
    h2_settle(h);
}

uint64_t h2_policy_changed(struct h2 *h)
{
    struct http_env *env = &h->s->env;
    uint64_t n = 0;

    for (struct h2_stream *st = h->streams; st; st = st->next) {
        if (st->state != H2_FORWARDED || http_session_still_allowed(h->s, &st->want.j))
            continue;
        n++;
        env->deny(env->gate, &st->want, NULL);
        h2_up_detach(st);
        st->state = H2_ANSWERED;
        h2_stream_drop_request(st);
        (void)nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
    }
    h2_settle(h);
    return n;
}

/* What was handed over is looked at from the loop, because done may not come from inside. */
static void on_begin(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct h2 *h = w->data;

    (void)loop;
    (void)events;
    ev_set_cb(w, on_timer);
    h2_settle(h);
}

static struct h2 *h2_alloc(struct http_session *s, int fd)
{
    struct h2 *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->s = s;
    http_io_init(&h->io, s->env.loop, fd, h2_io_cb, h);
    h->moved_at = h->head_at = ev_now(s->env.loop);
    h->control = (struct h2_bucket){H2_CONTROL_BURST, h->moved_at};
    h->resets = (struct h2_bucket){H2_RESET_BURST, h->moved_at};
    ev_timer_init(&h->timer, on_begin, 0, 0);
    ev_timer_init(&h->pause, on_pause_over, 0, 0);
    h->timer.data = h->pause.data = h;
    return h;
}

int h2_new(struct http_session *s, int fd, struct buf *seen, const struct http_head *upgrade)
{
    struct buf taken = *seen;
    struct h2 *h = h2_alloc(s, fd);
    int r = h ? h2_server_new(h) : -ENOMEM;

    buf_init(seen, seen->max);
    if (r == 0 && upgrade) {
        r = h2_upgrade(h, taken.data, upgrade);
        if (r == 0)
            buf_consume(&taken, upgrade->len);
    }
    if (r < 0) {
        if (!h)
            close(fd);
        h2_free(h);
        buf_done(&taken);
        return r;
    }
    s->h2 = h;
    if (taken.len > 0)
        server_feed(h, taken.data, taken.len);
    buf_done(&taken);
    ev_timer_start(s->env.loop, &h->timer);
    return 0;
}
