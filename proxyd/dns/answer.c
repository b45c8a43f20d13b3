/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/answer.h"

#include "proxyd/dns/parsed.h"
#include "proxyd/dns/svcb.h"

/* The records of one answer while it is judged for one cell. */
struct judging {
    const struct dns_terms *terms;
    const struct name *name; /* what was asked; rules are by this name, wherever a CNAME leads */
    struct dns_parsed p;
    struct {
        const char *why; /* NULL: the record stays */
        enum dns_reason_code reason;
        size_t at, len; /* of its rdata in svcb, when it is rebuilt */
    } rec[DNS_ANSWERS_MAX];
    size_t nrefused;
    struct buf svcb;
    size_t nhints;
    struct addr hints[DNS_SVCB_HINTS_MAX];
};

static void refuse(struct judging *j, size_t i, enum dns_reason_code reason, const char *why)
{
    j->rec[i].why = why;
    j->rec[i].reason = reason;
    j->nrefused += reason == DNS_REBIND_REJECTED;
}

/* ---- addresses ---- */

/* An address that the cell has no use for, in an answer that is not about addresses. */
static bool addr_out_of_place(const struct judging *j, const struct addr *addr)
{
    const struct dns_policy *policy = j->terms->policy;

    if (j->p.q->qtype == DNS_TYPE_A || j->p.q->qtype == DNS_TYPE_AAAA)
        return false;
    return policy->synthetic || (policy->novel_limited && policy->reject_rebind && j->terms->history &&
                                 !dns_history_knows(*j->terms->history, j->name, addr));
}

static void judge_addr(struct judging *j, size_t i)
{
    struct addr addr;

    if (j->p.rr[i].class != DNS_CLASS_IN || !dns_rr_addr(j->p.msg, &j->p.rr[i], &addr))
        return;
    if (!dns_answer_permitted(j->terms->policy, j->name, &addr))
        refuse(j, i, DNS_REBIND_REJECTED, addr_class_name(addr_classify(&addr)));
    else if (!j->rec[i].why && addr_out_of_place(j, &addr))
        refuse(j, i, DNS_REBIND_REJECTED, "an address outside of an answer for addresses");
}

/* The addresses that passed, against what this hostname had before. */
static int judge_novelty(struct judging *j, struct dns_verdict *v)
{
    uint16_t qtype = j->p.q->qtype;
    struct addr addrs[DNS_ANSWERS_MAX];
    size_t of[DNS_ANSWERS_MAX], n = 0;

    if (!j->terms->history || j->terms->stale || (qtype != DNS_TYPE_A && qtype != DNS_TYPE_AAAA))
        return 0;
    for (size_t i = 0; i < j->p.n; i++)
        if (!j->rec[i].why && dns_rr_addr(j->p.msg, &j->p.rr[i], &addrs[n]))
            of[n++] = i;
    _cleanup_free_ struct dns_novelty *nov = malloc(sizeof(*nov));
    if (!nov)
        return -ENOMEM;
    int r = dns_history_judge(j->terms->history, j->terms->policy, j->name, qtype, addrs, n, nov);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && j->terms->policy->reject_rebind; i++)
        if (nov->over[i])
            refuse(j, of[i], DNS_REBIND_REJECTED, "beyond maxNovelIpsPerHostname");
    if (nov->drift || nov->threshold)
        v->novelty = TAKE_PTR(nov);
    return 0;
}

/* ---- HTTPS and SVCB ---- */

static bool hint_ok(void *self, const struct addr *addr)
{
    const struct judging *j = self;
    const struct dns_policy *policy = j->terms->policy;

    /* hints do not make a history: with a limit only what the addresses' own answers gave */
    if (policy->synthetic || !dns_answer_permitted(policy, j->name, addr))
        return false;
    return !policy->novel_limited || !policy->reject_rebind || !j->terms->history ||
           dns_history_knows(*j->terms->history, j->name, addr);
}

