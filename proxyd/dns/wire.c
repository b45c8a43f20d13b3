/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/wire.h"

#include <sodium.h>
#include <sys/random.h>

#include "proxyd/dns/dns.h"

#define ASK_ADDITIONAL_MAX 4 /* OPT and what a signature may add */

static uint8_t ascii_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

uint64_t dns_hash(const void *p, size_t n)
{
    static uint8_t key[crypto_shorthash_KEYBYTES];
    static bool keyed;
    uint64_t h = 0;

    /* without randomness (it cannot fail once the system is up) the tables still work */
    if (!keyed)
        keyed = getrandom(key, sizeof(key), 0) == sizeof(key);
    crypto_shorthash((uint8_t *)&h, p, n, key);
    return h;
}

int dns_header_read(struct cursor *c, struct dns_header *ret)
{
    struct dns_header h;

    if (cursor_be16(c, &h.id) < 0 || cursor_be16(c, &h.flags) < 0 || cursor_be16(c, &h.qdcount) < 0 ||
        cursor_be16(c, &h.ancount) < 0 || cursor_be16(c, &h.nscount) < 0 || cursor_be16(c, &h.arcount) < 0)
        return -EBADMSG;
    *ret = h;
    return 0;
}

/* One label or the root byte: appends it. 1 when the name is complete, 0 to go on. */
static int label_read(struct cursor *c, uint8_t len, struct dns_wire_name *name)
{
    const uint8_t *p;

    /* the root byte must still fit behind this label */
    if ((size_t)name->len + 1 + len + (len ? 1 : 0) > DNS_WIRE_NAME_MAX || cursor_bytes(c, len, &p) < 0)
        return -EBADMSG;
    name->b[name->len++] = len;
    memcpy(name->b + name->len, p, len);
    name->len = (uint8_t)(name->len + len);
    return len == 0;
}

int dns_name_read(struct dns_reader *r, struct dns_wire_name *ret)
{
    struct cursor c = r->at;
    const uint8_t *run = c.p; /* pointers must lead to before here, so they cannot loop */
    struct dns_wire_name name;
    unsigned jumps = 0;
    uint8_t len, low;

    name.len = 0;
    for (;;) {
        if (cursor_u8(&c, &len) < 0)
            return -EBADMSG;
        if (len <= 63) {
            int done = label_read(&c, len, &name);
            if (done < 0)
                return done;
            if (done)
                break;
            continue;
        }
        if (len < 0xc0 || cursor_u8(&c, &low) < 0 || ++jumps > DNS_JUMPS_MAX)
            return -EBADMSG;
        size_t target = (size_t)(len & 0x3f) << 8 | low;
        if (target < DNS_HEADER_LEN || target >= (size_t)(run - r->base))
            return -EBADMSG;
        if (jumps == 1)
            r->at = c;
        run = r->base + target;
        c.p = run;
    }
    if (jumps == 0)
        r->at = c;
    ret->len = name.len;
    memcpy(ret->b, name.b, name.len);
    return 0;
}

bool dns_name_eq(const struct dns_wire_name *a, const struct dns_wire_name *b)
{
    if (a->len != b->len)
        return false;
    /* label lengths are below 'A', so folding them too changes nothing */
    for (size_t i = 0; i < a->len; i++)
        if (ascii_lower(a->b[i]) != ascii_lower(b->b[i]))
            return false;
    return true;
}

bool dns_name_host(const struct dns_wire_name *w, struct name *ret)
{
    char text[DNS_WIRE_NAME_MAX];
    size_t n = 0;

    for (size_t i = 0; i + 1 < w->len;) {
        uint8_t len = w->b[i++];
        if (n > 0)
            text[n++] = '.';
        /* a dot inside a label would read as a border between two */
        if (memchr(w->b + i, '.', len))
            return false;
        memcpy(text + n, w->b + i, len);
        n += len;
        i += len;
    }
    return name_parse((struct str){text, n}, NAME_DNS, ret) == NAME_OK;
}

void dns_name_from_host(const struct name *n, struct dns_wire_name *ret)
{
    size_t label = 0;

    /* every dot becomes the length of the label behind it */
    memcpy(ret->b + 1, n->text, n->len);
    for (size_t i = 0; i <= n->len; i++) {
        if (i < n->len && n->text[i] != '.')
            continue;
        ret->b[label] = (uint8_t)(i - label);
        label = i + 1;
    }
    ret->b[label] = 0;
    ret->len = (uint8_t)(label + 1);
}

