/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/validate.h"

#include <stdio.h>

#include "proxyd/dns/reply.h"
#include "proxyd/resolver/anchors.h"
#include "proxyd/resolver/feed.h"

#define WHY_MAX       256u
#define TEXT_MAX      (4u * DNS_WIRE_NAME_MAX + 2u)
#define REBUILT_MAX   (2u * DNS_MESSAGE_MAX + DNS_RECORDS_MAX * 3u * DNS_WIRE_NAME_MAX)
#define TYPE_RRSIG    46
#define TYPE_NSEC     47
#define TYPE_NSEC3    50
#define UNSIGNED_TEXT "no chain of signatures leads from the trust anchors to it"

struct dns_validator {
    struct dns_server *server;
    struct ubevent_base base;
    struct dns_feed *feed;
    struct ub_ctx *ctx;
    unsigned n;
};

struct dns_validation {
    struct dns_server *server;
    struct dns_question q;
    dns_try_cb cb;
    void *data;
    int async_id;
    bool running; /* libunbound has it */
    bool counted;
    ev_timer later;
    int error;
    enum dnssec_status dnssec;
    struct buf msg;
    char why[WHY_MAX];
};

/* ---- the validator ---- */

/* A cache of some hundred answers and keys an authority; nothing but this one resolver is asked, nothing is
 * answered from built-in zones, and a question is not repeated before the feeder has answered it. */
static const char *const options[][2] = {
    {"module-config:", "validator iterator"},
    {"do-not-query-localhost:", "no"},
    {"outgoing-interface:", "127.0.0.1"},
    {"do-ip6:", "no"},
    {"do-tcp:", "no"},
    {"edns-buffer-size:", "16384"},
    {"outgoing-range:", "128"},
    {"outgoing-num-tcp:", "0"},
    {"msg-buffer-size:", "20480"},
    {"infra-cache-numhosts:", "16"},
    {"num-queries-per-thread:", "1024"},
    {"msg-cache-size:", "256k"},
    {"msg-cache-slabs:", "1"},
    {"rrset-cache-size:", "512k"},
    {"rrset-cache-slabs:", "1"},
    {"infra-cache-slabs:", "1"},
    {"key-cache-size:", "256k"},
    {"key-cache-slabs:", "1"},
    {"neg-cache-size:", "64k"},
    {"infra-cache-min-rtt:", "2500"},
    {"trust-anchor-signaling:", "no"},
    {"root-key-sentinel:", "no"},
    {"unblock-lan-zones:", "yes"},
    {"qname-minimisation:", "no"},
    {"val-log-level:", "2"},
};

/* Zones that libunbound answers itself unless told not to (RFC 6303, 6761, 7686, 8375). */
static const char *const own_zones[] = {
    "localhost.",
    "127.in-addr.arpa.",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
    "home.arpa.",
    "onion.",
    "test.",
    "invalid.",
};

static int add_anchor(void *data, const char *record)
{
    return ub_ctx_add_ta(data, record) == 0 ? 0 : -EINVAL;
}

static int configure(struct dns_validator *v)
{
    char fwd[32];

    if (ub_ctx_debugout(v->ctx, NULL) != 0)
        return -EIO;
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (ub_ctx_set_option(v->ctx, options[i][0], options[i][1]) != 0)
            return -ENOSYS;
    (void)snprintf(fwd, sizeof(fwd), "127.0.0.1@%u", dns_feed_port(v->feed));
    if (ub_ctx_set_fwd(v->ctx, fwd) != 0)
        return -EIO;
    int r = dns_anchors_each(v->server->conf.trust_anchors, add_anchor, v->ctx);
    if (r < 0)
        return r;
    /* the first of these ends the configuration: anchors that cannot be used show here */
    for (size_t i = 0; i < ARRAY_LEN(own_zones); i++)
        if (ub_ctx_zone_remove(v->ctx, own_zones[i]) != 0)
            return -EINVAL;
    return 0;
}

