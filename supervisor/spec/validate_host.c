/* SPDX-License-Identifier: MIT */
#include <libpsl.h>

#include <stdio.h>

#include "supervisor/spec/validate.h"

/* "*.com": whatever the list of public suffixes calls a suffix (its private section too: "*.github.io") has many owners,
 * so one wildcard there would be authority over strangers' hosts. */
static bool public_suffix(const char *rest)
{
    const psl_ctx_t *psl = psl_builtin();
    return !psl || psl_is_public_suffix(psl, rest);
}

static struct str canonical(struct validate *v, const struct name *n)
{
    struct str s = arena_copy(v->doc.arena, name_str(n));
    if (!s.p)
        v->doc.out->err = -ENOMEM;
    return s;
}

static void complain_name(struct validate *v, const struct doc_at *at, int error)
{
    if (error == NAME_E_NOT_ASCII)
        doc_complain(&v->doc, at, "name", "must be ASCII; write a non-ASCII name as its A-label (xn--...)");
    else
        doc_complain(&v->doc, at, error == NAME_E_WILDCARD ? "wildcard" : "name", "%s", name_error_text(error));
}

bool validate_name(struct validate *v, const struct doc_at *at, struct str text, bool pattern, struct str *ret)
{
    struct name n;
    bool wild = text.len > 2 && text.p[0] == '*' && text.p[1] == '.';
    if (pattern && wild && !memchr(text.p + 2, '.', text.len - 2)) {
        doc_complain(&v->doc, at, "public-suffix", "a wildcard must not stand right below a public suffix");
        return false;
    }
    int error = name_parse(text, pattern ? NAME_PATTERN : NAME_HOST, &n);
    if (error != NAME_OK) {
        complain_name(v, at, error);
        return false;
    }
    if (wild && public_suffix(n.text + 2)) {
        doc_complain(&v->doc, at, "public-suffix", "a wildcard must not stand right below a public suffix");
        return false;
    }
    struct str s = canonical(v, &n);
    if (!s.p)
        return false;
    *ret = s;
    return true;
}

/* Addresses that no rule of a spec can ever make reachable: say so now, not at the first connection. */
static bool possible(struct validate *v, const struct doc_at *at, const struct addr_prefix *p)
{
    if (p->bits != (p->addr.family == AF_INET ? 32 : 128))
        return true;
    enum addr_class c = addr_classify(&p->addr);
    if (c != ADDR_METADATA && c != ADDR_MULTICAST && c != ADDR_UNSPECIFIED)
        return true;
    doc_complain(&v->doc, at, "address-class", "is a %s address, which no spec can allow", addr_class_name(c));
    return false;
}

bool validate_prefix(struct validate *v, const struct doc_at *at, struct str text, struct addr_prefix *ret)
{
    struct addr_prefix p;
    if (addr_prefix_parse(text, &p) < 0) {
        doc_complain(&v->doc, at, "address",
                     "must be an IPv4 or IPv6 address, or a prefix such as 192.0.2.0/24 with no host bits set");
        return false;
    }
    if (!possible(v, at, &p))
        return false;
    *ret = p;
    return true;
}

static bool address_host(struct validate *v, const struct doc_at *at, struct str s, struct spec_host *ret)
{
    char text[ADDR_TEXT_MAX + 4];
    struct addr_prefix p;
    if (!validate_prefix(v, at, s, &p))
        return false;
    (void)addr_format(&p.addr, text);
    if (memchr(s.p, '/', s.len)) {
        size_t n = strlen(text);
        (void)snprintf(text + n, sizeof(text) - n, "/%u", p.bits);
    }
    struct str copy = arena_copy(v->doc.arena, str_of(text));
    if (!copy.p) {
        v->doc.out->err = -ENOMEM;
        return false;
    }
    *ret = (struct spec_host){SPEC_HOST_ADDR, copy, p};
    return true;
}

bool validate_host(struct validate *v, const struct doc_at *at, struct spec_host *ret)
{
    struct str s, name;
    struct addr a;
    if (!doc_str(&v->doc, at, NAME_MAX_LEN + 2, &s))
        return false;
    if (memchr(s.p, '/', s.len) || memchr(s.p, ':', s.len) || addr_parse(s, &a) == 0)
        return address_host(v, at, s, ret);
    if (!validate_name(v, at, s, /* pattern= */ true, &name))
        return false;
    *ret = (struct spec_host){.kind = SPEC_HOST_NAME, .text = name};
    return true;
}
