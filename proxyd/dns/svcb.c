/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/svcb.h"

/* RFC 9460 section 14.3.2 */
enum svcb_key {
    KEY_MANDATORY = 0,
    KEY_ALPN = 1,
    KEY_NO_DEFAULT_ALPN = 2,
    KEY_PORT = 3,
    KEY_IPV4HINT = 4,
    KEY_ECH = 5,
    KEY_IPV6HINT = 6,
    _KEY_KNOWN_MAX = KEY_IPV6HINT,
};

struct param {
    uint16_t key;
    struct cursor value;
    bool kept;
};

struct record {
    struct dns_svcb *info;
    size_t n;
    struct param v[DNS_SVCB_PARAMS_MAX];
};

static bool alpn_valid(struct cursor c)
{
    uint8_t len;

    if (cursor_left(&c) == 0)
        return false;
    while (cursor_left(&c) > 0)
        if (cursor_u8(&c, &len) < 0 || len == 0 || cursor_skip(&c, len) < 0)
            return false;
    return true;
}

static bool value_valid(const struct param *p)
{
    size_t n = cursor_left(&p->value);

    switch (p->key) {
    case KEY_MANDATORY:
        return n > 0 && n % 2 == 0;
    case KEY_ALPN:
        return alpn_valid(p->value);
    case KEY_NO_DEFAULT_ALPN:
        return n == 0;
    case KEY_PORT:
        return n == 2;
    case KEY_IPV4HINT:
        return n > 0 && n % 4 == 0;
    case KEY_IPV6HINT:
        return n > 0 && n % 16 == 0;
    default:
        return true;
    }
}

/* Keys come in strictly ascending order, each once (section 2.2). */
static int params_read(struct cursor *c, struct record *rec)
{
    while (cursor_left(c) > 0) {
        struct param *p = &rec->v[rec->n];
        uint16_t len;
        if (rec->n == DNS_SVCB_PARAMS_MAX || cursor_be16(c, &p->key) < 0 || cursor_be16(c, &len) < 0 ||
            cursor_sub(c, len, &p->value) < 0 || !value_valid(p) ||
            (rec->n > 0 && p->key <= rec->v[rec->n - 1].key))
            return -EBADMSG;
        p->kept = p->key <= _KEY_KNOWN_MAX && p->key != KEY_ECH;
        rec->info->ech_removed |= p->key == KEY_ECH;
        rec->n++;
    }
    return 0;
}

static struct param *param_of(struct record *rec, uint16_t key)
{
    for (size_t i = 0; i < rec->n; i++)
        if (rec->v[i].key == key)
            return &rec->v[i];
    return NULL;
}

/* Reads the hints of one family: the kept ones are added to the record's. */
static void hints_read(struct record *rec, uint16_t key, const struct dns_svcb_terms *terms)
{
    struct param *p = param_of(rec, key);
    size_t size = key == KEY_IPV4HINT ? 4 : 16, before = rec->info->nhints;
    const uint8_t *bytes;

    if (!p)
        return;
    for (struct cursor c = p->value; cursor_bytes(&c, size, &bytes) == 0;) {
        struct addr a = {.family = size == 4 ? AF_INET : AF_INET6};
        memcpy(a.bytes, bytes, size);
        if (rec->info->nhints < DNS_SVCB_HINTS_MAX && terms->addr_ok(terms->self, &a))
            rec->info->hints[rec->info->nhints++] = a;
        else
            rec->info->hints_removed = true;
    }
    p->kept = rec->info->nhints > before;
}

/* Every key that is named must be there, in ascending order, and not "mandatory" itself (section 8). What is
 * left out here on purpose is no reason to refuse the record: without it a client asks for the addresses. */