static bool target_ok(void *self, const struct name *target)
{
    const struct judging *j = self;

    return dns_policy_listed(j->terms->policy, target, /* own= */ false);
}

static int judge_svcb(struct judging *j, size_t i, struct dns_verdict *v)
{
    const struct dns_rr *rr = &j->p.rr[i];
    const struct dns_svcb_terms terms = {hint_ok, target_ok, j};
    struct dns_svcb info;

    if ((rr->type != DNS_TYPE_HTTPS && rr->type != DNS_TYPE_SVCB) || j->rec[i].why)
        return 0;
    j->rec[i].at = j->svcb.len;
    int r = dns_svcb_rebuild(j->p.msg + rr->rdata, rr->rdlen, &rr->owner, &terms, &j->svcb, &info);
    j->rec[i].len = j->svcb.len - j->rec[i].at;
    v->ech_removed |= info.ech_removed;
    v->hints_removed |= info.hints_removed;
    if (r == DNS_SVCB_TARGET)
        refuse(j, i, DNS_ALLOWLIST_MISS, "its target is not on the allow list");
    else if (r == DNS_SVCB_MANDATORY)
        refuse(j, i, DNS_UPSTREAM_FAILURE, "needs a parameter that is not known");
    else if (r == -EBADMSG)
        refuse(j, i, DNS_UPSTREAM_FAILURE, "malformed");
    else if (r < 0)
        return r;
    for (size_t k = 0; r == DNS_SVCB_KEPT && k < info.nhints && j->nhints < DNS_SVCB_HINTS_MAX; k++)
        j->hints[j->nhints++] = info.hints[k];
    return 0;
}

/* ---- the whole ---- */

/* What the cell is told, and for how long it may be kept. */
static uint32_t ttl_of(const struct judging *j, uint32_t ttl)
{
    uint32_t least = j->terms->policy->min_ttl_s;

    if (j->terms->stale)
        return DNS_STALE_TTL_S;
    least = least < DNS_TTL_MAX_S ? least : DNS_TTL_MAX_S;
    return ttl > least ? ttl : least;
}

static int put_record(struct judging *j, size_t i, struct buf *wire)
{
    const struct dns_rr *rr = &j->p.rr[i];
    uint32_t ttl = ttl_of(j, dns_parsed_ttl(rr));

    if (j->rec[i].len > 0)
        return dns_reply_put_raw(wire, rr, ttl, j->svcb.data + j->rec[i].at, j->rec[i].len);
    return dns_reply_put_rr(wire, j->p.msg, rr, ttl);
}

static int take_addrs(const struct judging *j, struct dns_verdict *v)
{
    v->addrs = calloc(DNS_SVCB_HINTS_MAX + v->kept.n, sizeof(*v->addrs));
    if (!v->addrs)
        return -ENOMEM;
    memcpy(v->addrs, j->hints, j->nhints * sizeof(*v->addrs));
    v->naddrs = j->nhints + dns_reply_addrs(v->reply, v->addrs + j->nhints, v->kept.n);
    return 0;
}

static int build_reply(struct judging *j, struct dns_verdict *v)
{
    struct buf wire;
    int r = 0;

    /* expanding names grows a record by at most two names */
    buf_init(&wire, DNS_MESSAGE_MAX + DNS_ANSWERS_MAX * 3u * DNS_WIRE_NAME_MAX);
    for (size_t i = 0; i < j->p.n && r == 0; i++)
        if (!j->rec[i].why)
            r = put_record(j, i, &wire);
    if (r == 0) {
        uint32_t keep_s = j->terms->stale ? 0 : dns_parsed_keep_s(&j->p, j->terms->policy->min_ttl_s);
        v->reply = dns_reply_new(j->p.rcode, (uint16_t)v->kept.n, keep_s, &wire);
        if (v->reply)
            v->reply->at_us = j->terms->at_us;
        r = v->reply ? take_addrs(j, v) : -ENOMEM;
    }
    buf_done(&wire);
    return r;
}

