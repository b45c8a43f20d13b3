/* SPDX-License-Identifier: MIT */
#include "proto/endpoint.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/base/log.h"

/* An open request of ours. One whose deadline has passed stays until its answer comes, so that every answer
 * has a request: a peer that never answers uses up LIMIT_PENDING_CALLS. */
struct call {
    struct call *next;
    struct endpoint *e;
    uint64_t seq;
    uint32_t reply_id;
    ev_timer deadline;
    endpoint_reply_fn cb; /* NULL: forgotten, or answered by the deadline */
    void *data;
};

struct endpoint {
    struct ev_loop *loop;
    struct channel *ch;
    struct endpoint_config cfg;
    uint32_t state;
    uint64_t next_seq;
    uint64_t once;                   /* rows with MSG_ONCE already seen: bit of the row's index */
    struct call *calls, **calls_end; /* oldest first: peers mostly answer in order */
    size_t ncalls;
    ev_timer hello_deadline;
    unsigned busy; /* inside a callback: endpoint_free is put off */
    bool freed;
    bool gone; /* gone() was called, or is about to be */
};

static void endpoint_destroy(struct endpoint *e);

static void enter(struct endpoint *e)
{
    e->busy++;
}

/* True when the endpoint was freed inside and must not be touched any more. */
static bool leave(struct endpoint *e)
{
    e->busy--;
    if (!e->freed)
        return false;
    if (e->busy == 0)
        endpoint_destroy(e);
    return true;
}

static uint32_t other_side(uint32_t side)
{
    return side == FROM_CLIENT ? FROM_SERVER : FROM_CLIENT;
}

/* ---- open calls ---- */

static struct call *call_unlink(struct endpoint *e, struct call **at)
{
    struct call *c = *at;
    *at = c->next;
    if (!c->next)
        e->calls_end = at;
    e->ncalls--;
    ev_timer_stop(e->loop, &c->deadline);
    return c;
}

/* Answers from this side. c may be gone afterwards. */
static void call_fail(struct call *c, uint32_t fail, const char *text)
{
    struct error err = {.fail = fail, .text = str_of(text)};
    endpoint_reply_fn cb = c->cb;
    c->cb = NULL;
    if (cb)
        cb(c->data, &err, NULL, NULL, 0);
}

static void on_call_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct call *c = w->data;
    struct endpoint *e = c->e;
    enter(e);
    call_fail(c, FAIL_TIMEOUT, "no answer in time");
    (void)leave(e);
}

static void fail_all_calls(struct endpoint *e)
{
    while (e->calls && !e->freed) {
        struct call *c = call_unlink(e, &e->calls);
        call_fail(c, FAIL_UNAVAILABLE, "the peer is gone");
        free(c);
    }
}

/* ---- receive ---- */

static int on_hello(struct endpoint *e, const struct hello *h)
{
    const struct iface *i = e->cfg.iface;
    if (!str_is(h->interface, i->name) || h->version != i->version || h->role != e->cfg.peer_role) {
        log_error("hello mismatch: expected %s version %u from %s, got %.*s version %llu from %s", i->name,
                  i->version, enum_text(&enum_role_name, e->cfg.peer_role), (int)h->interface.len,
                  h->interface.p, (unsigned long long)h->version, enum_text(&enum_role_name, h->role));
        return -EPROTO;
    }
    ev_timer_stop(e->loop, &e->hello_deadline);
    e->state = LINE_READY;
    if (e->cfg.ops->ready)
        e->cfg.ops->ready(e->cfg.self, e);
    return 0;
}

static int on_reply(struct endpoint *e, const struct msg *m, struct frame *f)
{
    for (struct call **at = &e->calls; *at; at = &(*at)->next) {
        if ((*at)->seq != m->seq)
            continue;
        if (m->row->id != MSG_ERROR && m->row->id != (*at)->reply_id)
            return -EPROTO;
        struct call *c = call_unlink(e, at);
        if (!c->cb) { /* nobody waits any more */
        } else if (m->row->id == MSG_ERROR) {
            c->cb(c->data, m->rec, NULL, NULL, 0);
        } else {
            c->cb(c->data, NULL, m->rec, f->fds, f->nfds);
        }
        free(c);
        return 0;
    }
    return -EPROTO; /* never asked, or answered before */
}

static int on_request(struct endpoint *e, const struct msg *m, struct frame *f)
{
    int r = iface_once(e->cfg.iface, m->row, &e->once);
    if (r < 0)
        return r;
    for (size_t k = 0; k < e->cfg.ops->n; k++) {
        const struct endpoint_handler *h = &e->cfg.ops->handlers[k];
        if (h->id == m->row->id) {
            struct endpoint_msg em = {m->row, m->seq, m->rec, f->fds, f->nfds};
            return h->fn(e->cfg.self, e, &em);
        }
    }
    return -EPROTO;
}

static int on_frame(void *self, struct frame *f)
{
    struct endpoint *e = self;
    _cleanup_(arena_done) struct arena a = {0};
    arena_init(&a, LIMIT_ARENA);
    struct msg m;
    int r = iface_decode(e->cfg.iface, other_side(e->cfg.side), e->cfg.peer_role, e->state, f->data, f->len,
                         f->nfds, &a, &m);
    if (r < 0)
        return log_failed(LOG_ERR, r, "broken message on line %s from %s", e->cfg.iface->name,
                          enum_text(&enum_role_name, e->cfg.peer_role));
    enter(e);
    if (m.row->id == MSG_HELLO)
        r = on_hello(e, m.rec);
    else if (m.row->flags & MSG_REPLY)
        r = on_reply(e, &m, f);
    else
        r = on_request(e, &m, f);
    if (leave(e))
        return 0; /* freed inside: the channel is gone as well */
    if (r < 0)
        log_failed(LOG_ERR, r, "%s on line %s from %s refused", m.row->name, e->cfg.iface->name,
                   enum_text(&enum_role_name, e->cfg.peer_role));
    return r;
}

