/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/answer.h"

#include <stdio.h>

#include "common/base/clock.h"

/* The records of one answer while it is judged. */
struct judging {
    const struct dns_policy *policy;
    const struct name *name; /* what was asked; rules are by this name, wherever a CNAME leads */
    const struct dns_question *q;
    const uint8_t *msg;
    size_t len;
    uint8_t rcode;
    uint32_t negative_ttl; /* from the authority's SOA; 0 without one */
    size_t n;
    struct dns_rr rr[DNS_ANSWERS_MAX];
    const char *why[DNS_ANSWERS_MAX]; /* NULL: the record stays */
    bool refused[DNS_ANSWERS_MAX];    /* by rebinding protection */
    size_t nrefused;
    bool followed[DNS_ANSWERS_MAX]; /* a CNAME of the chain */
    size_t nchain;
    struct dns_wire_name chain[DNS_CHAIN_MAX + 1]; /* the name asked, then CNAME targets */
};

static bool rr_address(const struct judging *j, const struct dns_rr *rr, struct addr *ret)
{
    bool v4 = rr->type == DNS_TYPE_A && rr->rdlen == 4;

    if (!v4 && !(rr->type == DNS_TYPE_AAAA && rr->rdlen == 16))
        return false;
    *ret = (struct addr){.family = v4 ? AF_INET : AF_INET6};
    memcpy(ret->bytes, j->msg + rr->rdata, rr->rdlen);
    return true;
}

static int rr_target(const uint8_t *base, const struct dns_rr *rr, struct dns_wire_name *ret)
{
    struct dns_reader r = {base, cursor_of(base + rr->rdata, rr->rdlen)};

    return dns_name_read(&r, ret) < 0 || cursor_left(&r.at) > 0 ? -EBADMSG : 0;
}

/* RFC 2308 section 5: the smaller of the SOA's own TTL and its MINIMUM field. */
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
static int read_sections(struct judging *j)
{
    struct dns_reader r = dns_reader_of(j->msg, j->len);
    struct dns_question q;
    struct dns_header h;
    struct dns_rr rr;

    if (dns_header_read(&r.at, &h) < 0 || h.qdcount != 1 || dns_question_read(&r, &q) < 0 ||
        h.ancount > DNS_ANSWERS_MAX || (unsigned)h.ancount + h.nscount + h.arcount > DNS_RECORDS_MAX)
        return -EBADMSG;
    j->rcode = DNS_RCODE(h.flags);
    for (; j->n < h.ancount; j->n++)
        if (dns_rr_read(&r, &j->rr[j->n]) < 0)
            return -EBADMSG;
    for (unsigned i = 0; i < (unsigned)h.nscount + h.arcount; i++) {
        if (dns_rr_read(&r, &rr) < 0)
            return -EBADMSG;
        if (i < h.nscount && rr.type == DNS_TYPE_SOA)
            j->negative_ttl = soa_negative_ttl(j->msg, &rr);
        /* an extended code (RFC 6891 section 6.1.3) means that no answer was given */
        if (i >= h.nscount && rr.type == DNS_TYPE_OPT && rr.ttl >> 24 != 0)
            return -EBADMSG;
    }
    return cursor_left(&r.at) == 0 ? 0 : -EBADMSG;
}

/* Follows the CNAMEs from the name asked, in whatever order they came. */
static void follow_chain(struct judging *j)
{
    size_t i;

    j->chain[0] = j->q->qname;
    j->nchain = 1;
    while (j->q->qtype != DNS_TYPE_CNAME && j->nchain <= DNS_CHAIN_MAX) {
        for (i = 0; i < j->n; i++)
            if (j->rr[i].type == DNS_TYPE_CNAME && !j->followed[i] &&
                dns_name_eq(&j->rr[i].owner, &j->chain[j->nchain - 1]))
                break;
        if (i == j->n || rr_target(j->msg, &j->rr[i], &j->chain[j->nchain]) < 0)
            return;
        j->followed[i] = true;
        j->nchain++;
    }
}

