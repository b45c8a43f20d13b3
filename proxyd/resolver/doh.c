/* SPDX-License-Identifier: MIT */
/* DNS over HTTPS (RFC 8484): one POST a question over HTTP/2. The server cannot push, its headers and bodies
 * are bounded, and nothing but status, content type and the message itself is looked at. */
#include <stdio.h>
#include <strings.h>

#include "proxyd/resolver/conn.h"

#define HEADER_LIST_MAX 16384u /* of one response */
#define SEND_ROOM       32768u /* one frame, and more */
#define CONTENT_TYPE    "application/dns-message"

static void sessions_callbacks_free(nghttp2_session_callbacks **cb)
{
    nghttp2_session_callbacks_del(*cb);
}

static void option_free(nghttp2_option **o)
{
    nghttp2_option_del(*o);
}

/* What nghttp2 has to say goes to the link. */
static int flush(struct dns_conn *c)
{
    const uint8_t *p;

    while (!c->in_recv) {
        if (c->l.out.len + SEND_ROOM > DNS_LINK_OUT_MAX)
            return -ENOBUFS; /* it asks for more than it takes */
        ssize_t n = nghttp2_session_mem_send(c->h2, &p);
        if (n < 0)
            return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
        if (n == 0)
            return 0;
        int r = dns_link_send(&c->l, p, (size_t)n);
        if (r < 0)
            return r;
    }
    return 0;
}

static struct dns_try *try_of(nghttp2_session *h2, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(h2, stream);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t namelen,
                     const uint8_t *value, size_t valuelen, uint8_t flags, void *data)
{
    struct dns_try *t = try_of(h2, frame->hd.stream_id);

    (void)flags;
    (void)data;
    if (!t || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    t->header_bytes += namelen + valuelen + 32; /* as RFC 9113 section 6.5.2 counts them */
    if (t->header_bytes > HEADER_LIST_MAX)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (namelen == 7 && memcmp(name, ":status", 7) == 0 && valuelen == 3) {
        t->status = 0;
        for (size_t i = 0; i < 3; i++) /* nghttp2 has checked that these are digits */
            t->status = 10 * t->status + (unsigned)(value[i] - '0');
    } else if (namelen == 12 && memcmp(name, "content-type", 12) == 0) {
        size_t n = strlen(CONTENT_TYPE);
        t->is_message = valuelen >= n && strncasecmp((const char *)value, CONTENT_TYPE, n) == 0 &&
                        (valuelen == n || value[n] == ';' || value[n] == ' ');
    }
    return 0;
}

static int on_chunk(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *p, size_t n,
                    void *data)
{
    struct dns_try *t = try_of(h2, stream);

    (void)flags;
    (void)data;
    if (!t)
        return 0;
    buf_put(&t->body, p, n);
    if (t->body.err < 0)
        return nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
    return 0;
}

/* The end is noted here and told outside of nghttp2, which must not be called from its own call-backs. */
static int on_stream_close(nghttp2_session *h2, int32_t stream, uint32_t error, void *data)
{
    struct dns_try *t = try_of(h2, stream);
    struct dns_conn *c = data;

    if (!t)
        return 0;
    t->ended = true;
    t->h2_error = error;
    c->nended++;
    return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *data)
{
    struct dns_conn *c = data;

    if (frame->hd.type == NGHTTP2_GOAWAY) {
        c->retired = true;
    } else if (frame->hd.type == NGHTTP2_SETTINGS) {
        uint32_t max = nghttp2_session_get_remote_settings(h2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
        c->max = max == 0 ? 1 : max < DNS_CONN_PIPELINE ? max : DNS_CONN_PIPELINE;
    }
    return 0;
}

static int session_new(struct dns_conn *c)
{
    _cleanup_(sessions_callbacks_free) nghttp2_session_callbacks *cb = NULL;
    _cleanup_(option_free) nghttp2_option *option = NULL;

    if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&option) != 0)
        return -ENOMEM;
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, 64);
    return nghttp2_session_client_new2(&c->h2, cb, c, option) == 0 ? 0 : -ENOMEM;
}

static int doh_open(struct dns_conn *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, DNS_MESSAGE_MAX + 1},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_MAX},
    };
    int r = session_new(c);

    if (r < 0)
        return r;
    if (nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) != 0)
        return -ENOMEM;
    return flush(c);
}