static int mandatory_check(struct record *rec)
{
    const struct param *p = param_of(rec, KEY_MANDATORY);
    int last = KEY_MANDATORY;
    uint16_t key;

    if (!p)
        return DNS_SVCB_KEPT;
    for (struct cursor c = p->value; cursor_be16(&c, &key) == 0; last = key) {
        if ((int)key <= last || !param_of(rec, key))
            return -EBADMSG;
        if (key > _KEY_KNOWN_MAX)
            return DNS_SVCB_MANDATORY;
    }
    return DNS_SVCB_KEPT;
}

static void param_begin(struct buf *b, uint16_t key, size_t n)
{
    buf_put_be16(b, key);
    buf_put_be16(b, (uint16_t)n);
}

static void mandatory_put(struct buf *b, struct record *rec, const struct param *p)
{
    uint16_t keys[DNS_SVCB_PARAMS_MAX], key;
    size_t n = 0;

    for (struct cursor c = p->value; cursor_be16(&c, &key) == 0;)
        if (param_of(rec, key)->kept)
            keys[n++] = key;
    if (n == 0)
        return;
    param_begin(b, KEY_MANDATORY, 2 * n);
    for (size_t i = 0; i < n; i++)
        buf_put_be16(b, keys[i]);
}

static void hints_put(struct buf *b, const struct dns_svcb *info, uint16_t key)
{
    int family = key == KEY_IPV4HINT ? AF_INET : AF_INET6;
    size_t size = family == AF_INET ? 4 : 16, n = 0;

    for (size_t i = 0; i < info->nhints; i++)
        n += info->hints[i].family == family;
    param_begin(b, key, n * size);
    for (size_t i = 0; i < info->nhints; i++)
        if (info->hints[i].family == family)
            buf_put(b, info->hints[i].bytes, size);
}

static int record_put(struct buf *b, struct record *rec)
{
    const struct dns_svcb *info = rec->info;
    size_t start = b->len;

    buf_put_be16(b, info->priority);
    buf_put(b, info->target.b, info->target.len);
    for (size_t i = 0; i < rec->n; i++) {
        const struct param *p = &rec->v[i];
        if (!p->kept)
            continue;
        if (p->key == KEY_MANDATORY) {
            mandatory_put(b, rec, p);
        } else if (p->key == KEY_IPV4HINT || p->key == KEY_IPV6HINT) {
            hints_put(b, info, p->key);
        } else {
            param_begin(b, p->key, cursor_left(&p->value));
            buf_put(b, p->value.p, cursor_left(&p->value));
        }
    }
    if (b->err < 0)
        b->len = start;
    return b->err;
}

static bool target_allowed(const struct dns_svcb *info, const struct dns_wire_name *owner,
                           const struct dns_svcb_terms *terms)
{
    struct name host;

    return info->target.len == 1 || dns_name_eq(&info->target, owner) ||
           (dns_name_host(&info->target, &host) && terms->target_ok(terms->self, &host));
}

int dns_svcb_rebuild(const uint8_t *rdata, size_t n, const struct dns_wire_name *owner,
                     const struct dns_svcb_terms *terms, struct buf *b, struct dns_svcb *ret)
{
    /* the name is not compressed (section 2.2): no pointer from here can lead behind a header's length */
    struct dns_reader r = dns_reader_of(rdata, n);
    struct record rec = {.info = ret, .n = 0};

    *ret = (struct dns_svcb){.target = {.len = 0}};
    if (cursor_be16(&r.at, &ret->priority) < 0 || dns_name_read(&r, &ret->target) < 0 ||
        params_read(&r.at, &rec) < 0)
        return -EBADMSG;
    int outcome = mandatory_check(&rec);
    if (outcome != DNS_SVCB_KEPT)
        return outcome;
    if (!target_allowed(ret, owner, terms))
        return DNS_SVCB_TARGET;
    hints_read(&rec, KEY_IPV4HINT, terms);
    hints_read(&rec, KEY_IPV6HINT, terms);
    if (ret->priority == 0)
        rec.n = ret->nhints = 0; /* alias mode: parameters mean nothing (section 2.4.2) */
    return record_put(b, &rec);
}
