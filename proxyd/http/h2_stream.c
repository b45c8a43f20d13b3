/* SPDX-License-Identifier: MIT */
/* One stream: judged, then forwarded or answered with a denial. */
#include <stdio.h>

#include "proxyd/http/answer.h"
#include "proxyd/http/h2_state.h"

struct h2_stream *h2_stream_new(struct h2 *h, int32_t id)
{
    struct h2_stream *st = calloc(1, sizeof(*st));

    if (!st)
        return NULL;
    st->h = h;
    st->id = id;
    st->want = http_session_want(h->s, &(struct judgement){.protocol = L7_H2C, .rule = -1});
    buf_init(&st->request, H2_CONNECTION_WINDOW);
    buf_init(&st->response, H2_CONNECTION_WINDOW);
    st->next = h->streams;
    st->at = &h->streams;
    if (st->next)
        st->next->at = &st->next;
    h->streams = st;
    return st;
}

/* It is given back to the client's window. */
void h2_stream_drop_request(struct h2_stream *st)
{
    if (st->request.len > 0)
        (void)nghttp2_session_consume_connection(st->h->ng, st->request.len);
    buf_done(&st->request);
}

void h2_stream_free(struct h2_stream *st)
{
    struct http_env *env = &st->h->s->env;

    env->cancel(TAKE_PTR(st->pending));
    h2_stream_drop_request(st);
    h2_up_detach(st);
    if (nghttp2_session_find_stream(st->h->ng, st->id))
        (void)nghttp2_session_set_stream_user_data(st->h->ng, st->id, NULL);
    h2_fields_done(&st->fields);
    h2_fields_done(&st->head);
    h2_fields_done(&st->answer);
    buf_done(&st->response);
    *st->at = st->next;
    if (st->next)
        st->next->at = st->at;
    free(st);
}

/* Fails for a stream that does not wait, which is fine. */
void h2_stream_resume_up(struct h2_stream *st)
{
    if (st->up_open && st->up->ng)
        (void)nghttp2_session_resume_data(st->up->ng, st->up_id);
}

void h2_stream_resume_down(struct h2_stream *st)
{
    if (st->responded)
        (void)nghttp2_session_resume_data(st->h->ng, st->id);
}

/* ---- the response's body ---- */

