/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/message.h"

#include <sys/random.h>

#define OPTION_COOKIE  10u
#define OPTION_PADDING 12u
#define FLAG_CD        0x0010u
#define OPT_DO         0x8000u

int dns_case_mix(struct dns_wire_name *name)
{
    uint8_t coin[(DNS_WIRE_NAME_MAX + 7) / 8];

    if (getrandom(coin, sizeof(coin), 0) != (ssize_t)sizeof(coin))
        return -EIO;
    /* label lengths are below 'A', so they stay as they are */
    for (size_t i = 0; i < name->len; i++) {
        uint8_t lower = name->b[i] | 0x20;
        if (lower >= 'a' && lower <= 'z' && name->b[i] >= 'A')
            name->b[i] = coin[i / 8] >> (i % 8) & 1 ? lower : (uint8_t)(lower & ~0x20);
    }
    return 0;
}

static void write_cookie(struct buf *b, const struct dns_cookie *c)
{
    buf_put_be16(b, OPTION_COOKIE);
    buf_put_be16(b, (uint16_t)(DNS_COOKIE_CLIENT + c->server_len));
    buf_put(b, c->client, sizeof(c->client));
    buf_put(b, c->server, c->server_len);
}

/* The option's own four bytes count as well. */
static void write_padding(struct buf *b, size_t start)
{
    static const uint8_t zero[DNS_PADDING];
    size_t over = (b->len - start + 4) % DNS_PADDING;
    size_t n = over ? DNS_PADDING - over : 0;

    buf_put_be16(b, OPTION_PADDING);
    buf_put_be16(b, (uint16_t)n);
    buf_put(b, zero, n);
}

static void write_opt(struct buf *b, size_t start, const struct dns_asked *a)
{
    buf_putc(b, 0);
    buf_put_be16(b, DNS_TYPE_OPT);
    buf_put_be16(b, a->udp_size);
    buf_put_be32(b, a->dnssec ? OPT_DO : 0);
    size_t at = b->len;
    buf_put_be16(b, 0);
    if (a->cookie)
        write_cookie(b, a->cookie);
    if (a->pad)
        write_padding(b, start);
    if (b->err < 0)
        return;
    b->data[at] = (uint8_t)((b->len - at - 2) >> 8);
    b->data[at + 1] = (uint8_t)(b->len - at - 2);
}

int dns_asked_write(struct buf *b, const struct dns_asked *a)
{
    size_t start = b->len;

    buf_put_be16(b, a->id);
    buf_put_be16(b, DNS_FLAG_RD | (a->dnssec ? FLAG_CD : 0));
    buf_put_be16(b, 1);
    buf_put_be16(b, 0);
    buf_put_be16(b, 0);
    buf_put_be16(b, a->edns ? 1 : 0);
    buf_put(b, a->q.qname.b, a->q.qname.len);
    buf_put_be16(b, a->q.qtype);
    buf_put_be16(b, a->q.qclass);
    if (a->edns)
        write_opt(b, start, a);
    return b->err;
}

/* What came in OPT; kept apart until it is known that it may be used. */
struct opt_seen {
    uint8_t rcode_high;
    const uint8_t *cookie;
    size_t cookie_len;
};

static void read_options(struct cursor c, struct opt_seen *opt)
{
    const uint8_t *p;
    uint16_t code, len;

    while (cursor_be16(&c, &code) == 0 && cursor_be16(&c, &len) == 0 && cursor_bytes(&c, len, &p) == 0) {
        if (code == OPTION_COOKIE && !opt->cookie) {
            opt->cookie = p;
            opt->cookie_len = len;
        }
    }
}

/* Walks to OPT. A message that is broken before it (also one that was cut) has none. */
static void find_opt(struct dns_reader *r, const struct dns_header *h, struct opt_seen *opt)
{
    unsigned before = (unsigned)h->ancount + h->nscount, all = before + h->arcount;
    struct dns_rr rr;

    for (unsigned i = 0; i < all && i < DNS_RECORDS_MAX; i++) {
        if (dns_rr_read(r, &rr) < 0)
            return;
        if (i < before || rr.type != DNS_TYPE_OPT || rr.owner.len != 1)
            continue;
        opt->rcode_high = (uint8_t)(rr.ttl >> 24);
        read_options(cursor_of(r->base + rr.rdata, rr.rdlen), opt);
        return;
    }
}

static enum dns_fit judge_cookie(const struct dns_asked *a, const struct opt_seen *opt, struct dns_got *got)
{
    if (!a->cookie || !a->edns)
        return DNS_FIT;
    if (!opt->cookie)
        return a->cookie->server_len > 0 && !got->truncated ? DNS_FIT_NO_COOKIE : DNS_FIT;
    if (opt->cookie_len < DNS_COOKIE_CLIENT || memcmp(opt->cookie, a->cookie->client, DNS_COOKIE_CLIENT) != 0)
        return DNS_FIT_STRAY;
    size_t n = opt->cookie_len - DNS_COOKIE_CLIENT;
    if (n >= DNS_COOKIE_SERVER_MIN && n <= DNS_COOKIE_SERVER_MAX) {
        got->server_cookie = opt->cookie + DNS_COOKIE_CLIENT;
        got->server_cookie_len = (uint8_t)n;
    }
    return DNS_FIT;
}

enum dns_fit dns_got_read(const uint8_t *msg, size_t n, const struct dns_asked *a, bool exact_case,
                          struct dns_got *ret)
{
    struct dns_reader r = dns_reader_of(msg, n);
    struct opt_seen opt = {.rcode_high = 0};
    struct dns_question q;
    struct dns_header h;

    *ret = (struct dns_got){.rcode = 0};
    if (dns_header_read(&r.at, &h) < 0 || h.id != a->id || !(h.flags & DNS_FLAG_QR) ||
        DNS_OPCODE(h.flags) != 0 || h.qdcount != 1 || dns_question_read(&r, &q) < 0 ||
        q.qtype != a->q.qtype || q.qclass != a->q.qclass || !dns_name_eq(&q.qname, &a->q.qname))
        return DNS_FIT_STRAY;
    find_opt(&r, &h, &opt);
    ret->rcode = (uint16_t)(opt.rcode_high << 4 | DNS_RCODE(h.flags));
    ret->truncated = h.flags & DNS_FLAG_TC;
    if (exact_case && memcmp(q.qname.b, a->q.qname.b, q.qname.len) != 0)
        return DNS_FIT_OTHER_CASE;
    return judge_cookie(a, &opt, ret);
}

void dns_cookie_learn(struct dns_cookie *cookie, const struct dns_got *got)
{
    if (!got->server_cookie)
        return;
    memcpy(cookie->server, got->server_cookie, got->server_cookie_len);
    cookie->server_len = got->server_cookie_len;
}
