/* SPDX-License-Identifier: MIT */
/* An HTTP/1 connection: its life, the turns of the loop, its clocks. */
#include "proxyd/http/h1_state.h"

static void h1_stop(struct h1 *h)
{
    struct http_env *env = &h->s->env;

    env->cancel(h->pending);
    ev_timer_stop(env->loop, &h->timer);
    ev_timer_stop(env->loop, &h->pause);
    farewell_stop(&h->farewell);
    buf_done(&h->in);
    buf_done(&h->answer);
}

void h1_free(struct h1 *h)
{
    if (!h)
        return;
    h1_stop(h);
    http_io_reset(&h->client);
    http_io_reset(&h->up);
    free(h);
}

static void h1_end(struct h1 *h, bool reset)
{
    struct http_session *s = h->s;

    if (!reset) {
        http_io_done(&h->client);
        http_io_done(&h->up);
    }
    h1_free(h);
    s->h1 = NULL;
    http_session_end(s);
}

static void on_farewell(void *self)
{
    h1_end(self, false);
}

/* ---- reading ---- */

static void on_pause_over(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct h1 *h = w->data;

    (void)loop;
    (void)events;
    h->paused = false;
    h1_run(h);
}

ssize_t h1_read(struct h1 *h, struct http_io *io, enum quota_direction d, uint8_t *p, size_t n)
{
    struct http_env *env = &h->s->env;

    if (h->paused || io->eof || h->reads >= H1_READS)
        return 0;
    ssize_t got = http_io_read(io, p, n);
    if (got <= 0)
        return got;
    h->reads++;
    h->moved_at = ev_now(env->loop);
    if (!env->count(env->gate, d, (uint64_t)got))
        return -EDQUOT;
    double wait = env->wait(env->gate);
    if (wait > 0) {
        h->paused = true;
        ev_timer_set(&h->pause, wait, 0);
        ev_timer_start(env->loop, &h->pause);
    }
    return got;
}

/* ---- turns ---- */

static void h1_watch(struct h1 *h)
{
    bool client = false, up = false;

    switch (h->state) {
    case H1_HEAD:
        client = !http_io_waits(&h->client);
        up = !h->up_event; /* it is looked at when the client has taken what waits */
        break;
    case H1_DISCARD:
        client = true;
        break;
    case H1_EXCHANGE: {
        bool ended = http_body_ended(&h->req);
        client = ended ? h->in.len < LIMIT_PEEK : !http_io_waits(&h->up) && !h->deaf;
        up = !http_io_waits(&h->client) && !(h->answering && http_body_ended(&h->rsp));
        break;
    }
    case H1_OPAQUE:
        client = !http_io_waits(&h->up);
        up = !http_io_waits(&h->client);
        break;
    default:
        break;
    }
    http_io_watch(&h->client, client && !h->paused);
    http_io_watch(&h->up, up && !h->paused);
}

static int h1_step(struct h1 *h)
{
    int r = http_io_flush(&h->client);

    if (r < 0)
        return r;
    if (http_io_is(&h->up) && !h->deaf && http_io_flush(&h->up) < 0) {
        if (h->state == H1_OPAQUE)
            return -ECONNRESET;
        h->deaf = true;
    }
    switch (h->state) {
    case H1_HEAD:
        return h1_head_step(h);
    case H1_EXCHANGE:
        return h1_exchange_step(h);
    case H1_DISCARD:
        return h1_discard_step(h);
    case H1_OPAQUE:
        return h1_opaque_step(h);
    case H1_CLOSING:
        if (http_io_waits(&h->client))
            return H1_BLOCKED;
        h->state = H1_FAREWELL;
        http_io_watch(&h->client, false);
        http_io_done(&h->up);
        farewell_start(&h->farewell, h->s->env.loop, h->client.fd, NULL, 0, on_farewell, h);
        return H1_BLOCKED;
    default:
        return H1_BLOCKED;
    }
}

