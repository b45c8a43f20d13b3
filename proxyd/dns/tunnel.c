/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/tunnel.h"

#include <libpsl.h>

#include "proxyd/dns/wire.h"

#define SKETCH 64u /* hashes kept of the names of one apex: exact up to here, then about one eighth off */

struct apex {
    uint32_t serial;
    struct dns_apex use; /* without distinct_names and suspicious */
    size_t nsketch;
    uint64_t sketch[SKETCH]; /* the smallest hashes of all names, ascending */
};

struct dns_tunnel {
    uint32_t serial;
    size_t n;
    struct apex *apexes[DNS_APEXES_TRACKED];
};

/* i * log2(i) in thousandths, for the characters of one label (RFC 1035: at most 63). */
static const uint32_t n_log2_n[64] = {
    0,      0,      2000,   4755,   8000,   11610,  15510,  19651,  24000,  28529,  33219,  38054,  43020,
    48106,  53303,  58603,  64000,  69487,  75059,  80711,  86439,  92239,  98107,  104042, 110039, 116096,
    122211, 128382, 134606, 140881, 147207, 153580, 160000, 166465, 172974, 179525, 186117, 192750, 199421,
    206131, 212877, 219660, 226477, 233329, 240215, 247133, 254084, 261066, 268078, 275121, 282193, 289294,
    296423, 303580, 310764, 317975, 325212, 332475, 339763, 347076, 354413, 361775, 369160, 376569,
};

/* Shannon's entropy of the label's bytes, in millibits a byte: log2(n) - sum(c * log2(c)) / n. */
static uint32_t entropy(const char *label, size_t n)
{
    uint8_t count[256] = {0};
    uint32_t sum = 0;

    if (n == 0 || n > 63)
        return 0;
    for (size_t i = 0; i < n; i++)
        count[(uint8_t)label[i]]++;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = count[(uint8_t)label[i]];
        count[(uint8_t)label[i]] = 0; /* each byte once */
        sum += n_log2_n[c];
    }
    return (uint32_t)((n_log2_n[n] - sum) / n);
}

/* Where the apex begins in the name. A name that is a public suffix itself is its own apex. */
static size_t apex_at(const struct name *name)
{
    const psl_ctx_t *psl = psl_builtin();
    const char *apex = psl ? psl_registrable_domain(psl, name->text) : NULL;
    size_t dots = 0;

    if (apex)
        return (size_t)(apex - name->text);
    for (size_t i = name->len; !psl && i > 0; i--)
        if (name->text[i - 1] == '.' && ++dots == 2) /* no list: the last two labels */
            return i;
    return 0;
}

static void sketch_add(struct apex *a, uint64_t hash)
{
    size_t i = a->nsketch;

    if (i == SKETCH && hash >= a->sketch[SKETCH - 1])
        return;
    while (i > 0 && a->sketch[i - 1] > hash)
        i--;
    if (i > 0 && a->sketch[i - 1] == hash)
        return;
    if (a->nsketch < SKETCH)
        a->nsketch++;
    memmove(&a->sketch[i + 1], &a->sketch[i], (a->nsketch - 1 - i) * sizeof(a->sketch[0]));
    a->sketch[i] = hash;
}

/* k smallest of n hashes spread evenly: n is about (k - 1) / (the greatest of them as a fraction). */
static uint64_t sketch_count(const struct apex *a)
{
    if (a->nsketch < SKETCH)
        return a->nsketch;
    uint64_t top = a->sketch[SKETCH - 1] >> 16;
    return ((uint64_t)(SKETCH - 1) << 48) / (top ? top : 1);
}

/* The apex's place: its own, a free one, or that of the least asked. */
static struct apex *apex_of(struct dns_tunnel *t, struct str apex, uint32_t *ret_slot)
{
    size_t slot = 0;

