/* SPDX-License-Identifier: MIT */
/* One request on its way up and its response on its way down, at the same time. */
#include "proxyd/http/h1_state.h"

/* ---- up ---- */

/* A server that takes no more may have answered already: that is still heard. */
static void up_send(struct h1 *h, const void *p, size_t n)
{
    if (!h->deaf && http_io_send(&h->up, p, n) < 0) {
        h->deaf = true;
        buf_done(&h->up.out);
    }
}

/* Bytes of the request's body from the front of p; how many. */
static ssize_t body_send(struct h1 *h, const uint8_t *p, size_t n)
{
    ssize_t k = http_body_take(&h->req, p, n);

    if (k > 0) {
        h->continued = true;
        up_send(h, p, (size_t)k);
    }
    return k;
}

int h1_exchange_begin(struct h1 *h)
{
    _cleanup_(buf_done) struct buf head = {0};

    h->state = H1_EXCHANGE;
    h->answering = h->continued = h->deaf = h->spoilt = false;
    h->close = h->head.close;
    h->answer_reader = (struct http_response_reader){0};
    buf_init(&head, 2 * LIMIT_PEEK);
    int r = http_head_rewrite(h->in.data, &h->head, &head);
    if (r < 0)
        return r;
    up_send(h, head.data, head.len);
    buf_consume(&h->in, h->head.len);
    http_body_init(&h->req, &h->head);
    return 0;
}

/* The request is complete: what comes now is kept for later, as far as there is room, and an end of stream is
 * passed on. */
static int read_ahead(struct h1 *h)
{
    uint8_t *scratch = h->s->env.scratch;

    if (h->in.len >= LIMIT_PEEK)
        return H1_BLOCKED;
    ssize_t n = h1_read(h, &h->client, QUOTA_SENT, scratch, LIMIT_PEEK - h->in.len);
    if (n < 0)
        return (int)n;
    if (n > 0)
        buf_put(&h->in, scratch, (size_t)n);
    if (h->client.eof && h->in.len == 0 && !h->up.shut_wanted && !h->deaf) {
        h->up.shut_wanted = true;
        h->deaf = http_io_flush(&h->up) < 0;
    }
    return h->in.err < 0 ? h->in.err : n > 0 ? H1_GOES_ON : H1_BLOCKED;
}

static int request_step(struct h1 *h)
{
    uint8_t *scratch = h->s->env.scratch;

    if (http_body_ended(&h->req))
        return read_ahead(h);
    if (http_io_waits(&h->up) || h->deaf)
        return H1_BLOCKED;
    if (h->in.len > 0) {
        ssize_t k = body_send(h, h->in.data, h->in.len);
        if (k < 0)
            return (int)k;
        buf_consume(&h->in, (size_t)k);
        return H1_GOES_ON;
    }
    ssize_t n = h1_read(h, &h->client, QUOTA_SENT, scratch, HTTP_SCRATCH);
    if (n <= 0)
        return n < 0 ? (int)n : h->client.eof ? -ECONNRESET : H1_BLOCKED;
    ssize_t k = body_send(h, scratch, (size_t)n);
    if (k < 0)
        return (int)k;
    if (k < n)
        buf_put(&h->in, scratch + k, (size_t)(n - k));
    return h->in.err < 0 ? h->in.err : H1_GOES_ON;
}

/* ---- down ---- */

static int to_opaque(struct h1 *h, size_t used)
{
    int r = http_io_send(&h->client, h->answer.data + used, h->answer.len - used);

    if (r < 0)
        return r;
    up_send(h, h->in.data, h->in.len);
    buf_done(&h->in);
    buf_done(&h->answer);
    h->state = H1_OPAQUE;
    return H1_GOES_ON;
}

/* The client may send its body or not after all: nobody can know where the next request begins. */
static bool body_uncertain(const struct h1 *h)
{
    return h->head.expects && !h->continued && !http_body_ended(&h->req);
}

static int head_forward(struct h1 *h)
{
    _cleanup_(buf_done) struct buf b = {0};

    if (h->resp.status >= 200 && (h->resp.close || body_uncertain(h)))
        h->close = true;
    buf_init(&b, 2 * HTTP_RESPONSE_HEAD_MAX);
    int r = http_response_rewrite(h->answer.data, &h->resp, h->close, &b);
    return r < 0 ? r : http_io_send(&h->client, b.data, b.len);
}

static int body_forward(struct h1 *h, const uint8_t *p, size_t n)
{
    ssize_t k = http_body_take(&h->rsp, p, n);

    if (k < 0)
        return (int)k;
    h->spoilt = (size_t)k < n; /* nobody asked for more */
    return k > 0 ? http_io_send(&h->client, p, (size_t)k) : 0;
}

