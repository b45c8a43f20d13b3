/* SPDX-License-Identifier: MIT */
#include "supervisor/spec/policy_edit.h"

#include <stdio.h>

#include "common/evidence/digest.h"
#include "supervisor/spec/parse.h"
#include "supervisor/spec/policy.h"
#include "supervisor/spec/rule_words.h"

/* The lists while they change: room for everything that may come. */
struct draft {
    struct policy_egress *rules;
    size_t nrules;
    struct str *names;
    size_t nnames;
    struct str *added, *removed;
    size_t nadded, nremoved;
};

__attribute__((format(printf, 2, 3))) static int refuse(char why[POLICY_EDIT_WHY_MAX], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, POLICY_EDIT_WHY_MAX, fmt, ap);
    va_end(ap);
    return POLICY_EDIT_REFUSED;
}

static int draft_of(const struct policy *now, const struct strs *add, const struct strs *remove,
                    struct arena *a, struct draft *d)
{
    *d = (struct draft){
        .rules = arena_alloc(a, (now->egress.n + add->n + 1) * sizeof(*d->rules)),
        .nrules = now->egress.n,
        .names = arena_alloc(a, (now->dns_names.n + add->n + 1) * sizeof(*d->names)),
        .nnames = now->dns_names.n,
        .added = arena_alloc(a, (add->n + 1) * sizeof(*d->added)),
        .removed = arena_alloc(a, (remove->n + 1) * sizeof(*d->removed)),
    };
    if (!d->rules || !d->names || !d->added || !d->removed)
        return -ENOMEM;
    if (d->nrules)
        memcpy(d->rules, now->egress.v, d->nrules * sizeof(*d->rules));
    if (d->nnames)
        memcpy(d->names, now->dns_names.v, d->nnames * sizeof(*d->names));
    return 0;
}

static bool same_rule(const struct policy_egress *a, const struct policy_egress *b)
{
    return str_eq(a->host, b->host) && a->port_lo == b->port_lo && a->port_hi == b->port_hi &&
           a->protocol == b->protocol;
}

static bool named(const struct draft *d, struct str host)
{
    for (size_t i = 0; i < d->nrules; i++)
        if (str_eq(d->rules[i].host, host))
            return true;
    return false;
}

static void forget_name(struct draft *d, struct str host)
{
    for (size_t i = 0; i < d->nnames; i++)
        if (str_eq(d->names[i], host)) {
            memmove(&d->names[i], &d->names[i + 1], (d->nnames - i - 1) * sizeof(*d->names));
            d->nnames--;
            return;
        }
}

static bool known_name(const struct draft *d, struct str host)
{
    for (size_t i = 0; i < d->nnames; i++)
        if (str_eq(d->names[i], host))
            return true;
    return false;
}

/* A rule as policies have it, from the operator's words. */
static int parse(struct str words, const struct spec_operator *op, struct arena *a, struct policy_egress *ret,
                 bool *ret_name, char why[POLICY_EDIT_WHY_MAX])
{
    _cleanup_(violations_done) struct violations found = {0};
    struct spec_egress r;
    int e = spec_parse_rule(words, op, a, &r, &found);
    if (e == SPEC_INVALID)
        return refuse(why, "%.*s: %s", (int)(words.len < 200 ? words.len : 200), words.p, found.v[0].message);
    if (e < 0)
        return e;
    *ret = (struct policy_egress){r.host.text, r.port_lo, r.port_hi, r.protocol};
    *ret_name = r.host.kind == SPEC_HOST_NAME;
    return POLICY_EDIT_OK;
}

static int note(const struct policy_egress *r, struct arena *a, struct str *list, size_t *n)
{
    char text[POLICY_RULE_TEXT_MAX];
    list[*n] = arena_copy(a, str_of(policy_rule_text(r, text)));
    return list[(*n)++].p ? POLICY_EDIT_OK : -ENOMEM;
}

