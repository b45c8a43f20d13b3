/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/parsed.h"

bool dns_rr_addr(const uint8_t *base, const struct dns_rr *rr, struct addr *ret)
{
    bool v4 = rr->type == DNS_TYPE_A && rr->rdlen == 4;

    if (!v4 && !(rr->type == DNS_TYPE_AAAA && rr->rdlen == 16))
        return false;
    *ret = (struct addr){.family = v4 ? AF_INET : AF_INET6};
    memcpy(ret->bytes, base + rr->rdata, rr->rdlen);
    return true;
}

int dns_rr_target(const uint8_t *base, const struct dns_rr *rr, struct dns_wire_name *ret)
{
    struct dns_reader r = {base, cursor_of(base + rr->rdata, rr->rdlen)};

    return dns_name_read(&r, ret) < 0 || cursor_left(&r.at) > 0 ? -EBADMSG : 0;
}

/* The smaller of the SOA's own TTL and its MINIMUM field. */
static uint32_t soa_negative_ttl(const uint8_t *msg, const struct dns_rr *rr)
{
    struct dns_reader r = {msg, cursor_of(msg + rr->rdata, rr->rdlen)};
    struct dns_wire_name mname, rname;
    uint32_t minimum;

    if (dns_name_read(&r, &mname) < 0 || dns_name_read(&r, &rname) < 0 || cursor_skip(&r.at, 16) < 0 ||
        cursor_be32(&r.at, &minimum) < 0)
        return 0;
    return minimum < rr->ttl ? minimum : rr->ttl;
}

/* Reads all sections; nothing but the answers, the SOA and the extended code of OPT is of interest. */
static int read_sections(struct dns_parsed *p)
{
    struct dns_reader r = dns_reader_of(p->msg, p->len);
    struct dns_question q;
    struct dns_header h;
    struct dns_rr rr;

    if (dns_header_read(&r.at, &h) < 0 || h.qdcount != 1 || dns_question_read(&r, &q) < 0 ||
        h.ancount > DNS_ANSWERS_MAX || (unsigned)h.ancount + h.nscount + h.arcount > DNS_RECORDS_MAX)
        return -EBADMSG;
    p->rcode = DNS_RCODE(h.flags);
    for (; p->n < h.ancount; p->n++)
        if (dns_rr_read(&r, &p->rr[p->n]) < 0)
            return -EBADMSG;
    for (unsigned i = 0; i < (unsigned)h.nscount + h.arcount; i++) {
        if (dns_rr_read(&r, &rr) < 0)
            return -EBADMSG;
        if (i < h.nscount && rr.type == DNS_TYPE_SOA)
            p->negative_ttl = soa_negative_ttl(p->msg, &rr);
        /* an extended code (RFC 6891 section 6.1.3) means that no answer was given */
        if (i >= h.nscount && rr.type == DNS_TYPE_OPT && rr.ttl >> 24 != 0)
            return -EBADMSG;
    }
    return cursor_left(&r.at) == 0 ? 0 : -EBADMSG;
}

/* Follows the CNAMEs from the name asked, in whatever order they came. */
static void follow_chain(struct dns_parsed *p)
{
    size_t i;

    p->chain[0] = p->q->qname;
    p->nchain = 1;
    while (p->q->qtype != DNS_TYPE_CNAME && p->nchain <= DNS_CHAIN_MAX) {
        for (i = 0; i < p->n; i++)
            if (p->rr[i].type == DNS_TYPE_CNAME && !p->followed[i] &&
                dns_name_eq(&p->rr[i].owner, &p->chain[p->nchain - 1]))
                break;
        if (i == p->n || dns_rr_target(p->msg, &p->rr[i], &p->chain[p->nchain]) < 0)
            return;
        p->followed[i] = true;
        p->nchain++;
    }
}

static bool on_chain(const struct dns_parsed *p, const struct dns_wire_name *owner)
{
    for (size_t i = 0; i < p->nchain; i++)
        if (dns_name_eq(&p->chain[i], owner))
            return true;
    return false;
}

/* name ends in suffix, with at least one label before it: where the suffix begins; 0 when it does not. */
static size_t suffix_at(const struct dns_wire_name *name, const struct dns_wire_name *suffix)
{
    struct dns_wire_name tail;

    for (size_t i = 0; i < name->len && name->b[i] > 0;) {
        i += 1u + name->b[i];
        tail.len = (uint8_t)(name->len - i);
        memcpy(tail.b, name->b + i, tail.len);
        if (dns_name_eq(&tail, suffix))
            return i;
    }
    return 0;
}

