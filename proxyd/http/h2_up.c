/* SPDX-License-Identifier: MIT */
/* The client sessions: one for each server that the streams of a connection lead to. */
#include "proxyd/http/h2_state.h"

/* ---- what the server says ---- */

static struct h2_stream *stream_of(nghttp2_session *ng, int32_t id)
{
    return id > 0 ? nghttp2_session_get_stream_user_data(ng, id) : NULL;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t namelen,
                     const uint8_t *value, size_t valuelen, uint8_t flags, void *user)
{
    struct h2_stream *st = stream_of(ng, frame->hd.stream_id);
    struct str n = {(const char *)name, namelen}, v = {(const char *)value, valuelen};

    (void)user;
    if (!st || st->response_ended)
        return 0;
    if (h2_fields_add(&st->answer, n, v, (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0, H2_RESPONSE_LIST_MAX) < 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
    return 0;
}

/* 100, 103: passed on, never 101, which HTTP/2 does not have. */
static int informational(struct h2_stream *st)
{
    nghttp2_nv nv[H2_FIELDS_MAX];
    size_t n = h2_fields_nv(&st->answer, nv);
    int r = 0;

    if (++st->hints > H2_HINTS_MAX)
        r = -1;
    else if (!str_is(h2_field_value(&st->answer, 0), "101"))
        r = nghttp2_submit_headers(st->h->ng, NGHTTP2_FLAG_NONE, st->id, NULL, nv, n, NULL);
    h2_fields_done(&st->answer);
    return r < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static int on_answer_head(struct h2_stream *st, bool ended)
{
    if (st->responded) { /* trailers stay in st->answer until the body is through */
        st->response_ended = true;
        h2_stream_resume_down(st);
        return 0;
    }
    /* The library has checked that :status is there, is first and has three digits. */
    if (st->answer.n == 0 || !str_is(h2_field_name(&st->answer, 0), ":status"))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (h2_field_value(&st->answer, 0).p[0] == '1' && !ended)
        return informational(st);
    return h2_stream_respond(st, ended) < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *user)
{
    struct h2_up *up = user;
    struct h2_stream *st = stream_of(ng, f->hd.stream_id);
    bool ended = (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    if (f->hd.type == NGHTTP2_GOAWAY)
        up->draining = true;
    if (!st || st->state != H2_FORWARDED)
        return 0;
    if (f->hd.type == NGHTTP2_HEADERS)
        return on_answer_head(st, ended);
    if (f->hd.type == NGHTTP2_DATA && ended) {
        st->response_ended = true;
        h2_stream_resume_down(st);
    }
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
    struct h2_stream *st = stream_of(ng, id);

    (void)flags;
    (void)user;
    if (!st || st->state != H2_FORWARDED)
        return nghttp2_session_consume(ng, id, n) < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
    buf_put(&st->response, p, n);
    if (st->response.err < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    h2_stream_resume_down(st);
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error, void *user)
{
    struct h2_stream *st = stream_of(ng, id);

    (void)user;
    if (!st)
        return 0;
    st->up_open = false;
    if (st->responded && st->response_ended) {
        if (!st->request_ended) { /* it has heard enough */
            st->state = H2_ANSWERED;
            h2_stream_drop_request(st);
        }
    } else if (error != NGHTTP2_NO_ERROR) {
        (void)nghttp2_submit_rst_stream(st->h->ng, NGHTTP2_FLAG_NONE, st->id, error);
    } else {
        h2_stream_failed(st, error);
    }
    return 0;
}

/* ---- the connection ---- */

static int client_session(struct h2_up *up)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_RESPONSE_LIST_MAX},
    };
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *option = NULL;
    int r = -ENOMEM;

    if (nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&option) == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_max_outbound_ack(option, H2_ACKS_MAX);
        nghttp2_option_set_max_settings(option, H2_SETTINGS_MAX);
        nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
        r = nghttp2_session_client_new2(&up->ng, cb, up, option) == 0 ? 0 : -ENOMEM;
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    if (r == 0 &&
        (nghttp2_submit_settings(up->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) != 0 ||
         nghttp2_session_set_local_window_size(up->ng, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW) != 0))
        r = -ENOMEM;
    return r;
}

struct h2_up *h2_up_new(struct h2 *h, const struct judgement *j)
{
    struct h2_up *up = calloc(1, sizeof(*up));

    if (!up)
        return NULL;
    up->h = h;
    up->io.fd = -EBADF;
    up->name = j->name;
    up->literal = j->literal;
    up->next = h->ups;
    up->at = &h->ups;
    if (up->next)
        up->next->at = &up->next;
    h->ups = up;
    h->nups++;
    return up;
}

void h2_up_free(struct h2_up *up, bool reset)
{
    if (reset)
        http_io_reset(&up->io);
    else
        http_io_done(&up->io);
    nghttp2_session_del(up->ng);
    *up->at = up->next;
    if (up->next)
        up->next->at = up->at;
    up->h->nups--;
    free(up);
}

void h2_ups_reap(struct h2 *h)
{
    struct h2_up *next;

    for (struct h2_up *up = h->ups; up; up = next) {
        next = up->next;
        if (up->streams == 0 && (up->dead || up->draining))
            h2_up_free(up, up->dead);
    }
}

/* The connection is broken: its streams have no answer, or half of one. */
static void up_fail(struct h2_up *up)
{
    struct h2_stream *next;

    if (up->dead)
        return;
    up->dead = true;
    http_io_reset(&up->io);
    for (struct h2_stream *st = up->h->streams; st; st = next) {
        next = st->next;
        if (st->up == up && st->state == H2_DECIDING) {
            up->h->s->env.cancel(TAKE_PTR(st->pending)); /* it was idle: another one may do */
            h2_up_detach(st);
            h2_up_attach(st);
        } else if (st->up == up && st->up_open) {
            st->up_open = false;
            if (!st->responded || !st->response_ended)
                h2_stream_failed(st, 0);
        }
    }
}

bool h2_up_send(struct h2_up *up)
{
    bool any = false;
    const uint8_t *p;
    ssize_t n;

    if (up->dead || !up->ng)
        return false;
    while (up->io.out.len < H2_OUT_MAX && (n = nghttp2_session_mem_send(up->ng, &p)) != 0) {
        if (n < 0 || http_io_send(&up->io, p, (size_t)n) < 0) {
            up_fail(up);
            return true;
        }
        any = true;
    }
    if (!nghttp2_session_want_read(up->ng) && !nghttp2_session_want_write(up->ng) && !http_io_waits(&up->io))
        up_fail(up);
    return any;
}

void h2_up_step(struct h2_up *up)
{
    struct h2 *h = up->h;

    if (up->dead || !http_io_is(&up->io))
        return;
    if (http_io_flush(&up->io) < 0) {
        up_fail(up);
        return;
    }
    ssize_t n = h2_io_read(h, &up->io, QUOTA_RECEIVED);
    if (n > 0 && nghttp2_session_mem_recv(up->ng, h->s->env.scratch, (size_t)n) != n)
        n = -EBADMSG;
    if (n < 0 || up->io.eof)
        up_fail(up);
    if (n == -EDQUOT)
        h2_quota_used_up(h);
}

int h2_up_connected(struct h2_up *up, const struct upstream_result *result)
{
    http_io_init(&up->io, up->h->s->env.loop, result->fd, h2_io_cb, up->h);
    up->dialed = result->dialed;
    return client_session(up);
}
