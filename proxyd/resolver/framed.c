/* SPDX-License-Identifier: MIT */
/* Messages with a length before each, over TCP or TLS: answers come in any order (RFC 7766 section 6.2.1.1).
 */
#include "proxyd/resolver/conn.h"

static struct dns_try *try_by_id(struct dns_conn *c, uint16_t id)
{
    struct dns_try *t;

    TAILQ_FOREACH(t, &c->tries, link)
    if (t->asked.id == id)
        return t;
    return NULL;
}

static int framed_send(struct dns_conn *c, struct dns_try *t)
{
    uint8_t *p;
    struct buf b;

    /* ids of answers that will still come are not used again before 65536 others were */
    do
        t->asked.id = c->next_id++;
    while (try_by_id(c, t->asked.id) != t);
    buf_init(&b, 1024);
    buf_put_be16(&b, 0);
    int r = dns_asked_write(&b, &t->asked);
    if (r == 0) {
        p = b.data;
        p[0] = (uint8_t)((b.len - 2) >> 8);
        p[1] = (uint8_t)(b.len - 2);
        r = dns_link_send(&c->l, b.data, b.len);
    }
    buf_done(&b);
    return r;
}

static void framed_cancel(struct dns_conn *c, struct dns_try *t)
{
    (void)t;
    c->cancelled++;
}

/* The connection is encrypted or at least not forged blindly: an answer to another question is a server that
 * cannot be talked to. */
static int take(struct dns_conn *c, const uint8_t *msg, size_t n)
{
    struct dns_got got;
    struct dns_try *t = n >= 2 ? try_by_id(c, (uint16_t)(msg[0] << 8 | msg[1])) : NULL;

    if (!t) {
        if (c->cancelled > 0)
            c->cancelled--;
        else
            c->strays++;
        return c->strays < DNS_UPSTREAM_STRAY_MAX ? 0 : -EBADMSG;
    }
    enum dns_fit fit = dns_got_read(msg, n, &t->asked, /* exact_case= */ false, &got);
    if (fit == DNS_FIT_STRAY) {
        t->counters->strays++;
        return -EBADMSG;
    }
    if (t->asked.cookie)
        dns_cookie_learn(&c->server->cookie, &got);
    dns_conn_answered(c, t, msg, n);
    return 0;
}

/* Takes as much of p as the message in c->in lacks. Bytes taken, or a negative errno. */
static ssize_t fill(struct dns_conn *c, const uint8_t *p, size_t n)
{
    size_t want = 2 - c->in.len;

    if (c->in.len >= 2) {
        size_t len = (size_t)c->in.data[0] << 8 | c->in.data[1];
        if (len < DNS_HEADER_LEN || len > DNS_MESSAGE_MAX)
            return -EMSGSIZE;
        want = len + 2 - c->in.len;
    }
    if (want > n)
        want = n;
    buf_put(&c->in, p, want);
    return c->in.err < 0 ? c->in.err : (ssize_t)want;
}

static bool whole(const struct dns_conn *c)
{
    return c->in.len > 2 && c->in.len - 2 == ((size_t)c->in.data[0] << 8 | c->in.data[1]);
}

static int framed_data(struct dns_conn *c, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = fill(c, p, n);
        if (k < 0)
            return (int)k;
        p += k;
        n -= (size_t)k;
        if (!whole(c))
            continue;
        int r = take(c, c->in.data + 2, c->in.len - 2);
        buf_clear(&c->in);
        if (r < 0)
            return r;
    }
    /* an idle connection needs no memory */
    if (c->in.len == 0 && c->ntries == 0) {
        buf_done(&c->in);
        buf_init(&c->in, DNS_MESSAGE_MAX + 2);
    }
    return 0;
}

static void framed_done(struct dns_conn *c)
{
    (void)c;
}

const struct dns_conn_ops dns_framed_ops = {NULL, framed_send, framed_cancel, framed_data, framed_done};