static int remove_rule(struct draft *d, const struct spec_operator *op, struct str words, struct arena *a,
                       char why[POLICY_EDIT_WHY_MAX])
{
    struct policy_egress r = {0};
    bool name = false, found = false;
    int e = parse(words, op, a, &r, &name, why);
    if (e != POLICY_EDIT_OK)
        return e;
    for (size_t i = 0; i < d->nrules;) {
        if (!same_rule(&d->rules[i], &r)) {
            i++;
            continue;
        }
        memmove(&d->rules[i], &d->rules[i + 1], (d->nrules - i - 1) * sizeof(*d->rules));
        d->nrules--;
        found = true;
    }
    if (!found)
        return refuse(why, "%.*s: no such rule; `cellctl policy` without --add and --remove shows them",
                      (int)(words.len < 200 ? words.len : 200), words.p);
    if (name && !named(d, r.host))
        forget_name(d, r.host);
    return note(&r, a, d->removed, &d->nremoved);
}

static int add_rule(struct draft *d, const struct policy *now, const struct spec_operator *op,
                    struct str words, struct arena *a, char why[POLICY_EDIT_WHY_MAX])
{
    struct policy_egress r = {0};
    bool name = false;
    int e = parse(words, op, a, &r, &name, why);
    if (e != POLICY_EDIT_OK)
        return e;
    if (name && now->resolvers.n == 0)
        return refuse(why, "%.*s: the cell has no resolver: no name can be added", (int)r.host.len, r.host.p);
    for (size_t i = 0; i < d->nrules; i++)
        if (same_rule(&d->rules[i], &r))
            return POLICY_EDIT_OK;
    bool new_name = name && !known_name(d, r.host);
    if (d->nrules >= LIMIT_EGRESS_RULES || (new_name && d->nnames >= LIMIT_DNS_NAMES))
        return refuse(why, "too many rules: at most %u", LIMIT_EGRESS_RULES);
    d->rules[d->nrules++] = r;
    if (new_name)
        d->names[d->nnames++] = r.host;
    return note(&r, a, d->added, &d->nadded);
}

/* The policy once more, in memory of its own. */
static int seal(const struct policy *doc, struct policy_live **ret)
{
    struct policy_live *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    buf_init(&l->bytes, LIMIT_POLICY_DOC);
    arena_init(&l->arena, LIMIT_ARENA);
    int r = digest_init();
    if (r == 0)
        r = codec_encode(&schema_policy, doc, &l->bytes);
    if (r == 0)
        r = codec_decode_all(&schema_policy, buf_str(&l->bytes), &l->arena, &l->doc);
    if (r < 0) {
        policy_live_free(l);
        return r;
    }
    digest_sha256(l->bytes.data, l->bytes.len, l->sha256);
    *ret = l;
    return 0;
}

int policy_edit(const struct policy *now, const struct spec_operator *op, const struct strs *add,
                const struct strs *remove, struct arena *a, struct policy_edit *ret,
                char why[POLICY_EDIT_WHY_MAX])
{
    struct draft d;
    struct policy doc = *now;
    struct policy_live *next;
    int r = draft_of(now, add, remove, a, &d);
    for (size_t i = 0; i < remove->n && r == 0; i++)
        r = remove_rule(&d, op, remove->v[i], a, why);
    for (size_t i = 0; i < add->n && r == 0; i++)
        r = add_rule(&d, now, op, add->v[i], a, why);
    if (r != 0)
        return r;
    if (d.nadded == 0 && d.nremoved == 0)
        return POLICY_EDIT_NOTHING;
    doc.egress.v = d.rules;
    doc.egress.n = d.nrules;
    doc.dns_names = (struct strs){d.names, d.nnames};
    r = seal(&doc, &next);
    if (r < 0)
        return r;
    *ret = (struct policy_edit){next, {d.added, d.nadded}, {d.removed, d.nremoved}};
    return POLICY_EDIT_OK;
}

struct policy_live *policy_live_free(struct policy_live *l)
{
    if (!l)
        return NULL;
    arena_done(&l->arena);
    buf_done(&l->bytes);
    free(l);
    return NULL;
}