static int validator_new(struct dns_server *s)
{
    struct dns_validator *v = calloc(1, sizeof(*v));

    if (!v)
        return -ENOMEM;
    v->server = s;
    ubevent_base_init(&v->base, s->all->loop);
    int r = dns_feed_new(s, &v->base, &v->feed);
    if (r == 0) {
        v->ctx = ub_ctx_create_ub_event(&v->base.super);
        r = v->ctx ? configure(v) : -ENOMEM;
    }
    if (r < 0) {
        dns_validator_free(v);
        return r;
    }
    s->validator = v;
    return 0;
}

struct dns_validator *dns_validator_free(struct dns_validator *v)
{
    if (!v)
        return NULL;
    if (v->ctx)
        ub_ctx_delete(v->ctx);
    dns_feed_free(v->feed);
    free(v);
    return NULL;
}

/* ---- one question ---- */

/* RFC 1035 section 5.1; every byte but letters, digits, "-" and "_" is escaped. */
static void name_text(const struct dns_wire_name *w, char dst[TEXT_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i + 1 < w->len;) {
        size_t end = i + 1 + w->b[i];
        for (i++; i < end; i++) {
            uint8_t c = w->b[i];
            bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
            n += (size_t)snprintf(dst + n, TEXT_MAX - n, plain || c == '-' || c == '_' ? "%c" : "\\%03u", c);
        }
        dst[n++] = '.';
    }
    if (n == 0)
        dst[n++] = '.';
    dst[n] = '\0';
}

static void finish_later(struct dns_validation *d, int error)
{
    struct ev_loop *loop = d->server->all->loop;

    d->error = error;
    ev_timer_stop(loop, &d->later);
    ev_timer_set(&d->later, 0., 0.);
    ev_timer_start(loop, &d->later);
}

static void on_later(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_validation *d = w->data;

    (void)loop;
    (void)events;
    d->cb(d->data, &(struct dns_try_result){.error = d->error,
                                            .msg = d->msg.data,
                                            .len = d->msg.len,
                                            .dnssec = d->error ? dnssec_status_absent : d->dnssec,
                                            .why = d->why[0] ? d->why : NULL});
}

static void put_head(struct buf *b, const struct dns_question *q, unsigned flags)
{
    buf_put_be16(b, 0);
    buf_put_be16(b, (uint16_t)flags);
    buf_put_be16(b, 1);
    buf_put_be16(b, 0);
    buf_put_be16(b, 0);
    buf_put_be16(b, 0);
    buf_put(b, q->qname.b, q->qname.len);
    buf_put_be16(b, q->qtype);
    buf_put_be16(b, q->qclass);
}

/* Signatures and proofs have done their work; nobody behind this asked for them. */
static bool wanted(const struct dns_rr *rr, uint16_t qtype)
{
    if (rr->type == qtype || qtype == DNS_TYPE_ANY)
        return rr->type != DNS_TYPE_OPT;
    return rr->type != TYPE_RRSIG && rr->type != TYPE_NSEC && rr->type != TYPE_NSEC3 &&
           rr->type != DNS_TYPE_OPT;
}

static void put_count(struct buf *b, size_t at, uint16_t n)
{
    b->data[at] = (uint8_t)(n >> 8);
    b->data[at + 1] = (uint8_t)n;
}

