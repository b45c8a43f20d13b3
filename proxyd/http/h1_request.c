/* SPDX-License-Identifier: MIT */
/* Request heads: each one is judged; what is denied is answered here. */
#include "proxyd/http/answer.h"
#include "proxyd/http/h1_state.h"

static struct judgement nothing_known(uint32_t protocol)
{
    return (struct judgement){.protocol = protocol, .rule = -1};
}

/* ---- denials ---- */

static int answer(struct h1 *h, bool close)
{
    _cleanup_(buf_done) struct buf b = {0};

    buf_init(&b, HTTP_SCRATCH);
    http_answer_put(&h->want.j, &h->s->original, close, h->head.is_head, &b);
    return b.err < 0 ? b.err : http_io_send(&h->client, b.data, b.len);
}

static void deny(struct h1 *h, uint32_t reason, const struct upstream_result *result)
{
    h->want.j.allow = false;
    h->want.j.reason = reason;
    h->s->env.deny(h->s->env.gate, &h->want, result);
}

/* The last words; a client that is gone does not hear them. */
static void close_with(struct h1 *h)
{
    h->state = H1_CLOSING;
    if (h->want.j.protocol == L7_HTTP && answer(h, true) < 0)
        buf_done(&h->client.out);
}

void h1_deny(struct h1 *h, uint32_t reason)
{
    deny(h, reason, NULL);
    close_with(h);
}

/* A well-framed request is denied: the connection goes on behind its body, if that is small. A client that
 * waits for a 100 may send the body or not; one that says two things at once is not heard further. */
static int deny_request(struct h1 *h, uint32_t reason, const struct upstream_result *result)
{
    bool goes_on = reason != L7_NAME_CONFLICT && !h->head.close && !h->head.expects &&
                   !(h->head.body == HTTP_BODY_LENGTH && h->head.body_len > H1_DISCARD_MAX);

    deny(h, reason, result);
    if (!goes_on) {
        close_with(h);
        return H1_GOES_ON;
    }
    int r = answer(h, false);
    if (r < 0)
        return r;
    buf_consume(&h->in, h->head.len);
    http_body_init(&h->req, &h->head);
    h->discarded = 0;
    h->state = H1_DISCARD;
    return H1_GOES_ON;
}

int h1_discard_step(struct h1 *h)
{
    uint8_t *scratch = h->s->env.scratch;

    if (http_body_ended(&h->req)) {
        h1_next(h);
        return H1_GOES_ON;
    }
    if (h->in.len == 0) {
        ssize_t n = h1_read(h, &h->client, QUOTA_SENT, scratch, HTTP_SCRATCH);
        if (n < 0)
            return (int)n;
        if (n == 0 && h->client.eof)
            h->state = H1_CLOSING;
        if (n == 0)
            return h->client.eof ? H1_GOES_ON : H1_BLOCKED;
        buf_put(&h->in, scratch, (size_t)n);
        if (h->in.err < 0)
            return h->in.err;
    }
    ssize_t taken = http_body_take(&h->req, h->in.data, h->in.len);
    if (taken >= 0)
        h->discarded += (uint64_t)taken;
    if (taken < 0 || h->discarded > H1_DISCARD_MAX) {
        h->state = H1_CLOSING; /* it has its answer */
        return H1_GOES_ON;
    }
    buf_consume(&h->in, (size_t)taken);
    return H1_GOES_ON;
}

void h1_head_late(struct h1 *h)
{
    h->want.j = nothing_known(L7_HTTP);
    h1_deny(h, L7_PEEK_TIMEOUT);
}

int h1_answer_error(struct h1 *h)
{
    struct upstream_result tried = {.fd = -EBADF, .has_dialed = true, .dialed = h->up_dialed};

    http_io_reset(&h->up);
    deny(h, L7_UPSTREAM_UNREACHABLE, &tried);
    close_with(h);
    return H1_GOES_ON;
}

/* ---- allowed ---- */

static void on_upstream(void *self, const struct upstream_result *result)
{
    struct h1 *h = self;

    h->pending = NULL;
    if (result->reason != 0) {
        http_io_done(&h->up);
        if (deny_request(h, result->reason, result) < 0)
            h->state = H1_CLOSING;
        h1_run(h);
        return;
    }
    if (result->fd >= 0) {
        http_io_init(&h->up, h->s->env.loop, result->fd, h1_io_cb, h);
        h->up_dialed = result->dialed;
    }
    h->moved_at = ev_now(h->s->env.loop);
    if (h1_exchange_begin(h) < 0) {
        buf_done(&h->client.out);
        h->state = H1_CLOSING;
    }
    h1_run(h);
}

static bool same_target(const struct h1 *h, const struct judgement *j)
{
    return h->up_literal == j->literal && str_eq(name_str(&h->up_name), name_str(&j->name));
}

static int forward(struct h1 *h)
{
    struct http_env *env = &h->s->env;
    int r;

    if (http_io_is(&h->up) && !same_target(h, &h->want.j))
        http_io_done(&h->up);
    if (http_io_is(&h->up)) {
        r = env->again(env->gate, &h->want, &h->up_dialed, on_upstream, h, &h->pending);
    } else {
        h->up_name = h->want.j.name;
        h->up_literal = h->want.j.literal;
        r = env->open(env->gate, &h->want, on_upstream, h, &h->pending);
    }
    if (r < 0)
        return deny_request(h, L7_QUOTA, NULL);
    h->state = H1_DECIDING;
    return H1_BLOCKED;
}

