/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/reply.h"

#include "proxyd/dns/dns.h"

/* Where the names in a type's rdata are: n = a name, digit = that many bytes, s = a character string, then
 * the rest as it is. Types that are not listed have no compressible names (RFC 3597 section 4). */
struct rdata_form {
    uint16_t type;
    const char *form;
};

static const struct rdata_form rdata_forms[] = {
    {2, "n"},
    {3, "n"},
    {4, "n"},
    {DNS_TYPE_CNAME, "n"},
    {DNS_TYPE_SOA, "nn"},
    {7, "n"},
    {8, "n"},
    {9, "n"},
    {12, "n"},
    {14, "nn"},
    {15, "2n"},
    {17, "nn"},
    {18, "2n"},
    {21, "2n"},
    {26, "2nn"},
    {33, "6n"},
    {35, "4sssn"},
    {36, "2n"},
    {39, "n"},
};

struct dns_reply *dns_reply_new(uint8_t rcode, uint16_t n, uint32_t ttl_s, const struct buf *wire)
{
    struct dns_reply *r = malloc(sizeof(*r) + wire->len);

    if (!r)
        return NULL;
    *r = (struct dns_reply){.refs = 1, .rcode = rcode, .n = n, .ttl_s = ttl_s, .len = wire->len};
    if (wire->len > 0)
        memcpy(r->wire, wire->data, wire->len);
    return r;
}

struct dns_reply *dns_reply_ref(struct dns_reply *r)
{
    r->refs++;
    return r;
}

struct dns_reply *dns_reply_unref(struct dns_reply *r)
{
    if (r && --r->refs == 0)
        free(r);
    return NULL;
}

static const char *rdata_form_of(uint16_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(rdata_forms); i++)
        if (rdata_forms[i].type == type)
            return rdata_forms[i].form;
    return "";
}

static int rdata_step(struct buf *b, struct dns_reader *r, char step)
{
    struct dns_wire_name name;
    const uint8_t *p;
    uint8_t len;

    if (step == 'n') {
        if (dns_name_read(r, &name) < 0)
            return -EBADMSG;
        buf_put(b, name.b, name.len);
        return 0;
    }
    if (step == 's') {
        if (cursor_u8(&r->at, &len) < 0)
            return -EBADMSG;
        buf_putc(b, len);
    } else {
        len = (uint8_t)(step - '0');
    }
    if (cursor_bytes(&r->at, len, &p) < 0)
        return -EBADMSG;
    buf_put(b, p, len);
    return 0;
}

static void put_head(struct buf *b, const struct dns_rr *rr, uint32_t ttl_s)
{
    buf_put(b, rr->owner.b, rr->owner.len);
    buf_put_be16(b, rr->type);
    buf_put_be16(b, rr->class);
    buf_put_be32(b, ttl_s);
}

int dns_reply_put_raw(struct buf *b, const struct dns_rr *rr, uint32_t ttl_s, const void *rdata, size_t n)
{
    if (n > UINT16_MAX)
        return -EBADMSG;
    put_head(b, rr, ttl_s);
    buf_put_be16(b, (uint16_t)n);
    buf_put(b, rdata, n);
    return b->err;
}

int dns_reply_put_rr(struct buf *b, const uint8_t *base, const struct dns_rr *rr, uint32_t ttl_s)
{
    const char *form = rdata_form_of(rr->type);
    struct dns_reader r = {base, cursor_of(base + rr->rdata, rr->rdlen)};

    put_head(b, rr, ttl_s);
    size_t at = b->len;
    buf_put_be16(b, 0);
    for (const char *f = form; *f; f++)
        if (rdata_step(b, &r, *f) < 0)
            return -EBADMSG;
    /* a bare name is the whole rdata */
    if (strcmp(form, "n") == 0 && cursor_left(&r.at) > 0)
        return -EBADMSG;
    buf_put(b, r.at.p, cursor_left(&r.at));
    if (b->err < 0)
        return b->err;
    size_t n = b->len - at - 2;
    if (n > UINT16_MAX)
        return -EBADMSG;
    b->data[at] = (uint8_t)(n >> 8);
    b->data[at + 1] = (uint8_t)n;
    return 0;
}

/* Names already written whole, so that a record of the same owner needs two bytes. */
struct written_names {
    size_t n;
    struct {
        size_t offset; /* in the message */
        struct dns_wire_name name;
    } v[DNS_CHAIN_MAX + 2];
};