/* RFC 6672: the DNAME that a CNAME of the chain was made of: from prefix.owner to prefix.target. */
static bool explains_step(const struct dns_parsed *p, const struct dns_rr *rr)
{
    struct dns_wire_name target;

    if (dns_rr_target(p->msg, rr, &target) < 0)
        return false;
    for (size_t i = 0; i + 1 < p->nchain; i++) {
        const struct dns_wire_name *from = &p->chain[i], *to = &p->chain[i + 1];
        size_t at = suffix_at(from, &rr->owner);
        struct dns_wire_name want;
        if (at == 0 || at + target.len > DNS_WIRE_NAME_MAX)
            continue;
        want.len = (uint8_t)(at + target.len);
        memcpy(want.b, from->b, at);
        memcpy(want.b + at, target.b, target.len);
        if (dns_name_eq(&want, to))
            return true;
    }
    return false;
}

bool dns_parsed_answers(const struct dns_parsed *p, const struct dns_rr *rr)
{
    return rr->type == p->q->qtype || p->q->qtype == DNS_TYPE_ANY;
}

static const char *judge_record(const struct dns_parsed *p, size_t i)
{
    const struct dns_rr *rr = &p->rr[i];
    struct dns_wire_name target;
    struct name host;
    struct addr addr;

    if (rr->class != DNS_CLASS_IN)
        return "class";
    if ((rr->type == DNS_TYPE_A || rr->type == DNS_TYPE_AAAA) && !dns_rr_addr(p->msg, rr, &addr))
        return "malformed";
    if (rr->type == DNS_TYPE_DNAME && explains_step(p, rr))
        return NULL;
    if (!on_chain(p, &rr->owner))
        return "not on the CNAME chain";
    if (rr->type == DNS_TYPE_CNAME &&
        (dns_rr_target(p->msg, rr, &target) < 0 || !dns_name_host(&target, &host)))
        return "malformed";
    return p->followed[i] || dns_parsed_answers(p, rr) ? NULL : "not asked for";
}

int dns_parsed_read(const struct dns_question *q, const uint8_t *msg, size_t len, struct dns_parsed *ret)
{
    /* the records are filled one by one: to clear them all would cost more than to read them */
    ret->q = q;
    ret->msg = msg;
    ret->len = len;
    ret->rcode = DNS_SERVFAIL;
    ret->negative_ttl = 0;
    ret->n = 0;
    memset(ret->followed, 0, sizeof(ret->followed));
    if (read_sections(ret) < 0)
        return -EBADMSG;
    if (ret->rcode != DNS_NOERROR && ret->rcode != DNS_NXDOMAIN)
        return -EBADMSG;
    follow_chain(ret);
    for (size_t i = 0; i < ret->n; i++)
        ret->why[i] = judge_record(ret, i);
    return 0;
}

uint32_t dns_parsed_ttl(const struct dns_rr *rr)
{
    /* RFC 2181 section 8: a TTL with the top bit set counts as 0 */
    uint32_t ttl = rr->ttl >> 31 ? 0 : rr->ttl;

    return ttl < DNS_TTL_MAX_S ? ttl : DNS_TTL_MAX_S;
}

uint32_t dns_parsed_keep_s(const struct dns_parsed *p, uint32_t min_ttl_s)
{
    uint32_t least = DNS_TTL_MAX_S;
    bool positive = false, any = false;

    for (size_t i = 0; i < p->n; i++) {
        uint32_t ttl = dns_parsed_ttl(&p->rr[i]);
        if (p->why[i])
            continue;
        least = ttl < least ? ttl : least;
        any = true;
        positive |= p->rcode == DNS_NOERROR && dns_parsed_answers(p, &p->rr[i]);
    }
    min_ttl_s = min_ttl_s < DNS_TTL_MAX_S ? min_ttl_s : DNS_TTL_MAX_S;
    if (positive)
        return least > min_ttl_s ? least : min_ttl_s;
    /* without a record of the type asked it is a negative answer, CNAMEs or not */
    uint32_t negative = p->negative_ttl < DNS_NEGATIVE_TTL_MAX_S ? p->negative_ttl : DNS_NEGATIVE_TTL_MAX_S;
    return any && least < negative ? least : negative;
}