static void on_gone(void *self, int err)
{
    struct endpoint *e = self;
    e->gone = true;
    ev_timer_stop(e->loop, &e->hello_deadline);
    enter(e);
    fail_all_calls(e);
    if (!e->freed)
        e->cfg.ops->gone(e->cfg.self, e, err);
    (void)leave(e);
}

static void on_hello_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct endpoint *e = w->data;
    e->ch = channel_free(e->ch); /* it would call on_gone again */
    on_gone(e, -ETIMEDOUT);
}

/* ---- send ---- */

static int send_row(struct endpoint *e, const struct msg_row *row, uint64_t seq, const void *rec,
                    const int *fds, size_t nfds)
{
    if (!row || row->nfds != nfds || !(row->from & e->cfg.side))
        return -EINVAL;
    if (e->gone || e->freed)
        return -EPIPE;
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_FRAME);
    int r = iface_encode(row, seq, rec, &b);
    return r < 0 ? r : channel_send(e->ch, b.data, b.len, fds, nfds);
}

int endpoint_send(struct endpoint *e, uint32_t id, const void *rec, const int *fds, size_t nfds)
{
    const struct msg_row *row = iface_row(e->cfg.iface, id);
    if (!row || !(row->flags & MSG_NOTE))
        return -EINVAL;
    return send_row(e, row, e->next_seq++, rec, fds, nfds);
}

int endpoint_call(struct endpoint *e, uint32_t id, const void *rec, const int *fds, size_t nfds,
                  unsigned timeout_ms, endpoint_reply_fn cb, void *data)
{
    const struct msg_row *row = iface_row(e->cfg.iface, id);
    if (!row || !(row->flags & MSG_CALL))
        return -EINVAL;
    if (e->ncalls >= LIMIT_PENDING_CALLS)
        return -EDQUOT;
    struct call *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    *c = (struct call){.e = e, .seq = e->next_seq++, .reply_id = id + 1, .cb = cb, .data = data};
    int r = send_row(e, row, c->seq, rec, fds, nfds);
    if (r < 0) {
        free(c);
        return r;
    }
    ev_timer_init(&c->deadline, on_call_deadline, timeout_ms / 1000.0, 0);
    c->deadline.data = c;
    if (timeout_ms > 0) {
        ev_now_update(e->loop);
        ev_timer_start(e->loop, &c->deadline);
    }
    *e->calls_end = c;
    e->calls_end = &c->next;
    e->ncalls++;
    return 0;
}

void endpoint_forget(struct endpoint *e, const void *data)
{
    for (struct call *c = e->calls; c; c = c->next)
        if (c->data == data)
            c->cb = NULL;
}

int endpoint_reply(struct endpoint *e, uint32_t request_id, uint64_t seq, const void *rec, const int *fds,
                   size_t nfds)
{
    return send_row(e, iface_row(e->cfg.iface, request_id + 1), seq, rec, fds, nfds);
}

int endpoint_fail(struct endpoint *e, uint64_t seq, uint32_t fail, const char *fmt, ...)
{
    char text[LIMIT_ERROR_TEXT], room[LIMIT_ERROR_TEXT];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct error err = {.fail = fail, .text = iface_error_text(room, str_of(n < 0 ? "failed" : text))};
    return send_row(e, iface_row(e->cfg.iface, MSG_ERROR), seq, &err, NULL, 0);
}

/* ---- life ---- */

static const struct channel_ops channel_callbacks = {on_frame, on_gone};

int endpoint_new(struct ev_loop *loop, int sock, const struct endpoint_config *cfg, struct endpoint **ret)
{
    struct endpoint *e = calloc(1, sizeof(*e));
    if (!e) {
        close(sock);
        return -ENOMEM;
    }
    e->loop = loop;
    e->cfg = *cfg;
    e->state = LINE_HELLO;
    e->next_seq = 1;
    e->calls_end = &e->calls;
    ev_timer_init(&e->hello_deadline, on_hello_deadline, LIMIT_HELLO_MS / 1000.0, 0);
    e->hello_deadline.data = e;
    int r = channel_new(loop, sock, LIMIT_SEND_QUEUE, &channel_callbacks, e, &e->ch);
    if (r < 0) {
        free(e);
        return r;
    }
    struct hello h = {str_of(cfg->iface->name), cfg->iface->version, cfg->role};
    r = send_row(e, iface_row(cfg->iface, MSG_HELLO), 0, &h, NULL, 0);
    if (r < 0 && r != -EPIPE) { /* a peer that has ended already is one that ends: gone() follows */
        endpoint_free(e);
        return r;
    }
    ev_now_update(loop);
    ev_timer_start(loop, &e->hello_deadline);
    *ret = e;
    return 0;
}

static void endpoint_destroy(struct endpoint *e)
{
    while (e->calls)
        free(call_unlink(e, &e->calls));
    free(e);
}

struct endpoint *endpoint_free(struct endpoint *e)
{
    if (!e || e->freed)
        return NULL;
    ev_timer_stop(e->loop, &e->hello_deadline);
    for (struct call *c = e->calls; c; c = c->next)
        ev_timer_stop(e->loop, &c->deadline);
    e->ch = channel_free(e->ch);
    e->freed = true;
    if (e->busy == 0)
        endpoint_destroy(e);
    return NULL;
}

bool endpoint_is_ready(const struct endpoint *e)
{
    return e->state != LINE_HELLO;
}

uint32_t endpoint_state(const struct endpoint *e)
{
    return e->state;
}

void endpoint_set_state(struct endpoint *e, uint32_t state)
{
    e->state = state;
}