static bool on_chain(const struct judging *j, const struct dns_wire_name *owner)
{
    for (size_t i = 0; i < j->nchain; i++)
        if (dns_name_eq(&j->chain[i], owner))
            return true;
    return false;
}

static bool answers(const struct judging *j, const struct dns_rr *rr)
{
    return rr->type == j->q->qtype || j->q->qtype == DNS_TYPE_ANY;
}

static const char *judge_record(struct judging *j, size_t i)
{
    const struct dns_rr *rr = &j->rr[i];
    struct dns_wire_name target;
    struct name host;
    struct addr addr;

    if (rr->class != DNS_CLASS_IN)
        return "class";
    if (rr->type == DNS_TYPE_A || rr->type == DNS_TYPE_AAAA) {
        if (!rr_address(j, rr, &addr))
            return "malformed";
        if (!dns_answer_permitted(j->policy, j->name, &addr)) {
            j->refused[i] = true;
            return addr_class_name(addr_classify(&addr));
        }
    }
    if (!on_chain(j, &rr->owner))
        return "not on the CNAME chain";
    if (rr->type == DNS_TYPE_CNAME && (rr_target(j->msg, rr, &target) < 0 || !dns_name_host(&target, &host)))
        return "malformed";
    return j->followed[i] || answers(j, rr) ? NULL : "not asked for";
}

static void data_text(const uint8_t *base, const struct dns_rr *rr, char dst[DNS_NAME_TEXT_MAX])
{
    struct addr a = {.family = rr->type == DNS_TYPE_A ? AF_INET : AF_INET6};
    struct dns_wire_name target;
    char text[ADDR_TEXT_MAX];

    if ((rr->type == DNS_TYPE_A && rr->rdlen == 4) || (rr->type == DNS_TYPE_AAAA && rr->rdlen == 16)) {
        memcpy(a.bytes, base + rr->rdata, rr->rdlen);
        (void)snprintf(dst, DNS_NAME_TEXT_MAX, "%s", addr_format(&a, text));
    } else if (rr->type == DNS_TYPE_CNAME && rr_target(base, rr, &target) == 0) {
        dns_name_text(&target, dst);
    } else {
        (void)snprintf(dst, DNS_NAME_TEXT_MAX, "%u bytes", rr->rdlen);
    }
}

static void text_put(struct dns_texts *t, const uint8_t *base, const struct dns_rr *rr,
                     enum dns_reason_code reason, const char *why)
{
    size_t i = t->n++;

