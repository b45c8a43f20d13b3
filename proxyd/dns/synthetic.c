/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/synthetic.h"

#include <assert.h>

#include "common/evidence/digest.h"
#include "proxyd/dns/wire.h"

#define BUCKETS     1024u
#define PREFIX4     0xc6120000u /* 198.18.0.0/15 */
#define PREFIX_LEN6 8           /* bytes of the /64 */
#define NONE        UINT32_MAX

static_assert(DNS_SYNTHETIC_NAMES + 1 < 1u << 17, "fits into a /15");

struct row {
    uint32_t next; /* in the bucket */
    uint8_t len;
    char name[]; /* len bytes */
};

struct dns_synthetic {
    uint8_t prefix6[PREFIX_LEN6];
    uint32_t n, cap;
    struct row **rows; /* row i has host number i + 1 */
    uint32_t buckets[BUCKETS];
};

struct dns_synthetic *dns_synthetic_new(const char *run_id)
{
    struct dns_synthetic *s = calloc(1, sizeof(*s));
    uint8_t sha[DIGEST_LEN];

    if (!s)
        return NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        s->buckets[i] = NONE;
    /* RFC 4193 section 3.2.2 makes the global id of a hash as well; the run id is unique already */
    digest_sha256_parts(STR_LIT("cellos synthetic "), str_of(run_id), STR_NONE, sha);
    s->prefix6[0] = 0xfd;
    memcpy(s->prefix6 + 1, sha, PREFIX_LEN6 - 1);
    return s;
}

struct dns_synthetic *dns_synthetic_free(struct dns_synthetic *s)
{
    if (!s)
        return NULL;
    for (uint32_t i = 0; i < s->n; i++)
        free(s->rows[i]);
    free(s->rows);
    free(s);
    return NULL;
}

static int grow(struct dns_synthetic *s)
{
    if (s->n < s->cap)
        return 0;
    uint32_t cap = s->cap ? 2 * s->cap : 16;
    struct row **rows = realloc(s->rows, cap * sizeof(struct row *));

    if (!rows)
        return -ENOMEM;
    s->rows = rows;
    s->cap = cap;
    return 0;
}

static int row_add(struct dns_synthetic *s, const struct name *name, uint32_t *bucket)
{
    if (s->n == DNS_SYNTHETIC_NAMES)
        return -EDQUOT;
    int r = grow(s);
    if (r < 0)
        return r;
    struct row *row = malloc(sizeof(*row) + name->len);
    if (!row)
        return -ENOMEM;
    row->len = name->len;
    memcpy(row->name, name->text, name->len);
    row->next = *bucket;
    *bucket = s->n;
    s->rows[s->n++] = row;
    return 0;
}

static void host_addr(const struct dns_synthetic *s, uint32_t host, int family, struct addr *ret)
{
    uint32_t v4 = PREFIX4 + host;
    uint8_t *low;

    *ret = (struct addr){.family = (uint8_t)family};
    if (family == AF_INET) {
        low = ret->bytes;
    } else {
        memcpy(ret->bytes, s->prefix6, PREFIX_LEN6);
        low = ret->bytes + 12;
        v4 = host;
    }
    for (int i = 0; i < 4; i++)
        low[i] = (uint8_t)(v4 >> (24 - 8 * i));
}

int dns_synthetic_addr(struct dns_synthetic *s, const struct name *name, int family, struct addr *ret)
{
    uint32_t *bucket = &s->buckets[dns_hash(name->text, name->len) % BUCKETS], i;

    for (i = *bucket; i != NONE; i = s->rows[i]->next)
        if (s->rows[i]->len == name->len && memcmp(s->rows[i]->name, name->text, name->len) == 0)
            break;
    if (i == NONE) {
        int r = row_add(s, name, bucket);
        if (r < 0)
            return r;
        i = s->n - 1;
    }
    host_addr(s, i + 1, family, ret);
    return 0;
}

bool dns_synthetic_name(const struct dns_synthetic *s, const struct addr *addr, struct name *ret)
{
    const uint8_t *low = addr->family == AF_INET ? addr->bytes : addr->bytes + 12;
    uint32_t v = (uint32_t)low[0] << 24 | (uint32_t)low[1] << 16 | (uint32_t)low[2] << 8 | low[3];
    uint32_t host = addr->family == AF_INET ? v - PREFIX4 : v;
    struct addr back;

    if (!s || host == 0 || host > s->n)
        return false;
    host_addr(s, host, addr->family, &back);
    if (!addr_eq(&back, addr))
        return false;
    const struct row *row = s->rows[host - 1];
    ret->len = row->len;
    memcpy(ret->text, row->name, row->len);
    ret->text[row->len] = '\0';
    return true;
}