static void written_add(struct written_names *w, size_t offset, const struct dns_wire_name *name)
{
    if (w->n == ARRAY_LEN(w->v) || offset >= DNS_MESSAGE_MAX)
        return;
    w->v[w->n].offset = offset;
    w->v[w->n].name.len = name->len;
    memcpy(w->v[w->n].name.b, name->b, name->len);
    w->n++;
}

static void write_owner(struct buf *b, size_t start, struct written_names *w,
                        const struct dns_wire_name *name)
{
    for (size_t i = 0; i < w->n; i++) {
        if (dns_name_eq(&w->v[i].name, name)) {
            buf_put_be16(b, (uint16_t)(0xc000u | w->v[i].offset));
            return;
        }
    }
    written_add(w, b->len - start, name);
    buf_put(b, name->b, name->len);
}

static int write_records(struct buf *b, size_t start, const struct dns_question *q,
                         const struct dns_reply *reply, uint32_t age_s)
{
    struct dns_reader r = dns_reader_of(reply->wire, reply->len);
    static struct written_names w; /* not on the stack, where it would be cleared for every reply */
    struct dns_wire_name target;
    struct dns_rr rr;

    w.n = 0;
    written_add(&w, DNS_HEADER_LEN, &q->qname);
    for (unsigned i = 0; i < reply->n; i++) {
        if (dns_rr_read(&r, &rr) < 0)
            return -EBADMSG;
        write_owner(b, start, &w, &rr.owner);
        buf_put_be16(b, rr.type);
        buf_put_be16(b, rr.class);
        buf_put_be32(b, rr.ttl > age_s ? rr.ttl - age_s : 0);
        buf_put_be16(b, rr.rdlen);
        struct dns_reader rd = {r.base, cursor_of(r.base + rr.rdata, rr.rdlen)};
        if (rr.type == DNS_TYPE_CNAME && dns_name_read(&rd, &target) == 0)
            written_add(&w, b->len - start, &target);
        buf_put(b, reply->wire + rr.rdata, rr.rdlen);
    }
    return b->err;
}

static void write_header(struct buf *b, uint16_t id, unsigned flags, uint16_t ancount, uint16_t arcount)
{
    buf_put_be16(b, id);
    buf_put_be16(b, (uint16_t)flags);
    buf_put_be16(b, 1);
    buf_put_be16(b, ancount);
    buf_put_be16(b, 0);
    buf_put_be16(b, arcount);
}

static void write_question(struct buf *b, const struct dns_question *q)
{
    buf_put(b, q->qname.b, q->qname.len);
    buf_put_be16(b, q->qtype);
    buf_put_be16(b, q->qclass);
}

/* RFC 6891 section 6.1.2: root owner, the size we take, no extended code, version 0, no options. */
static void write_opt(struct buf *b, uint16_t size)
{
    buf_putc(b, 0);
    buf_put_be16(b, DNS_TYPE_OPT);
    buf_put_be16(b, size);
    buf_put_be32(b, 0);
    buf_put_be16(b, 0);
}

int dns_reply_write(struct buf *b, const struct dns_ask *ask, uint8_t rcode, const struct dns_reply *reply,
                    uint64_t now_us, size_t max)
{
    unsigned flags = DNS_FLAG_QR | DNS_FLAG_RA | (ask->rd ? DNS_FLAG_RD : 0) | rcode;
    uint16_t opt = ask->edns ? 1 : 0;
    size_t start = b->len;

    write_header(b, ask->id, flags, reply ? reply->n : 0, opt);
    write_question(b, &ask->q);
    if (reply) {
        uint64_t age_s = now_us > reply->at_us ? (now_us - reply->at_us) / 1000000 : 0;
        int r = write_records(b, start, &ask->q, reply, age_s > UINT32_MAX ? UINT32_MAX : (uint32_t)age_s);
        if (r < 0)
            return r;
    }
    if (opt)
        write_opt(b, DNS_UDP_UPSTREAM);
    if (b->err == 0 && b->len - start > max && reply) {
        b->len = start;
        write_header(b, ask->id, flags | DNS_FLAG_TC, 0, opt);
        write_question(b, &ask->q);
        if (opt)
            write_opt(b, DNS_UDP_UPSTREAM);
    }
    return b->err;
}
