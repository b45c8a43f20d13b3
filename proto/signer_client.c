/* SPDX-License-Identifier: MIT */
#include "proto/signer_client.h"

struct claim;

struct signer_client {
    struct endpoint *e;
    struct claim *claims; /* open ones */
    uint64_t counter;
    size_t open;
    void (*gone)(void *self, int err);
    void *self;
};

struct claim {
    struct signer_client *s;
    signer_ack_fn cb;
    void *data;
    struct claim *next, **at; /* linked, so that signer_forget finds it */
};

static void claim_unlink(struct claim *c)
{
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    c->s->open--;
}

static int errno_of(const struct error *e)
{
    switch (e->fail) {
    case FAIL_TIMEOUT:
        return -ETIMEDOUT;
    case FAIL_UNAVAILABLE:
        return -EPIPE;
    case FAIL_NO_SPACE:
        return -ENOSPC;
    case FAIL_AUTHORITY:
        return -EPERM;
    case FAIL_QUOTA:
        return -EDQUOT;
    case FAIL_INTERNAL:
        return -EIO;
    default:
        return -EPROTO;
    }
}

static void on_claim_answer(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)fds;
    (void)nfds;
    struct claim *c = data;
    const struct signer_claim_rep *rep = rec;
    claim_unlink(c);
    if (c->cb)
        c->cb(c->data, error ? errno_of(error) : 0, error ? 0 : rep->sequence);
    free(c);
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    (void)e;
    struct signer_client *s = self;
    if (s->gone)
        s->gone(s->self, err);
}

/* Only the supervisor's line gets this note: the cells must end, the reserve still takes their last events.
 */
static int on_log_failed(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)e;
    struct signer_client *s = self;
    const struct signer_log_failed *f = m->rec;
    if (s->gone)
        s->gone(s->self, f->fail == FAIL_NO_SPACE ? -ENOSPC : -EIO);
    return 0;
}

int signer_client_new(struct ev_loop *loop, int sock, uint32_t role, void (*gone)(void *self, int err),
                      void *self, struct signer_client **ret)
{
    static const struct endpoint_handler handlers[] = {{MSG_SIGNER_LOG_FAILED, on_log_failed}};
    static const struct endpoint_ops ops = {handlers, ARRAY_LEN(handlers), .gone = on_gone};
    struct signer_client *s = calloc(1, sizeof(*s));
    if (!s) {
        close(sock);
        return -ENOMEM;
    }
    s->gone = gone;
    s->self = self;
    struct endpoint_config cfg = {&iface_signer, FROM_CLIENT, role, ROLE_SIGNERD, &ops, s};
    int r = endpoint_new(loop, sock, &cfg, &s->e);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

struct signer_client *signer_client_free(struct signer_client *s)
{
    if (!s)
        return NULL;
    endpoint_free(s->e);
    while (s->claims) {
        struct claim *c = s->claims;
        s->claims = c->next;
        free(c);
    }
    free(s);
    return NULL;
}

int signer_claim(struct signer_client *s, const char *run_id, enum event_type type, const void *rec,
                 bool deadline, signer_ack_fn cb, void *data)
{
    const struct event_row *row = event_row(type);
    if (!row)
        return -EINVAL;
    _cleanup_(buf_done) struct buf body = {0};
    buf_init(&body, LIMIT_CLAIM_BODY);
    int r = codec_encode(row->data, rec, &body);
    if (r < 0)
        return r;
    struct claim *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    *c = (struct claim){.s = s, .cb = cb, .data = data};
    struct signer_claim_req req = {++s->counter, str_of(run_id), type, buf_str(&body)};
    r = endpoint_call(s->e, MSG_SIGNER_CLAIM_REQ, &req, NULL, 0, deadline ? LIMIT_ACK_MS : 0, on_claim_answer,
                      c);
    if (r < 0) {
        free(c);
        return r;
    }
    c->next = s->claims;
    c->at = &s->claims;
    if (s->claims)
        s->claims->at = &c->next;
    s->claims = c;
    s->open++;
    return 0;
}

void signer_forget(struct signer_client *s, const void *data)
{
    for (struct claim *c = s->claims; c; c = c->next)
        if (c->data == data)
            c->cb = NULL;
}

size_t signer_client_open(const struct signer_client *s)
{
    return s->open;
}

struct endpoint *signer_client_endpoint(struct signer_client *s)
{
    return s->e;
}