static bool anything_left(const struct judging *j)
{
    for (size_t i = 0; i < j->p.n; i++)
        if (!j->rec[i].why && dns_parsed_answers(&j->p, &j->p.rr[i]) &&
            (j->p.q->qtype != DNS_TYPE_ANY || !j->p.followed[i]))
            return true;
    return false;
}

static int judge_records(struct judging *j, struct dns_verdict *v)
{
    int r = 0;

    for (size_t i = 0; i < j->p.n && r == 0; i++) {
        j->rec[i].why = j->p.why[i];
        j->rec[i].reason = DNS_UPSTREAM_FAILURE;
        judge_addr(j, i);
        r = judge_svcb(j, i, v);
    }
    if (r == 0)
        r = judge_novelty(j, v);
    for (size_t i = 0; i < j->p.n && r == 0; i++) {
        const struct dns_rr *rr = &j->p.rr[i];
        uint32_t ttl = ttl_of(j, dns_parsed_ttl(rr));
        if (j->rec[i].why)
            r = dns_texts_add(&v->removed, j->p.msg, rr, rr->ttl, j->rec[i].reason, j->rec[i].why);
        else
            r = dns_texts_add(&v->kept, j->p.msg, rr, ttl, dns_reason_code_absent, NULL);
    }
    return r;
}

static int judge_message(struct judging *j, struct dns_verdict *v)
{
    int r = judge_records(j, v);

    if (r < 0)
        return r;
    if (j->nrefused > 0 && !anything_left(j)) {
        v->reason = DNS_REBIND_REJECTED;
        dns_texts_done(&v->kept);
        return 0;
    }
    return build_reply(j, v);
}

static int judge_whole(const struct dns_terms *terms, const struct name *name, const struct dns_question *q,
                       struct str msg, struct dns_verdict *v)
{
    _cleanup_free_ struct judging *j = malloc(sizeof(*j));

    if (!j)
        return -ENOMEM;
    j->terms = terms;
    j->name = name;
    j->nrefused = j->nhints = 0;
    memset(j->rec, 0, sizeof(j->rec));
    buf_init(&j->svcb, DNS_MESSAGE_MAX);
    int r = dns_parsed_read(q, (const uint8_t *)msg.p, msg.len, &j->p);
    v->rcode = j->p.rcode;
    if (r == 0)
        r = judge_message(j, v);
    buf_done(&j->svcb);
    return r;
}

struct dns_verdict *dns_answer_judge(const struct dns_terms *terms, const struct name *name,
                                     const struct dns_question *q, const uint8_t *msg, size_t len)
{
    struct dns_verdict *v = calloc(1, sizeof(*v));

    if (!v)
        return NULL;
    v->reason = DNS_ALLOWLIST_MATCH;
    int r = judge_whole(terms, name, q, (struct str){(const char *)msg, len}, v);
    if (r == -EBADMSG) {
        v->reason = DNS_UPSTREAM_FAILURE;
        dns_texts_done(&v->kept);
    } else if (r < 0) {
        return dns_verdict_free(v);
    }
    return v;
}

struct dns_verdict *dns_verdict_free(struct dns_verdict *v)
{
    if (!v)
        return NULL;
    dns_reply_unref(v->reply);
    dns_texts_done(&v->kept);
    dns_texts_done(&v->removed);
    free(v->addrs);
    free(v->novelty);
    free(v);
    return NULL;
}

size_t dns_reply_addrs(const struct dns_reply *reply, struct addr *ret, size_t max)
{
    struct dns_reader r = dns_reader_of(reply->wire, reply->len);
    struct dns_rr rr;
    size_t n = 0;

    for (unsigned i = 0; i < reply->n && n < max && dns_rr_read(&r, &rr) == 0; i++)
        if (dns_rr_addr(reply->wire, &rr, &ret[n]))
            n++;
    return n;
}
