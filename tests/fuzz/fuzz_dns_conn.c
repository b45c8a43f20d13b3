/* SPDX-License-Identifier: MIT */
/* The bytes of a resolver on an open connection with three questions: length-prefixed messages, or HTTP/2
 * (first byte odd). The second byte is the size of the pieces in which they come. */
#include <assert.h>
#include <sys/socket.h>

#include "proxyd/resolver/conn.h"

static struct dns_try *tries[3];

static void on_try(void *data, const struct dns_try_result *r)
{
    struct dns_try **t = data;

    if (r->error == 0)
        assert(r->len >= DNS_HEADER_LEN && r->len <= DNS_MESSAGE_MAX && r->msg[2] & 0x80);
    *t = dns_try_free(*t);
}

static void on_closed(struct dns_link *l, int error)
{
    (void)l;
    (void)error;
}

static const struct dns_link_ops ops = {.closed = on_closed};

/* As conn.c has it once the handshake is done. */
static struct dns_conn *open_conn(struct dns_server *s, int fd)
{
    struct dns_conn *c = calloc(1, sizeof(*c));

    assert(c);
    c->server = s;
    c->ops = s->conf.protocol == RESOLVER_DOH ? &dns_doh_ops : &dns_framed_ops;
    c->max = DNS_CONN_PIPELINE;
    TAILQ_INIT(&c->tries);
    buf_init(&c->in, DNS_MESSAGE_MAX + 2);
    dns_link_init(&c->l, s->all->loop, &ops);
    c->l.fd = fd;
    c->l.state = DNS_LINK_OPEN;
    ev_init(&c->idle, NULL);
    LIST_INSERT_HEAD(&s->conns, c, link);
    s->nconns++;
    if (c->ops->open)
        assert(c->ops->open(c) == 0);
    return c;
}

static void feed(struct dns_conn *c, const uint8_t *p, size_t n, size_t piece)
{
    while (n > 0) {
        size_t k = n < piece ? n : piece;
        if (c->ops->data(c, p, k) < 0)
            return;
        p += k;
        n -= k;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct ev_loop *loop;
    static struct dns_counters counters;
    struct dns_resolver r = {
        .id = "x", .protocol = RESOLVER_DO53_TCP, .addr = {{AF_INET, {127, 0, 0, 1}}, 53}};
    struct dns_question q = {.qname = {11, "\1a\7example"}, .qtype = DNS_TYPE_A, .qclass = DNS_CLASS_IN};
    struct dns_upstreams *all;
    int fds[2];

    if (n < 2)
        return 0;
    if (!loop)
        loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (p[0] & 1) {
        r.protocol = RESOLVER_DOH;
        assert(dns_url_parse(str_of("https://127.0.0.1/q"), &r.url) == 0);
    }
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    assert(dns_upstreams_new(loop, &r, 1, NULL, 0, &all) == 0);
    struct dns_conn *c = open_conn(&all->v[0], fds[0]);
    for (size_t i = 0; i < ARRAY_LEN(tries); i++)
        assert(dns_try_new(&all->v[0], &q, false, 1000, &counters, on_try, &tries[i], &tries[i]) == 0);
    feed(c, p + 2, n - 2, (size_t)p[1] + 1);
    for (size_t i = 0; i < ARRAY_LEN(tries); i++)
        tries[i] = dns_try_free(tries[i]);
    dns_upstreams_free(all);
    close(fds[1]);
    return 0;
}