    for (size_t i = 0; i < t->n; i++) {
        if (str_eq(name_str(&t->apexes[i]->use.apex), apex)) {
            *ret_slot = (uint32_t)i + 1;
            return t->apexes[i];
        }
        if (t->apexes[i]->use.queries < t->apexes[slot]->use.queries)
            slot = i;
    }
    if (t->n < DNS_APEXES_TRACKED) {
        struct apex *a = malloc(sizeof(*a));
        if (!a)
            return NULL;
        slot = t->n++;
        t->apexes[slot] = a;
    }
    *t->apexes[slot] = (struct apex){.serial = ++t->serial, .use = {.apex = {.len = (uint8_t)apex.len}}};
    memcpy(t->apexes[slot]->use.apex.text, apex.p, apex.len);
    *ret_slot = (uint32_t)slot + 1;
    return t->apexes[slot];
}

static uint32_t max_entropy(const char *labels, size_t n)
{
    uint32_t most = 0;

    for (size_t from = 0, i = 0; i <= n; i++) {
        if (i < n && labels[i] != '.')
            continue;
        uint32_t e = entropy(labels + from, i - from);
        most = e > most ? e : most;
        from = i + 1;
    }
    return most;
}

void dns_tunnel_note(struct dns_tunnel **t, const struct name *name, struct dns_tunnel_mark *ret)
{
    size_t at = apex_at(name);
    size_t below = at > 0 ? at - 1 : 0; /* bytes left of the apex and its dot */
    uint32_t slot, most;

    *ret = (struct dns_tunnel_mark){.slot = 0};
    if (!*t && !(*t = calloc(1, sizeof(**t))))
        return;
    struct apex *a = apex_of(*t, (struct str){name->text + at, name->len - at}, &slot);
    if (!a)
        return;
    *ret = (struct dns_tunnel_mark){slot, a->serial, (uint32_t)below};
    a->use.queries++;
    a->use.label_bytes += below;
    most = max_entropy(name->text, below);
    if (most > a->use.max_label_entropy_millibits)
        a->use.max_label_entropy_millibits = most;
    sketch_add(a, dns_hash(name->text, name->len));
}

void dns_tunnel_again(struct dns_tunnel *t, const struct dns_tunnel_mark *mark)
{
    if (!t || mark->slot == 0 || t->apexes[mark->slot - 1]->serial != mark->serial)
        return;
    t->apexes[mark->slot - 1]->use.queries++;
    t->apexes[mark->slot - 1]->use.label_bytes += mark->label_bytes;
}

static bool suspicious(const struct dns_apex *u)
{
    return u->distinct_names >= DNS_TUNNEL_NAMES &&
           (u->label_bytes / u->queries >= DNS_TUNNEL_LABEL_BYTES ||
            u->max_label_entropy_millibits >= DNS_TUNNEL_ENTROPY_MILLIBITS);
}

static int by_interest(const void *pa, const void *pb)
{
    const struct dns_apex *a = pa, *b = pb;

    if (a->suspicious != b->suspicious)
        return a->suspicious ? -1 : 1;
    return a->queries > b->queries ? -1 : a->queries < b->queries;
}

size_t dns_tunnel_apexes(const struct dns_tunnel *t, struct dns_apex *ret, size_t max)
{
    _cleanup_free_ struct dns_apex *all = t ? calloc(t->n + 1, sizeof(*all)) : NULL;

    if (!all)
        return 0;
    for (size_t i = 0; i < t->n; i++) {
        all[i] = t->apexes[i]->use;
        all[i].distinct_names = sketch_count(t->apexes[i]);
        all[i].suspicious = suspicious(&all[i]);
    }
    qsort(all, t->n, sizeof(*all), by_interest);
    size_t n = t->n < max ? t->n : max;
    memcpy(ret, all, n * sizeof(*all));
    return n;
}

struct dns_tunnel *dns_tunnel_free(struct dns_tunnel *t)
{
    for (size_t i = 0; t && i < t->n; i++)
        free(t->apexes[i]);
    free(t);
    return NULL;
}
