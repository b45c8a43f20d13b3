/* SPDX-License-Identifier: MIT */
/* Records as the texts of an event. */
#include <stdio.h>

#include "proxyd/dns/answer.h"
#include "proxyd/dns/parsed.h"

/* SVCB in the form of RFC 9460 section 2.1, without its parameters. */
static bool svcb_text(const uint8_t *base, const struct dns_rr *rr, char dst[DNS_NAME_TEXT_MAX])
{
    struct dns_reader r = dns_reader_of(base + rr->rdata, rr->rdlen);
    char name[DNS_NAME_TEXT_MAX];
    struct dns_wire_name target;
    uint16_t priority;

    if (cursor_be16(&r.at, &priority) < 0 || dns_name_read(&r, &target) < 0)
        return false;
    (void)snprintf(dst, DNS_NAME_TEXT_MAX, "%u %.*s", priority, (int)DNS_NAME_TEXT_MAX - 8,
                   dns_name_text(&target, name));
    return true;
}

static void data_text(const uint8_t *base, const struct dns_rr *rr, char dst[DNS_NAME_TEXT_MAX])
{
    struct dns_wire_name target;
    char text[ADDR_TEXT_MAX];
    struct addr a;

    if (dns_rr_addr(base, rr, &a)) {
        (void)snprintf(dst, DNS_NAME_TEXT_MAX, "%s", addr_format(&a, text));
        return;
    }
    if ((rr->type == DNS_TYPE_CNAME || rr->type == DNS_TYPE_DNAME) && dns_rr_target(base, rr, &target) == 0) {
        dns_name_text(&target, dst);
        return;
    }
    if ((rr->type == DNS_TYPE_HTTPS || rr->type == DNS_TYPE_SVCB) && svcb_text(base, rr, dst))
        return;
    (void)snprintf(dst, DNS_NAME_TEXT_MAX, "%u bytes", rr->rdlen);
}

void dns_texts_done(struct dns_texts *t)
{
    /* the three texts of a record lie in one piece of memory, the name first */
    for (size_t i = 0; i < t->n; i++)
        free((void *)(uintptr_t)t->v[i].name);
    free(t->v);
    *t = (struct dns_texts){.n = 0};
}

static int texts_grow(struct dns_texts *t)
{
    size_t cap = t->cap ? 2 * t->cap : 2;

    if (t->n < t->cap)
        return 0;
    struct dns_answer_text *v = realloc(t->v, cap * sizeof(*v));
    if (!v)
        return -ENOMEM;
    t->v = v;
    t->cap = cap;
    return 0;
}

int dns_texts_add(struct dns_texts *t, const uint8_t *base, const struct dns_rr *rr, uint32_t ttl,
                  enum dns_reason_code reason, const char *why)
{
    char name[DNS_NAME_TEXT_MAX], type[DNS_TYPE_TEXT_MAX], data[DNS_NAME_TEXT_MAX];
    const char *type_text = dns_type_text(rr->type, type);

    dns_name_text(&rr->owner, name);
    data_text(base, rr, data);
    size_t nname = strlen(name) + 1, ntype = strlen(type_text) + 1, ndata = strlen(data) + 1;
    if (texts_grow(t) < 0)
        return -ENOMEM;
    char *p = malloc(nname + ntype + ndata);
    if (!p)
        return -ENOMEM;
    memcpy(p, name, nname);
    memcpy(p + nname, type_text, ntype);
    memcpy(p + nname + ntype, data, ndata);
    t->v[t->n++] = (struct dns_answer_text){p, p + nname, p + nname + ntype, ttl, reason, why};
    return 0;
}
