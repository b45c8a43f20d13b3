/* SPDX-License-Identifier: MIT */
#include "proto/secret_mark.h"

#include <sodium.h>

#include "proto/secret_form.h"

#define PRIME ((1ull << 61) - 1)

/* Marks of one length are searched for in one pass. */
struct group {
    uint32_t length;
    uint32_t first, n;  /* of the sorted marks */
    uint64_t drop;      /* minus point^length: takes away the byte that leaves the window */
    uint64_t filter[4]; /* one bit a value of the filter */
};

struct secret_marks {
    uint64_t point; /* of the polynomial, 256..PRIME-1 */
    uint8_t key[crypto_generichash_KEYBYTES];
    size_t cap_names, nnames, cap, n, ngroups;
    struct secret_mark *mark;
    struct group *group;
    char (*name)[LIMIT_SECRET_NAME + 1];
};

/* The text that is searched, lower-cased. One at a time in a thread. */
static _Thread_local uint8_t folded[LIMIT_CLAIM_BODY];

static uint64_t reduce(unsigned __int128 x)
{
    uint64_t r = (uint64_t)(x & PRIME) + (uint64_t)(x >> 61);

    r = (r & PRIME) + (r >> 61);
    return r >= PRIME ? r - PRIME : r;
}

static uint64_t mul(uint64_t a, uint64_t b)
{
    return reduce((unsigned __int128)a * b);
}

static uint64_t hash(const struct secret_marks *m, const uint8_t *p, size_t n)
{
    uint64_t h = 0;

    for (size_t i = 0; i < n; i++)
        h = reduce((unsigned __int128)h * m->point + p[i] + 1);
    return h;
}

static void digest(const struct secret_marks *m, const uint8_t *p, size_t n, uint8_t ret[SECRET_DIGEST_LEN])
{
    (void)crypto_generichash(ret, SECRET_DIGEST_LEN, p, n, m->key, sizeof(m->key));
}

/* ---- life ---- */

int secret_marks_new(const uint8_t key[static SECRET_KEY_LEN], size_t names, size_t marks,
                     struct secret_marks **ret)
{
    static const uint8_t what[] = "cellos secret marks v1";
    uint8_t derived[8 + crypto_generichash_KEYBYTES];
    struct secret_marks *m;
    uint8_t *room;

    _Static_assert(sizeof(derived) <= crypto_generichash_BYTES_MAX, "one digest gives both");
    if (names > LIMIT_SECRETS || marks > LIMIT_SECRET_MARKS)
        return -EINVAL;
    size_t n = sizeof(*m) + marks * (sizeof(*m->mark) + sizeof(*m->group)) + names * sizeof(*m->name);
    room = sodium_malloc((n + 15) / 16 * 16); /* it aligns the end */
    if (!room)
        return -ENOMEM;
    m = (struct secret_marks *)(void *)room;
    *m = (struct secret_marks){.cap_names = names, .cap = marks};
    m->group = (struct group *)(void *)(room + sizeof(*m));
    m->mark = (struct secret_mark *)(void *)(m->group + marks);
    m->name = (char(*)[LIMIT_SECRET_NAME + 1])(void *)(m->mark + marks);
    (void)crypto_generichash(derived, sizeof(derived), what, sizeof(what) - 1, key, SECRET_KEY_LEN);
    memcpy(&m->point, derived, 8);
    m->point = 256 + m->point % (PRIME - 256);
    memcpy(m->key, derived + 8, sizeof(m->key));
    sodium_memzero(derived, sizeof(derived));
    *ret = m;
    return 0;
}

struct secret_marks *secret_marks_free(struct secret_marks *m)
{
    sodium_free(m); /* wipes */
    return NULL;
}

void secret_marks_freep(struct secret_marks **m)
{
    *m = secret_marks_free(*m);
}

/* ---- adding ---- */

int secret_marks_add_name(struct secret_marks *m, struct str name)
{
    if (m->nnames == m->cap_names)
        return -ENOBUFS;
    if (name.len == 0 || name.len > LIMIT_SECRET_NAME)
        return -EINVAL;
    memcpy(m->name[m->nnames], name.p, name.len);
    m->name[m->nnames][name.len] = '\0';
    return (int)m->nnames++;
}

int secret_marks_add(struct secret_marks *m, const struct secret_mark *mark)
{
    if (m->n == m->cap)
        return -ENOBUFS;
    if (mark->secret >= m->nnames || mark->length == 0 || mark->length > LIMIT_CLAIM_BODY)
        return -EINVAL;
    m->mark[m->n++] = *mark;
    return 0;
}

/* A form that no event can hold needs no mark. */
static int add_form(void *arg, const uint8_t *p, size_t n)
{
    struct secret_marks *m = arg;
    struct secret_mark mark = {.length = (uint32_t)n, .secret = (uint8_t)(m->nnames - 1)};

    if (n > LIMIT_CLAIM_BODY)
        return 0;
    mark.filter = (uint8_t)hash(m, p, n);
    digest(m, p, n, mark.digest);
    return secret_marks_add(m, &mark);
}