/* One head at the front of h->answer; H1_BLOCKED when it is not complete. */
static int response_head(struct h1 *h)
{
    switch (http_response_read(&h->answer_reader, h->answer.data, h->answer.len, h->head.is_head, &h->resp)) {
    case HTTP_RESPONSE_MORE:
        return H1_BLOCKED;
    case HTTP_RESPONSE_BROKEN:
        return h1_answer_error(h);
    default:
        break;
    }
    if (h->resp.status == 101 && !h->head.websocket)
        return h1_answer_error(h);
    h->answer_reader = (struct http_response_reader){0};
    int r = head_forward(h);
    if (r < 0)
        return r;
    if (h->resp.status == 101)
        return to_opaque(h, h->resp.len);
    h->continued |= h->resp.status == 100;
    if (h->resp.status >= 200) {
        h->answering = true;
        http_body_init_response(&h->rsp, &h->resp);
        r = body_forward(h, h->answer.data + h->resp.len, h->answer.len - h->resp.len);
        buf_done(&h->answer);
        return r < 0 ? r : H1_GOES_ON;
    }
    buf_consume(&h->answer, h->resp.len);
    return h->answer.len > 0 ? response_head(h) : H1_GOES_ON;
}

/* The server has ended its side: fine where that ends the body; a silent end is passed on as it is. */
static int up_ended(struct h1 *h)
{
    if (h->answering && h->rsp.state == HTTP_BODY_ENDLESS) {
        h->rsp.state = HTTP_BODY_END;
        return H1_GOES_ON;
    }
    if (h->answering || h->answer.len > 0)
        return -ECONNRESET;
    h->state = H1_CLOSING;
    return H1_GOES_ON;
}

static int response_step(struct h1 *h)
{
    uint8_t *scratch = h->s->env.scratch;

    if (http_io_waits(&h->client) || (h->answering && http_body_ended(&h->rsp)))
        return H1_BLOCKED;
    ssize_t n = h1_read(h, &h->up, QUOTA_RECEIVED, scratch, HTTP_SCRATCH);
    if (n <= 0)
        return n < 0 ? (int)n : h->up.eof ? up_ended(h) : H1_BLOCKED;
    if (h->answering) {
        int r = body_forward(h, scratch, (size_t)n);
        return r < 0 ? r : H1_GOES_ON;
    }
    buf_put(&h->answer, scratch, (size_t)n);
    return h->answer.err < 0 ? h->answer.err : response_head(h);
}

/* Both are complete, or the connection ends with the response. */
static int exchange_over(struct h1 *h)
{
    if (h->close || h->deaf) {
        h->state = H1_CLOSING;
        return H1_GOES_ON;
    }
    if (!http_body_ended(&h->req))
        return H1_BLOCKED;
    if (h->spoilt || h->up.eof || h->up.shut_wanted)
        http_io_done(&h->up);
    if (h->client.eof && h->in.len == 0)
        h->state = H1_CLOSING;
    else
        h1_next(h);
    return H1_GOES_ON;
}

int h1_exchange_step(struct h1 *h)
{
    int up = request_step(h);
    if (up < 0)
        return up;
    int down = response_step(h);
    if (down < 0 || h->state != H1_EXCHANGE)
        return down;
    if (h->answering && http_body_ended(&h->rsp)) {
        int over = exchange_over(h);
        if (over != H1_BLOCKED)
            return over;
    }
    return up == H1_GOES_ON || down == H1_GOES_ON ? H1_GOES_ON : H1_BLOCKED;
}

/* ---- after an upgrade ---- */

static int opaque_flow(struct h1 *h, struct http_io *from, struct http_io *to, enum quota_direction d)
{
    uint8_t *scratch = h->s->env.scratch;

    if (http_io_waits(to) || to->shut_wanted)
        return H1_BLOCKED;
    ssize_t n = h1_read(h, from, d, scratch, HTTP_SCRATCH);
    if (n < 0)
        return (int)n;
    if (n == 0 && !from->eof)
        return H1_BLOCKED;
    to->shut_wanted = from->eof;
    int r = n > 0 ? http_io_send(to, scratch, (size_t)n) : http_io_flush(to);
    return r < 0 ? r : H1_GOES_ON;
}

int h1_opaque_step(struct h1 *h)
{
    int up = opaque_flow(h, &h->client, &h->up, QUOTA_SENT);
    if (up < 0)
        return up;
    int down = opaque_flow(h, &h->up, &h->client, QUOTA_RECEIVED);
    if (down < 0)
        return down;
    if (h->client.shut && h->up.shut) {
        h->state = H1_CLOSING;
        return H1_GOES_ON;
    }
    return up == H1_GOES_ON || down == H1_GOES_ON ? H1_GOES_ON : H1_BLOCKED;
}
