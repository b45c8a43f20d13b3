/* SPDX-License-Identifier: MIT */
/* What the cell says: frames become streams, bodies, ends. */
#include "proxyd/http/h2_state.h"

static struct h2_stream *stream_of(nghttp2_session *ng, int32_t id)
{
    return id > 0 ? nghttp2_session_get_stream_user_data(ng, id) : NULL;
}

/* One more of them; false: there were too many. */
static bool bucket_take(struct h2_bucket *b, ev_tstamp now, double burst, double per_sec)
{
    b->left += (now - b->at) * per_sec;
    b->at = now;
    if (b->left > burst)
        b->left = burst;
    b->left -= 1;
    return b->left >= 0;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;

    if (h->head_at == 0)
        h->head_at = ev_now(h->s->env.loop);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct h2_stream *st = h2_stream_new(h, frame->hd.stream_id);
    if (!st)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return nghttp2_session_set_stream_user_data(ng, st->id, st) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t namelen,
                     const uint8_t *value, size_t valuelen, uint8_t flags, void *user)
{
    struct h2_stream *st = stream_of(ng, frame->hd.stream_id);
    struct str n = {(const char *)name, namelen}, v = {(const char *)value, valuelen};

    (void)user;
    if (st && !st->fields_broken)
        st->fields_broken = h2_fields_add(&st->fields, n, v, (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0,
                                          H2_REQUEST_LIST_MAX) < 0;
    return 0;
}

static void trailers_done(struct h2_stream *st, bool ended)
{
    if (!ended || st->fields_broken || !h2_trailers_ok(&st->fields) || st->length_left > 0) {
        (void)nghttp2_submit_rst_stream(st->h->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_PROTOCOL_ERROR);
        return;
    }
    st->request_ended = true;
    h2_stream_resume_up(st);
}

static void body_ended(struct h2_stream *st)
{
    if (st->has_length && st->length_left > 0 && st->state != H2_ANSWERED) {
        (void)nghttp2_submit_rst_stream(st->h->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_PROTOCOL_ERROR);
        return;
    }
    st->request_ended = true;
    h2_stream_resume_up(st);
}

static bool carries_nothing(const nghttp2_frame *f)
{
    switch (f->hd.type) {
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PRIORITY:
        return true;
    case NGHTTP2_DATA:
        return f->hd.length == f->data.padlen && !(f->hd.flags & NGHTTP2_FLAG_END_STREAM);
    default:
        return false;
    }
}

static bool is_flood(struct h2 *h, const nghttp2_frame *f)
{
    ev_tstamp now = ev_now(h->s->env.loop);

    if (f->hd.type == NGHTTP2_RST_STREAM)
        return !bucket_take(&h->resets, now, H2_RESET_BURST, H2_RESET_PER_SEC);
    return carries_nothing(f) && !bucket_take(&h->control, now, H2_CONTROL_BURST, H2_CONTROL_PER_SEC);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = stream_of(ng, f->hd.stream_id);
    bool ended = (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    if (!h->closing && is_flood(h, f))
        h2_flooded(h);
    if (f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_SETTINGS)
        h->head_at = 0;
    if (!st)
        return 0;
    if (f->hd.type == NGHTTP2_HEADERS && st->state == H2_RECEIVING)
        h2_stream_head(st, ended);
    else if (f->hd.type == NGHTTP2_HEADERS)
        trailers_done(st, ended);
    else if (f->hd.type == NGHTTP2_DATA && ended)
        body_ended(st);
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
    struct h2_stream *st = stream_of(ng, id);

    (void)flags;
    (void)user;
    if (!st || st->state == H2_ANSWERED) /* nobody wants it */
        return nghttp2_session_consume(ng, id, n) < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
    if (st->has_length && n > st->length_left) {
        (void)nghttp2_session_consume(ng, id, n);
        return nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR) < 0
                   ? NGHTTP2_ERR_CALLBACK_FAILURE
                   : 0;
    }
    if (st->has_length)
        st->length_left -= n;
    buf_put(&st->request, p, n);
    if (st->request.err < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    h2_stream_resume_up(st);
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error, void *user)
{
    struct h2_stream *st = stream_of(ng, id);

    (void)error;
    (void)user;
    if (st)
        h2_stream_free(st);
    return 0;
}

/* The library's own verdict on what came: with a broken header block or frame it ends the connection. */
static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *f, void *user)
{
    static const uint32_t broken[] = {NGHTTP2_COMPRESSION_ERROR, NGHTTP2_PROTOCOL_ERROR,
                                      NGHTTP2_FRAME_SIZE_ERROR, NGHTTP2_FLOW_CONTROL_ERROR,
                                      NGHTTP2_STREAM_CLOSED};

    (void)ng;
    for (size_t i = 0; f->hd.type == NGHTTP2_GOAWAY && i < ARRAY_LEN(broken); i++)
        if (f->goaway.error_code == broken[i])
            h2_broken(user, broken[i]);
    return 0;
}

static int server_options(nghttp2_session_callbacks *cb, nghttp2_option *option, struct h2 *h)
{
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_http_messaging(option, 1); /* h2_request.c says why */
    nghttp2_option_set_max_outbound_ack(option, H2_ACKS_MAX);
    nghttp2_option_set_max_settings(option, H2_SETTINGS_MAX);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    return nghttp2_session_server_new2(&h->ng, cb, h, option) == 0 ? 0 : -ENOMEM;
}

int h2_server_new(struct h2 *h)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_REQUEST_LIST_MAX},
    };
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *option = NULL;
    int r = -ENOMEM;

    if (nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&option) == 0)
        r = server_options(cb, option, h);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    if (r < 0)
        return r;
    if (nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) != 0 ||
        nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW) != 0)
        return -ENOMEM;
    return 0;
}