int secret_marks_add_value(struct secret_marks *m, struct str name, struct str value)
{
    int r = value.len == 0 || value.len > LIMIT_SECRET_VALUE ? -EINVAL : secret_marks_add_name(m, name);

    return r < 0 ? r : secret_forms(value, add_form, m);
}

static int by_length(const void *a, const void *b)
{
    const struct secret_mark *x = a, *y = b;

    return (x->length > y->length) - (x->length < y->length);
}

void secret_marks_seal(struct secret_marks *m)
{
    /* Sorted in place: qsort() would copy that many marks to memory of its own. */
    for (size_t i = 1; i < m->n; i++)
        for (size_t k = i; k > 0 && by_length(&m->mark[k - 1], &m->mark[k]) > 0; k--) {
            struct secret_mark t = m->mark[k];

            m->mark[k] = m->mark[k - 1];
            m->mark[k - 1] = t;
        }
    m->ngroups = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct group *g = m->ngroups ? &m->group[m->ngroups - 1] : NULL;

        if (!g || g->length != m->mark[i].length) {
            g = &m->group[m->ngroups++];
            *g = (struct group){.length = m->mark[i].length, .first = (uint32_t)i};
            uint64_t power = 1;
            for (uint32_t k = 0; k < g->length; k++)
                power = mul(power, m->point);
            g->drop = PRIME - power;
        }
        g->n++;
        g->filter[m->mark[i].filter >> 6] |= 1ull << (m->mark[i].filter & 63);
    }
}

size_t secret_marks_count(const struct secret_marks *m)
{
    return m->n;
}

const struct secret_mark *secret_marks_at(const struct secret_marks *m, size_t i)
{
    return &m->mark[i];
}

size_t secret_marks_names(const struct secret_marks *m, struct str dst[static LIMIT_SECRETS])
{
    for (size_t i = 0; i < m->nnames; i++)
        dst[i] = str_of(m->name[i]);
    return m->nnames;
}

/* ---- searching ---- */

/* The secret with a form that is exactly these bytes, or NULL. Every mark of the length is compared. */
static const char *at_window(const struct secret_marks *m, const struct group *g, const uint8_t *p)
{
    uint8_t d[SECRET_DIGEST_LEN];
    const char *found = NULL;

    digest(m, p, g->length, d);
    for (uint32_t i = 0; i < g->n; i++)
        if (sodium_memcmp(d, m->mark[g->first + i].digest, sizeof(d)) == 0)
            found = m->name[m->mark[g->first + i].secret];
    return found;
}

static bool passes(const struct group *g, uint64_t h)
{
    return g->filter[h >> 6 & 3] >> (h & 63) & 1;
}

/* A text that repeats itself must not cost a digest at every place: a window that was none is not looked at
 * again. */
static const char *in_text(const struct secret_marks *m, const struct group *g, const uint8_t *p, size_t n)
{
    uint64_t none[64] = {0}, h = hash(m, p, g->length);

    /* Each byte counts as its value plus one, so that leading zeros count; taking one away takes that too. */
    for (size_t i = 0;; i++) {
        uint64_t *last = &none[h >> 8 & 63];
        if (passes(g, h) && *last != h) {
            const char *found = at_window(m, g, p + i);
            if (found)
                return found;
            *last = h;
        }
        if (i + g->length >= n)
            return NULL;
        h = reduce((unsigned __int128)h * m->point + (unsigned __int128)(p[i] + 1u) * g->drop +
                   p[i + g->length] + 1);
    }
}

const char *secret_marks_find(const struct secret_marks *m, struct str text)
{
    const char *found = NULL;
    size_t n = text.len < sizeof(folded) ? text.len : sizeof(folded);

    if (!m || m->ngroups == 0 || n < m->group[0].length)
        return NULL;
    secret_fold(text.p, n, folded);
    for (size_t i = 0; i < m->ngroups && !found && m->group[i].length <= n; i++) {
        const struct group *g = &m->group[i];

        if (g->length >= LIMIT_SECRET_SEARCHED)
            found = in_text(m, g, folded, n);
        else if (g->length == n)
            found = at_window(m, g, folded);
    }
    if (found)
        sodium_memzero(folded, n);
    return found;
}

bool secret_marks_is(const struct secret_marks *m, struct str name, struct str value)
{
    uint8_t d[SECRET_DIGEST_LEN];
    bool same = false;

    if (value.len == 0 || value.len > sizeof(folded))
        return false;
    secret_fold(value.p, value.len, folded);
    digest(m, folded, value.len, d);
    sodium_memzero(folded, value.len);
    for (size_t i = 0; i < m->n; i++)
        if (str_is(name, m->name[m->mark[i].secret]) && m->mark[i].length == value.len)
            same |= sodium_memcmp(d, m->mark[i].digest, sizeof(d)) == 0;
    return same;
}