/* The connection becomes h2c, with this request as its first stream. Everything is the new one's. */
static int to_h2(struct h1 *h, bool upgrade)
{
    struct http_session *s = h->s;
    struct http_head head = h->head; /* what it borrows is in seen */
    struct buf seen = h->in;

    ev_io_stop(s->env.loop, &h->client.reader);
    ev_io_stop(s->env.loop, &h->client.writer);
    int fd = TAKE_FD(h->client.fd);
    h->in = (struct buf){0};
    s->h1 = NULL;
    h1_free(h);
    if (h2_new(s, fd, &seen, upgrade ? &head : NULL) < 0)
        http_session_end(s);
    return H1_GONE;
}

static int judge_request(struct h1 *h)
{
    struct http_env *env = &h->s->env;
    struct judgement j, h2c;

    env->judge(env->gate, &h->s->original, &h->head.host, L7_HTTP, &j);
    if (!j.allow && h->first && h->head.h2c && !http_io_waits(&h->client)) {
        env->judge(env->gate, &h->s->original, &h->head.host, L7_H2C, &h2c);
        if (h2c.allow)
            return to_h2(h, true);
    }
    h->first = false;
    h->want = http_session_want(h->s, &j);
    return j.allow ? forward(h) : deny_request(h, j.reason, NULL);
}

/* ---- heads ---- */

static int head_refused(struct h1 *h, enum http_head_outcome o)
{
    h->head.is_head = false;
    h->want.j = nothing_known(o == HTTP_HEAD_NOT_HTTP ? L7_UNKNOWN : L7_HTTP);
    if (o == HTTP_HEAD_CONNECT) {
        h->want.j.name = h->head.host.name;
        /* The address it asked for is not the one that a literal in an event means. */
    }
    h1_deny(h, o == HTTP_HEAD_NO_HOST    ? L7_HTTP_HOST_MISSING
               : o == HTTP_HEAD_CONFLICT ? L7_NAME_CONFLICT
                                         : L7_UNKNOWN_PROTOCOL);
    return H1_GOES_ON;
}

/* Nothing may be answered before the framing of its body is known to be good as far as it is there. */
static int head_done(struct h1 *h)
{
    struct http_body body;

    http_body_init(&body, &h->head);
    if (http_body_take(&body, h->in.data + h->head.len, h->in.len - h->head.len) < 0) {
        h->want.j = nothing_known(L7_HTTP);
        h->want.j.name = h->head.host.name;
        h1_deny(h, L7_NAME_CONFLICT);
        return H1_GOES_ON;
    }
    return judge_request(h);
}

static bool begins_preface(const struct h1 *h)
{
    size_t n = h->in.len < H2_PREFACE_LEN ? h->in.len : H2_PREFACE_LEN;

    return h->first && memcmp(h->in.data, H2_PREFACE, n) == 0;
}

static int head_eof(struct h1 *h)
{
    if (h->in.len == 0) {
        h->state = H1_CLOSING;
        return H1_GOES_ON;
    }
    h->want.j = nothing_known(L7_HTTP);
    h->head.is_head = false;
    h1_deny(h, L7_UNKNOWN_PROTOCOL);
    return H1_GOES_ON;
}

/* An idle server that speaks or ends its side ends the connection, as it would without us. */
static int up_spoke(struct h1 *h)
{
    h->up_event = false;
    http_io_done(&h->up);
    if (h->in.len == 0 && h->head_at == 0)
        h->state = H1_CLOSING;
    return H1_GOES_ON;
}

static int head_read_more(struct h1 *h)
{
    uint8_t *scratch = h->s->env.scratch;
    size_t room = h->in.len < LIMIT_PEEK ? LIMIT_PEEK - h->in.len : 1;
    ssize_t n = h1_read(h, &h->client, QUOTA_SENT, scratch, room);

    if (n < 0 && n != -EDQUOT && h->in.len > 0)
        h->client.eof = true; /* a reset in the middle of a head is an event too */
    else if (n < 0)
        return (int)n;
    if (n > 0)
        buf_put(&h->in, scratch, (size_t)n);
    if (h->in.err < 0)
        return h->in.err;
    if (n > 0 && h->head_at == 0)
        h->head_at = ev_now(h->s->env.loop);
    if (n > 0)
        return H1_GOES_ON;
    return h->client.eof ? head_eof(h) : H1_BLOCKED;
}

int h1_head_step(struct h1 *h)
{
    enum http_head_outcome o = HTTP_HEAD_MORE;

    if (http_io_waits(&h->client)) /* answers that nobody reads: nothing more is judged meanwhile */
        return H1_BLOCKED;
    if (h->up_event && http_io_is(&h->up))
        return up_spoke(h);
    if (h->in.len > 0 && h->head_at == 0)
        h->head_at = ev_now(h->s->env.loop);
    if (h->in.len > 0 && begins_preface(h)) {
        if (h->in.len >= H2_PREFACE_LEN)
            return to_h2(h, false);
    } else if (h->in.len > 0) {
        o = http_head_read(&h->reader, h->in.data, h->in.len, &h->head);
    }
    if (o == HTTP_HEAD_MORE)
        return head_read_more(h);
    h->head_at = 0;
    return o == HTTP_HEAD_DONE ? head_done(h) : head_refused(h, o);
}

void h1_next(struct h1 *h)
{
    h->state = H1_HEAD;
    h->reader = (struct http_head_reader){0};
    h->head_at = 0;
    h->up_event = false;
    h->moved_at = ev_now(h->s->env.loop);
    if (h->in.len == 0)
        buf_done(&h->in);
}
