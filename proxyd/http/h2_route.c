/* SPDX-License-Identifier: MIT */
/* Streams find their server: the connection that is there, or one that is opened for them. */
#include "proxyd/http/h2_state.h"

static int request_end(struct h2_stream *st, uint32_t *flags)
{
    nghttp2_nv nv[H2_FIELDS_MAX];

    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (st->fields.n == 0)
        return 0;
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return nghttp2_submit_trailer(st->up->ng, st->up_id, nv, h2_fields_nv(&st->fields, nv));
}

static ssize_t on_request_read(nghttp2_session *ng, int32_t id, uint8_t *dst, size_t len, uint32_t *flags,
                               nghttp2_data_source *source, void *user)
{
    struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);

    (void)source;
    (void)user;
    if (!st)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = st->request.len < len ? st->request.len : len;
    if (n == 0 && !st->request_ended)
        return NGHTTP2_ERR_DEFERRED;
    if (n > 0) {
        memcpy(dst, st->request.data, n);
        buf_consume(&st->request, n);
        (void)nghttp2_session_consume(st->h->ng, st->id, n);
    }
    if (st->request.len == 0)
        buf_done(&st->request);
    if (st->request.len == 0 && st->request_ended && request_end(st, flags) != 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return (ssize_t)n;
}

static void stream_forward(struct h2_stream *st)
{
    const nghttp2_data_provider body = {.read_callback = on_request_read};
    nghttp2_nv nv[H2_FIELDS_MAX];
    size_t n = h2_fields_nv(&st->head, nv);
    bool ended = st->request_ended && st->request.len == 0 && st->fields.n == 0;

    st->up_id = nghttp2_submit_request(st->up->ng, NULL, nv, n, ended ? NULL : &body, st);
    h2_fields_done(&st->head);
    if (st->up_id < 0) {
        h2_stream_deny(st, L7_QUOTA, NULL);
        return;
    }
    st->state = H2_FORWARDED;
    st->up_open = true;
}

static void on_again(void *self, const struct upstream_result *result)
{
    struct h2_stream *st = self;
    struct h2 *h = st->h;

    st->pending = NULL;
    if (result->reason != 0)
        h2_stream_deny(st, result->reason, result);
    else
        stream_forward(st);
    h2_settle(h);
}

static void stream_again(struct h2_stream *st)
{
    struct http_env *env = &st->h->s->env;

    st->state = H2_DECIDING;
    if (env->again(env->gate, &st->want, &st->up->dialed, on_again, st, &st->pending) < 0)
        h2_stream_deny(st, L7_QUOTA, NULL);
}

static void open_failed(struct h2_up *up, uint32_t reason, const struct upstream_result *result)
{
    struct h2_stream *next;

    up->dead = true;
    for (struct h2_stream *st = up->h->streams; st; st = next) {
        next = st->next;
        if (st->up == up)
            h2_stream_deny(st, reason, result);
    }
}

static void on_open(void *self, const struct upstream_result *result)
{
    struct h2_stream *st = self, *next;
    struct h2_up *up = st->up;
    struct h2 *h = st->h;

    st->pending = NULL;
    up->opener = NULL;
    if (result->reason != 0 || h2_up_connected(up, result) < 0) {
        open_failed(up, result->reason ? result->reason : L7_QUOTA, result);
        h2_settle(h);
        return;
    }
    stream_forward(st);
    for (struct h2_stream *w = h->streams; w; w = next) {
        next = w->next;
        if (w->up == up && w->state == H2_WAITING)
            stream_again(w);
    }
    h2_settle(h);
}

static void stream_open(struct h2_stream *st)
{
    struct http_env *env = &st->h->s->env;
    struct h2_up *up = st->up;

    st->state = H2_DECIDING;
    up->opener = st;
    if (env->open(env->gate, &st->want, on_open, st, &st->pending) < 0) {
        up->opener = NULL;
        open_failed(up, L7_QUOTA, NULL);
    }
}

static struct h2_up *up_find(const struct h2 *h, const struct judgement *j)
{
    for (struct h2_up *up = h->ups; up; up = up->next)
        if (!up->dead && !up->draining && up->literal == j->literal &&
            str_eq(name_str(&up->name), name_str(&j->name)))
            return up;
    return NULL;
}

/* Room for one more server: one that nobody uses just now goes. */
static void ups_make_room(struct h2 *h)
{
    for (struct h2_up *up = h->ups; up && h->nups >= H2_UPS_MAX; up = up->next)
        if (up->streams == 0)
            up->draining = true;
}

void h2_up_attach(struct h2_stream *st)
{
    struct h2 *h = st->h;
    struct h2_up *up = up_find(h, &st->want.j);
    bool found = up != NULL;

    if (!found) {
        ups_make_room(h);
        size_t busy = 0;
        for (struct h2_up *u = h->ups; u; u = u->next)
            busy += u->streams > 0;
        up = busy < H2_UPS_MAX ? h2_up_new(h, &st->want.j) : NULL;
    }
    if (!up) {
        h2_stream_deny(st, L7_QUOTA, NULL);
        return;
    }
    st->up = up;
    up->streams++;
    if (!found)
        stream_open(st);
    else if (up->opener)
        st->state = H2_WAITING;
    else
        stream_again(st);
}

/* The one that was opening the connection is gone: another one that waits for it goes on with it. */
static void opener_gone(struct h2_up *up)
{
    up->opener = NULL;
    for (struct h2_stream *st = up->h->streams; st && !up->h->stopping; st = st->next)
        if (st->up == up && st->state == H2_WAITING) {
            stream_open(st);
            return;
        }
    up->dead = true;
}

void h2_up_detach(struct h2_stream *st)
{
    struct h2_up *up = st->up;

    if (!up)
        return;
    if (up->ng && st->up_id > 0) {
        (void)nghttp2_session_set_stream_user_data(up->ng, st->up_id, NULL);
        if (st->up_open)
            (void)nghttp2_submit_rst_stream(up->ng, NGHTTP2_FLAG_NONE, st->up_id, NGHTTP2_CANCEL);
        if (st->response.len > 0)
            (void)nghttp2_session_consume_connection(up->ng, st->response.len);
    }
    st->up = NULL;
    st->up_open = false;
    up->streams--;
    if (up->opener == st)
        opener_gone(up);
}