static ssize_t body_read(nghttp2_session *h2, int32_t stream, uint8_t *dst, size_t max, uint32_t *flags,
                         nghttp2_data_source *source, void *data)
{
    struct dns_try *t = try_of(h2, stream);

    (void)source;
    (void)data;
    if (!t)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = t->body.len < max ? t->body.len : max;
    if (n > 0)
        memcpy(dst, t->body.data, n);
    buf_consume(&t->body, n);
    if (t->body.len == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void authority(const struct dns_url *url, char dst[LIMIT_HOSTNAME + 16])
{
    bool six = url->literal && url->addr.family == AF_INET6;
    char port[8] = "";

    if (url->port != 443)
        (void)snprintf(port, sizeof(port), ":%u", url->port);
    (void)snprintf(dst, LIMIT_HOSTNAME + 16, "%s%s%s%s", six ? "[" : "", url->host, six ? "]" : "", port);
}

static int doh_send(struct dns_conn *c, struct dns_try *t)
{
    const struct dns_url *url = &c->server->conf.url;
    nghttp2_data_provider body = {.read_callback = body_read};
    char host[LIMIT_HOSTNAME + 16], length[12];

    t->asked.id = 0; /* RFC 8484 section 4.1: nothing in the message differs from one asker to the next */
    t->status = 0;
    t->is_message = t->ended = false;
    t->header_bytes = 0;
    buf_clear(&t->body);
    int r = dns_asked_write(&t->body, &t->asked);
    if (r < 0)
        return r;
    authority(url, host);
    (void)snprintf(length, sizeof(length), "%zu", t->body.len);
    const nghttp2_nv head[] = {
        field(":method", "POST"),        field(":scheme", "https"),     field(":authority", host),
        field(":path", url->path),       field("accept", CONTENT_TYPE), field("content-type", CONTENT_TYPE),
        field("content-length", length),
    };
    t->stream = nghttp2_submit_request(c->h2, NULL, head, ARRAY_LEN(head), &body, t);
    if (t->stream < 0) {
        t->stream = 0;
        return -EPROTO;
    }
    return flush(c);
}

static void doh_cancel(struct dns_conn *c, struct dns_try *t)
{
    if (!c->h2 || t->stream == 0)
        return;
    if (t->ended)
        c->nended--;
    nghttp2_session_set_stream_user_data(c->h2, t->stream, NULL);
    (void)nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, t->stream, NGHTTP2_CANCEL);
    t->stream = 0;
    if (flush(c) < 0)
        c->retired = true;
}

/* A whole response, or what there is of it. */
static void stream_ended(struct dns_conn *c, struct dns_try *t)
{
    struct dns_got got;
    struct buf body = t->body; /* t is gone before the message is */

    buf_init(&t->body, DNS_MESSAGE_MAX);
    t->ended = false;
    t->stream = 0; /* nothing is left to cancel */
    if (t->h2_error == NGHTTP2_REFUSED_STREAM && !t->moved) {
        /* not looked at (RFC 9113 section 8.7): another connection may take it */
        t->moved = true;
        dns_try_again(t, false, true);
    } else if (t->h2_error != NGHTTP2_NO_ERROR || body.err < 0) {
        dns_try_failed(t, body.err < 0 ? -EMSGSIZE : -ECONNRESET, "the server broke off its response");
    } else if (t->status != 200 || !t->is_message) {
        (void)snprintf(c->server->why, sizeof(c->server->why), "HTTP status %u%s", t->status,
                       t->status == 200 ? " without a DNS message" : "");
        dns_try_failed(t, -EPROTO, c->server->why);
    } else if (body.len < DNS_HEADER_LEN ||
               dns_got_read(body.data, body.len, &t->asked, false, &got) == DNS_FIT_STRAY) {
        t->counters->strays++;
        dns_try_failed(t, -EBADMSG, "the response does not answer the question");
    } else {
        dns_conn_answered(c, t, body.data, body.len);
    }
    buf_done(&body);
}

static int doh_data(struct dns_conn *c, const uint8_t *p, size_t n)
{
    struct dns_try *t;

    c->in_recv = true;
    ssize_t k = nghttp2_session_mem_recv(c->h2, p, n);
    c->in_recv = false;
    while (c->nended > 0) {
        TAILQ_FOREACH(t, &c->tries, link)
        if (t->ended)
            break;
        c->nended--;
        stream_ended(c, t);
    }
    if (k < 0)
        return k == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
    if (!nghttp2_session_want_read(c->h2) && !nghttp2_session_want_write(c->h2))
        return -ECONNRESET;
    return flush(c);
}

static void doh_done(struct dns_conn *c)
{
    nghttp2_session_del(c->h2);
    c->h2 = NULL;
}

const struct dns_conn_ops dns_doh_ops = {doh_open, doh_send, doh_cancel, doh_data, doh_done};