/* The answer and authority sections of libunbound's message without what only validation needs. */
static int rebuild(struct dns_validation *d, const uint8_t *msg, size_t len)
{
    struct dns_reader r = dns_reader_of(msg, len);
    struct dns_question q;
    struct dns_header h;
    struct dns_rr rr;
    uint16_t kept[2] = {0, 0};

    if (dns_header_read(&r.at, &h) < 0 || h.qdcount != 1 || dns_question_read(&r, &q) < 0)
        return -EBADMSG;
    put_head(&d->msg, &d->q, DNS_FLAG_QR | DNS_FLAG_RD | DNS_FLAG_RA | DNS_RCODE(h.flags));
    for (unsigned i = 0; i < (unsigned)h.ancount + h.nscount && i < DNS_RECORDS_MAX; i++) {
        if (dns_rr_read(&r, &rr) < 0)
            return -EBADMSG;
        if (!wanted(&rr, d->q.qtype))
            continue;
        int k = dns_reply_put_rr(&d->msg, msg, &rr, rr.ttl);
        if (k < 0)
            return k;
        kept[i >= h.ancount]++;
    }
    if (d->msg.err < 0)
        return d->msg.err;
    put_count(&d->msg, 6, kept[0]);
    put_count(&d->msg, 8, kept[1]);
    return 0;
}

static int take(struct dns_validation *d, int rcode, const uint8_t *msg, int len, int sec, const char *why)
{
    if (sec == 1) {
        d->dnssec = DNSSEC_BOGUS;
        (void)snprintf(d->why, sizeof(d->why), "%s", why && *why ? why : "validation failure");
        put_head(&d->msg, &d->q, DNS_FLAG_QR | DNS_FLAG_RD | DNS_FLAG_RA | DNS_SERVFAIL);
        return d->msg.err;
    }
    if (rcode != 0 || !msg || len < (int)DNS_HEADER_LEN) {
        (void)snprintf(d->why, sizeof(d->why), "%s",
                       d->server->why[0] ? d->server->why : "the validator got no answer");
        return -EHOSTUNREACH;
    }
    d->dnssec = sec == 2 ? DNSSEC_SECURE : DNSSEC_INSECURE;
    if (sec != 2)
        (void)snprintf(d->why, sizeof(d->why), "%s", UNSIGNED_TEXT);
    return rebuild(d, msg, (size_t)len);
}

/* libunbound's call-back; also from inside ub_resolve_event, when its cache has the answer. */
static void on_resolved(void *data, int rcode, void *packet, int len, int sec, char *why, int limited)
{
    struct dns_validation *d = data;

    (void)limited;
    d->running = false;
    finish_later(d, take(d, rcode, packet, len, sec, why));
}

static int start(struct dns_validation *d)
{
    struct dns_server *s = d->server;
    char name[TEXT_MAX];
    int r = s->validator_error;

    if (!s->validator && r == 0)
        r = validator_new(s);
    if (r != 0) {
        /* not once more for every question */
        s->validator_error = r == -EINVAL || r == -ENOSYS ? r : 0;
        (void)snprintf(d->why, sizeof(d->why), "%s",
                       r == -EINVAL ? "the trust anchors cannot be used" : "the validator cannot be set up");
        return r;
    }
    if (s->validator->n >= DNS_VALIDATIONS_MAX)
        return -EDQUOT;
    name_text(&d->q.qname, name);
    s->validator->n++;
    d->running = d->counted = true;
    if (ub_resolve_event(s->validator->ctx, name, d->q.qtype, d->q.qclass, d, on_resolved, &d->async_id) == 0)
        return 0;
    d->running = false;
    return -EIO;
}

int dns_validation_new(struct dns_server *s, const struct dns_question *q, struct dns_counters *counters,
                       dns_try_cb cb, void *data, struct dns_validation **ret)
{
    struct dns_validation *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;
    d->server = s;
    d->q = *q;
    d->cb = cb;
    d->data = data;
    buf_init(&d->msg, REBUILT_MAX);
    ev_init(&d->later, on_later);
    d->later.data = d;
    counters->upstream++;
    int r = start(d);
    if (r < 0)
        finish_later(d, r);
    *ret = d;
    return 0;
}

struct dns_validation *dns_validation_free(struct dns_validation *d)
{
    if (!d)
        return NULL;
    if (d->running)
        (void)ub_cancel(d->server->validator->ctx, d->async_id);
    if (d->counted)
        d->server->validator->n--;
    ev_timer_stop(d->server->all->loop, &d->later);
    buf_done(&d->msg);
    free(d);
    return NULL;
}