static ssize_t response_end(struct h2_stream *st, uint32_t *flags)
{
    nghttp2_nv nv[H2_FIELDS_MAX];

    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (st->answer.n > 0) { /* trailers */
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(st->h->ng, st->id, nv, h2_fields_nv(&st->answer, nv)) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    /* A denied client need not go on sending (RFC 9113 section 8.1). */
    if (st->state == H2_ANSWERED && !st->request_ended)
        (void)nghttp2_submit_rst_stream(st->h->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
    return 0;
}

static ssize_t on_response_read(nghttp2_session *ng, int32_t id, uint8_t *dst, size_t len, uint32_t *flags,
                                nghttp2_data_source *source, void *user)
{
    struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);

    (void)source;
    (void)user;
    if (!st)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = st->response.len < len ? st->response.len : len;
    if (n == 0 && !st->response_ended)
        return NGHTTP2_ERR_DEFERRED;
    if (n > 0) {
        memcpy(dst, st->response.data, n);
        buf_consume(&st->response, n);
    }
    if (n > 0 && st->up && st->up->ng)
        (void)nghttp2_session_consume(st->up->ng, st->up_id, n);
    if (st->response.len == 0)
        buf_done(&st->response);
    if (st->response.len == 0 && st->response_ended && response_end(st, flags) < 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return (ssize_t)n;
}

int h2_stream_respond(struct h2_stream *st, bool ended)
{
    const nghttp2_data_provider body = {.read_callback = on_response_read};
    nghttp2_nv nv[H2_FIELDS_MAX];
    size_t n = h2_fields_nv(&st->answer, nv);

    st->responded = true;
    st->response_ended = ended;
    int r = nghttp2_submit_response(st->h->ng, st->id, nv, n, ended ? NULL : &body);
    h2_fields_done(&st->answer);
    return r == 0 ? 0 : -ENOMEM;
}

/* ---- denials ---- */

static int answer_fields(struct h2_stream *st, size_t length)
{
    char status[8], text[24];
    const struct {
        const char *name, *value;
    } fields[] = {{":status", status}, {"content-type", "text/plain"}, {"content-length", text}};

    snprintf(status, sizeof(status), "%u", http_answer_status(&st->want.j));
    snprintf(text, sizeof(text), "%zu", length);
    h2_fields_done(&st->answer);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        int r = h2_fields_add(&st->answer, str_of(fields[i].name), str_of(fields[i].value), false,
                              H2_RESPONSE_LIST_MAX);
        if (r < 0)
            return r;
    }
    return 0;
}

static void stream_answer(struct h2_stream *st)
{
    char words[HTTP_WORDS_MAX];
    size_t n = http_answer_words(&st->want.j, &st->h->s->original, words);

    st->state = H2_ANSWERED;
    h2_stream_drop_request(st);
    h2_up_detach(st);
    buf_done(&st->response);
    if (!st->is_head)
        buf_put(&st->response, words, n);
    if (answer_fields(st, n) < 0 || st->response.err < 0 || h2_stream_respond(st, st->is_head) < 0)
        (void)nghttp2_submit_rst_stream(st->h->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR);
    st->response_ended = true;
}

void h2_stream_deny(struct h2_stream *st, uint32_t reason, const struct upstream_result *result)
{
    struct http_env *env = &st->h->s->env;

    st->want.j.allow = false;
    st->want.j.reason = reason;
    env->deny(env->gate, &st->want, result);
    stream_answer(st);
}

/* A response that is not complete must not look so. */
void h2_stream_failed(struct h2_stream *st, uint32_t error)
{
    struct upstream_result tried = {.fd = -EBADF};

    if (st->responded) {
        if (!st->response_ended)
            (void)nghttp2_submit_rst_stream(st->h->ng, NGHTTP2_FLAG_NONE, st->id,
                                            error ? error : NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (st->up) {
        tried.has_dialed = true;
        tried.dialed = st->up->dialed;
    }
    h2_stream_deny(st, L7_UPSTREAM_UNREACHABLE, &tried);
}

/* ---- judgement ---- */

static uint32_t refusal_of(enum h2_request_outcome o)
{
    switch (o) {
    case H2_REQUEST_NO_AUTHORITY:
        return L7_H2_AUTHORITY_MISSING;
    case H2_REQUEST_CONFLICT:
        return L7_NAME_CONFLICT;
    case H2_REQUEST_TUNNEL:
        return L7_UNKNOWN_PROTOCOL;
    default:
        return L7_H2_UNPARSEABLE_HEADERS;
    }
}

static void stream_judge(struct h2_stream *st, const struct h2_request *q, enum h2_request_outcome o)
{
    struct http_env *env = &st->h->s->env;

    st->is_head = q->is_head;
    st->has_length = q->has_length;
    st->length_left = q->length;
    if (o != H2_REQUEST_OK) {
        if (o == H2_REQUEST_TUNNEL)
            st->want.j.name = q->host.name;
        h2_stream_deny(st, refusal_of(o), NULL);
        return;
    }
    env->judge(env->gate, &st->h->s->original, &q->host, L7_H2C, &st->want.j);
    if (!st->want.j.allow)
        h2_stream_deny(st, st->want.j.reason, NULL);
    else
        h2_up_attach(st);
}

void h2_stream_head(struct h2_stream *st, bool ended)
{
    struct h2_request q = {0};
    enum h2_request_outcome o = H2_REQUEST_UNPARSEABLE;

    st->request_ended = ended;
    if (!st->fields_broken && h2_request_read(&st->fields, ended, &q, &st->head, &o) < 0)
        o = H2_REQUEST_UNPARSEABLE;
    h2_fields_done(&st->fields); /* room for the trailers */
    st->fields_broken = false;
    stream_judge(st, &q, o);
}
