/* SPDX-License-Identifier: MIT */
#include <libpsl.h>
#include <stdio.h>

#include "common/net/allow.h"
#include "supervisor/spec/validate.h"

/* "*.com": whatever the list of public suffixes calls a suffix (its private section too: "*.github.io") has
 * many owners, so one wildcard there would be authority over strangers' hosts. */
static bool public_suffix(const char *rest)
{
    const psl_ctx_t *psl = psl_builtin();
    return !psl || psl_is_public_suffix(psl, rest);
}

static bool is_wild(struct str s)
{
    return s.len > 2 && s.p[0] == '*' && s.p[1] == '.';
}

static bool complain_suffix(struct validate *v, const struct doc_at *at)
{
    doc_complain(&v->doc, at, "public-suffix", "must not have a wildcard right below a public suffix");
    return false;
}

/* "*.com" and "*.com." before the parser of names sees a wildcard with too few labels. */
static bool one_label_below(struct str s)
{
    if (!is_wild(s))
        return false;
    size_t n = s.len - 2 - (s.p[s.len - 1] == '.');
    return n > 0 && !memchr(s.p + 2, '.', n);
}

static bool keep(struct validate *v, struct str s, struct str *ret)
{
    struct str copy = arena_copy(v->doc.arena, s);
    if (!copy.p) {
        v->doc.out->err = -ENOMEM;
        return false;
    }
    *ret = copy;
    return true;
}

static const char *rule_of(int error)
{
    switch (error) {
    case NAME_E_EMPTY:
        return "not-empty";
    case NAME_E_WILDCARD:
        return "wildcard";
    case ALLOW_E_PREFIX:
    case ALLOW_E_MAPPED:
        return "address";
    default:
        return "name";
    }
}

bool validate_name(struct validate *v, const struct doc_at *at, struct str text, bool pattern,
                   struct str *ret)
{
    struct name n;
    if (pattern && one_label_below(text))
        return complain_suffix(v, at);
    int error = name_parse(text, pattern ? NAME_PATTERN : NAME_HOST, &n);
    if (error != NAME_OK) {
        doc_complain(&v->doc, at, rule_of(error), "%s", name_error_text(error));
        return false;
    }
    if (is_wild(name_str(&n)) && public_suffix(n.text + 2))
        return complain_suffix(v, at);
    return keep(v, name_str(&n), ret);
}

static bool operator_lifts(const struct validate *v, const struct addr *a)
{
    for (size_t i = 0; v->op && i < v->op->metadata.n; i++) {
        struct addr_prefix p;
        if (addr_prefix_parse(v->op->metadata.v[i], &p) == 0 && addr_prefix_contains(&p, a))
            return true;
    }
    return false;
}

/* Addresses that no rule of a spec can ever make reachable: say so now, not at the first connection. */
static bool possible(struct validate *v, const struct doc_at *at, const struct addr_prefix *p)
{
    if (p->bits != (p->addr.family == AF_INET ? 32 : 128))
        return true;
    enum addr_class c = addr_classify(&p->addr);
    if (c == ADDR_METADATA && operator_lifts(v, &p->addr))
        return true;
    if (c != ADDR_METADATA && c != ADDR_MULTICAST && c != ADDR_UNSPECIFIED)
        return true;
    doc_complain(&v->doc, at, "address-class", "is of the class \"%s\", which no spec can allow",
                 addr_class_name(c));
    return false;
}

bool validate_prefix(struct validate *v, const struct doc_at *at, struct str text, struct addr_prefix *ret)
{
    struct addr_prefix p;
    if (addr_prefix_parse(text, &p) < 0) {
        doc_complain(
            &v->doc, at, "address",
            "must be an IPv4 or IPv6 address, or a prefix such as 192.0.2.0/24 with no host bits set");
        return false;
    }
    if (!possible(v, at, &p))
        return false;
    *ret = p;
    return true;
}

/* RFC 5952 text; a single address without its bits. */
const char *spec_prefix_format(const struct addr_prefix *p, char dst[SPEC_PREFIX_TEXT_MAX])
{
    (void)addr_format(&p->addr, dst);
    size_t n = strlen(dst);
    if (p->bits != (p->addr.family == AF_INET ? 32 : 128))
        (void)snprintf(dst + n, SPEC_PREFIX_TEXT_MAX - n, "/%u", p->bits);
    return dst;
}

bool validate_host(struct validate *v, const struct doc_at *at, struct spec_host *ret)
{
    char text[SPEC_PREFIX_TEXT_MAX];
    struct allow_rule rule;
    struct str s;
    if (!doc_str(&v->doc, at, LIMIT_LABEL, &s))
        return false;
    if (one_label_below(s))
        return complain_suffix(v, at);
    int error = allow_rule_parse_host(s, &rule);
    if (error != ALLOW_OK) {
        doc_complain(&v->doc, at, rule_of(error), "%s", allow_error_text(error));
        return false;
    }
    if (rule.is_addr) {
        *ret = (struct spec_host){.kind = SPEC_HOST_ADDR, .prefix = rule.prefix};
        return possible(v, at, &rule.prefix) &&
               keep(v, str_of(spec_prefix_format(&rule.prefix, text)), &ret->text);
    }
    if (is_wild(name_str(&rule.name)) && public_suffix(rule.name.text + 2))
        return complain_suffix(v, at);
    *ret = (struct spec_host){.kind = SPEC_HOST_NAME};
    return keep(v, name_str(&rule.name), &ret->text);
}