/* When the session gives up if nothing moves; 0: never by itself. */
static ev_tstamp h1_deadline(const struct h1 *h)
{
    if (h->state == H1_FAREWELL || h->state == H1_DECIDING)
        return 0;
    if (h->state == H1_HEAD && h->head_at > 0)
        return h->head_at + LIMIT_PEEK_MS / 1000.0;
    return h->moved_at + LIMIT_RELAY_IDLE_MS / 1000.0;
}

/* Deadlines move with every byte, the timer only when it has to. */
static void h1_arm(struct h1 *h)
{
    struct ev_loop *loop = h->s->env.loop;
    ev_tstamp at = h1_deadline(h), now = ev_now(loop);

    if (at == 0) {
        ev_timer_stop(loop, &h->timer);
        return;
    }
    ev_tstamp left = at > now ? at - now : 0;
    if (ev_is_active(&h->timer) && ev_timer_remaining(loop, &h->timer) <= left)
        return;
    ev_timer_stop(loop, &h->timer);
    ev_timer_set(&h->timer, left, 0);
    ev_timer_start(loop, &h->timer);
}

void h1_run(struct h1 *h)
{
    int r;

    h->reads = 0;
    do
        r = h1_step(h);
    while (r == H1_GOES_ON);
    if (r == H1_GONE)
        return;
    if (r == -EDQUOT) {
        h->want.j.allow = false;
        h->want.j.reason = L7_QUOTA;
        h->s->env.deny(h->s->env.gate, &h->want, NULL);
    }
    if (r < 0) {
        h1_end(h, true);
        return;
    }
    h1_watch(h);
    h1_arm(h);
}

void h1_io_cb(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct h1 *h = w->data;

    (void)loop;
    h->up_event |= w == &h->up.reader && (events & EV_READ);
    h1_run(h);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct h1 *h = w->data;

    (void)events;
    if (ev_now(loop) < h1_deadline(h)) {
        h1_arm(h);
    } else if (h->state != H1_HEAD) {
        h1_end(h, true);
    } else {
        if (h->head_at > 0)
            h1_head_late(h);
        else
            h->state = H1_CLOSING;
        h1_run(h);
    }
}

uint64_t h1_policy_changed(struct h1 *h)
{
    if (h->state != H1_EXCHANGE && h->state != H1_OPAQUE) {
        if (h->state == H1_HEAD) /* the next request asks anew, for a new connection */
            http_io_done(&h->up);
        return 0;
    }
    if (http_session_still_allowed(h->s, &h->want.j))
        return 0;
    h->s->env.deny(h->s->env.gate, &h->want, NULL);
    h1_end(h, true);
    return 1;
}

/* What was handed over is looked at from the loop, because done may not come from inside. */
static void on_begin(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct h1 *h = w->data;

    (void)loop;
    (void)events;
    ev_set_cb(w, on_timer);
    h1_run(h);
}

int h1_new(struct http_session *s, int fd, struct buf *seen)
{
    struct h1 *h = calloc(1, sizeof(*h));
    struct ev_loop *loop = s->env.loop;

    if (!h)
        return -ENOMEM;
    h->s = s;
    h->first = true;
    h->want = http_session_want(s, &(struct judgement){.protocol = L7_HTTP, .rule = -1});
    http_io_init(&h->client, loop, fd, h1_io_cb, h);
    h->up.fd = -EBADF;
    buf_init(&h->in, HTTP_SCRATCH + LIMIT_PEEK);
    buf_put(&h->in, seen->data, seen->len);
    if (h->in.err < 0) {
        buf_done(&h->in);
        free(h);
        return -ENOMEM;
    }
    buf_done(seen);
    buf_init(&h->answer, HTTP_RESPONSE_HEAD_MAX + HTTP_SCRATCH);
    h->moved_at = h->head_at = ev_now(loop);
    ev_timer_init(&h->timer, on_begin, 0, 0);
    ev_timer_init(&h->pause, on_pause_over, 0, 0);
    h->timer.data = h->pause.data = h;
    ev_timer_start(loop, &h->timer);
    s->h1 = h;
    return 0;
}