static size_t escape_byte(uint8_t c, char *dst)
{
    if (c == '.' || c == '\\') {
        dst[0] = '\\';
        dst[1] = (char)c;
        return 2;
    }
    if (c > ' ' && c < 0x7f) {
        dst[0] = (char)ascii_lower(c);
        return 1;
    }
    dst[0] = '\\';
    dst[1] = (char)('0' + c / 100);
    dst[2] = (char)('0' + c / 10 % 10);
    dst[3] = (char)('0' + c % 10);
    return 4;
}

const char *dns_name_text(const struct dns_wire_name *w, char dst[DNS_NAME_TEXT_MAX])
{
    char all[4 * DNS_WIRE_NAME_MAX];
    size_t n = 0;

    for (size_t i = 0; i + 1 < w->len;) {
        size_t end = i + 1 + w->b[i];
        if (i > 0)
            all[n++] = '.';
        for (i++; i < end; i++)
            n += escape_byte(w->b[i], all + n);
    }
    if (n == 0)
        all[n++] = '.';
    if (n < DNS_NAME_TEXT_MAX) {
        memcpy(dst, all, n);
        dst[n] = '\0';
    } else {
        memcpy(dst, all, DNS_NAME_TEXT_MAX - sizeof("..."));
        memcpy(dst + DNS_NAME_TEXT_MAX - sizeof("..."), "...", sizeof("..."));
    }
    return dst;
}

int dns_rr_read(struct dns_reader *r, struct dns_rr *ret)
{
    if (dns_name_read(r, &ret->owner) < 0 || cursor_be16(&r->at, &ret->type) < 0 ||
        cursor_be16(&r->at, &ret->class) < 0 || cursor_be32(&r->at, &ret->ttl) < 0 ||
        cursor_be16(&r->at, &ret->rdlen) < 0)
        return -EBADMSG;
    ret->rdata = (size_t)(r->at.p - r->base);
    return cursor_skip(&r->at, ret->rdlen);
}

int dns_question_read(struct dns_reader *r, struct dns_question *ret)
{
    if (dns_name_read(r, &ret->qname) < 0)
        return -EBADMSG;
    if (cursor_be16(&r->at, &ret->qtype) < 0 || cursor_be16(&r->at, &ret->qclass) < 0) {
        ret->qname.len = 0;
        return -EBADMSG;
    }
    return 0;
}

/* The OPT pseudo-record of a query (RFC 6891 section 6.1.2): class is the size, ttl holds version and flags.
 */
static int ask_opt(const struct dns_rr *rr, struct dns_ask *ask)
{
    if (ask->edns || rr->owner.len != 1 || (rr->ttl >> 16 & 0xff) != 0)
        return -EBADMSG;
    ask->edns = true;
    if (rr->class > ask->udp_size)
        ask->udp_size = rr->class;
    return 0;
}

int dns_ask_read(const uint8_t *p, size_t n, struct dns_ask *ret)
{
    struct dns_reader r = dns_reader_of(p, n);
    struct dns_header h;
    struct dns_rr rr;

    *ret = (struct dns_ask){.udp_size = 512};
    if (dns_header_read(&r.at, &h) < 0)
        return -EBADMSG;
    ret->id = h.id;
    ret->rd = h.flags & DNS_FLAG_RD;
    if (h.qdcount == 0 || dns_question_read(&r, &ret->q) < 0)
        return -EBADMSG;
    ret->host = dns_name_host(&ret->q.qname, &ret->name);
    if (h.flags & DNS_FLAG_QR || DNS_OPCODE(h.flags) != 0 || h.qdcount != 1 || h.ancount != 0 ||
        h.nscount != 0 || h.arcount > ASK_ADDITIONAL_MAX)
        return -EBADMSG;
    for (unsigned i = 0; i < h.arcount; i++) {
        if (dns_rr_read(&r, &rr) < 0)
            return -EBADMSG;
        if (rr.type == DNS_TYPE_OPT && ask_opt(&rr, ret) < 0)
            return -EBADMSG;
    }
    return cursor_left(&r.at) == 0 ? 0 : -EBADMSG;
}

bool dns_response_matches(const uint8_t *p, size_t n, uint16_t id, const struct dns_question *q)
{
    struct dns_reader r = dns_reader_of(p, n);
    struct dns_question got;
    struct dns_header h;

    return dns_header_read(&r.at, &h) == 0 && h.id == id && h.flags & DNS_FLAG_QR &&
           DNS_OPCODE(h.flags) == 0 && h.qdcount == 1 && dns_question_read(&r, &got) == 0 &&
           got.qtype == q->qtype && got.qclass == q->qclass && dns_name_eq(&got.qname, &q->qname);
}