    data_text(base, rr, t->data[i]);
    t->v[i] = (struct dns_answer_text){
        .name = dns_name_text(&rr->owner, t->name[i]),
        .type = dns_type_text(rr->type, t->type[i]),
        .data = t->data[i],
        .ttl = rr->ttl,
        .reason = reason,
        .why = why,
    };
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* How long the answer may be kept; 0 for a negative one without an SOA. */
static uint32_t reply_ttl(const struct judging *j, size_t nkept, uint32_t least)
{
    /* without a record of the type asked it is a negative answer, CNAMEs or not */
    for (size_t i = 0; i < j->n && j->rcode == DNS_NOERROR; i++)
        if (!j->why[i] && answers(j, &j->rr[i]))
            return least;
    return smaller(smaller(j->negative_ttl, DNS_NEGATIVE_TTL_MAX_S), nkept ? least : UINT32_MAX);
}

static int build_reply(const struct judging *j, struct dns_verdict *v)
{
    uint32_t least = DNS_TTL_MAX_S;
    struct buf wire;
    int r = 0;

    /* expanding names grows a record by at most two names */
    buf_init(&wire, DNS_MESSAGE_MAX + DNS_ANSWERS_MAX * 3u * DNS_WIRE_NAME_MAX);
    for (size_t i = 0; i < j->n && r == 0; i++) {
        if (j->why[i])
            continue;
        /* RFC 2181 section 8: a TTL with the top bit set counts as 0 */
        uint32_t ttl = j->rr[i].ttl >> 31 ? 0 : smaller(j->rr[i].ttl, DNS_TTL_MAX_S);
        least = smaller(least, ttl);
        r = dns_reply_put_rr(&wire, j->msg, &j->rr[i], ttl);
    }
    if (r == 0) {
        v->reply = dns_reply_new(j->rcode, (uint16_t)v->kept.n, reply_ttl(j, v->kept.n, least), &wire);
        if (v->reply)
            v->reply->at_us = clock_boottime_us();
        else
            r = -ENOMEM;
    }
    buf_done(&wire);
    return r;
}

static bool anything_left(const struct judging *j)
{
    for (size_t i = 0; i < j->n; i++)
        if (!j->why[i] && answers(j, &j->rr[i]) && (j->q->qtype != DNS_TYPE_ANY || !j->followed[i]))
            return true;
    return false;
}

static void judge_records(struct judging *j, struct dns_verdict *v)
{
    follow_chain(j);
    for (size_t i = 0; i < j->n; i++) {
        j->why[i] = judge_record(j, i);
        if (!j->why[i])
            text_put(&v->kept, j->msg, &j->rr[i], dns_reason_code_absent, NULL);
        else
            text_put(&v->removed, j->msg, &j->rr[i],
                     j->refused[i] ? DNS_REBIND_REJECTED : DNS_UPSTREAM_FAILURE, j->why[i]);
        j->nrefused += j->refused[i];
    }
}

static int judge_message(struct judging *j, struct dns_verdict *v)
{
    if (read_sections(j) < 0)
        return -EBADMSG;
    v->rcode = j->rcode;
    if (j->rcode != DNS_NOERROR && j->rcode != DNS_NXDOMAIN)
        return -EBADMSG;
    judge_records(j, v);
    if (j->nrefused > 0 && !anything_left(j)) {
        v->reason = DNS_REBIND_REJECTED;
        v->kept.n = 0;
        return 0;
    }
    return build_reply(j, v);
}

struct dns_verdict *dns_answer_judge(const struct dns_policy *policy, const struct name *name,
                                     const struct dns_question *q, const uint8_t *msg, size_t len)
{
    struct judging *j = calloc(1, sizeof(*j));
    struct dns_verdict *v = malloc(sizeof(*v));
    int r = -ENOMEM;

    if (j && v) {
        v->reason = DNS_ALLOWLIST_MATCH;
        v->rcode = DNS_SERVFAIL;
        v->reply = NULL;
        v->kept.n = v->removed.n = 0;
        j->policy = policy;
        j->name = name;
        j->q = q;
        j->msg = msg;
        j->len = len;
        r = judge_message(j, v);
    }
    free(j);
    if (r == -EBADMSG) {
        v->reason = DNS_UPSTREAM_FAILURE;
        v->kept.n = 0;
    } else if (r < 0) {
        free(v); /* without a reply: there was no memory for it */
        return NULL;
    }
    return v;
}

struct dns_verdict *dns_verdict_free(struct dns_verdict *v)
{
    if (v)
        dns_reply_unref(v->reply);
    free(v);
    return NULL;
}

void dns_reply_texts(const struct dns_reply *reply, struct dns_texts *ret)
{
    struct dns_reader r = dns_reader_of(reply->wire, reply->len);
    struct dns_rr rr;

    ret->n = 0;
    for (unsigned i = 0; i < reply->n && ret->n < DNS_ANSWERS_MAX && dns_rr_read(&r, &rr) == 0; i++)
        text_put(ret, reply->wire, &rr, dns_reason_code_absent, NULL);
}

size_t dns_reply_addrs(const struct dns_reply *reply, struct addr *ret, size_t max)
{
    struct dns_reader r = dns_reader_of(reply->wire, reply->len);
    struct dns_rr rr;
    size_t n = 0;

    for (unsigned i = 0; i < reply->n && n < max && dns_rr_read(&r, &rr) == 0; i++) {
        if (rr.type != DNS_TYPE_A && rr.type != DNS_TYPE_AAAA)
            continue;
        ret[n] = (struct addr){.family = rr.type == DNS_TYPE_A ? AF_INET : AF_INET6};
        memcpy(ret[n++].bytes, reply->wire + rr.rdata, rr.rdlen);
    }
    return n;
}
