/* SPDX-License-Identifier: MIT */
#include "supervisor/spec/rule_words.h"

#include <stdio.h>

struct parts {
    struct str host, port, protocol; /* the last two may be absent */
};

static int wrong(char why[RULE_WORDS_WHY_MAX], const char *text)
{
    (void)snprintf(why, RULE_WORDS_WHY_MAX, "%s", text);
    return RULE_WORDS_BAD;
}

static struct str before(const char *s, const char *end)
{
    return (struct str){s, (size_t)(end - s)};
}

/* "/8" after an address is a prefix, "/tls" is a protocol: protocols begin with a letter. */
static const char *cut_protocol(struct str text, struct parts *p)
{
    const char *end = text.p + text.len, *slash = memrchr(text.p, '/', text.len);
    if (!slash || slash + 1 == end ||
        !((slash[1] >= 'a' && slash[1] <= 'z') || (slash[1] >= 'A' && slash[1] <= 'Z')))
        return end;
    p->protocol = before(slash + 1, end);
    return slash;
}

static int split(struct str text, struct parts *p, char why[RULE_WORDS_WHY_MAX])
{
    *p = (struct parts){0};
    if (text.len > 0 && memmem(text.p, text.len, "://", 3))
        return wrong(why, allow_error_text(ALLOW_E_URL));
    const char *end = cut_protocol(text, p), *rest;
    if (text.len > 0 && text.p[0] == '[') {
        const char *close = memchr(text.p, ']', text.len);
        if (!close || close > end)
            return wrong(why, "lacks the closing \"]\"");
        p->host = before(text.p + 1, close);
        rest = close + 1;
    } else {
        const char *colon = memchr(text.p, ':', (size_t)(end - text.p));
        if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1)))
            return wrong(why, "must have an IPv6 address in brackets, e.g. [2001:db8::1]:443");
        p->host = before(text.p, colon ? colon : end);
        rest = colon ? colon : end;
    }
    if (rest < end && *rest != ':')
        return wrong(why, "must be HOST[:PORT[-PORT]][/PROTO]");
    if (rest < end)
        p->port = before(rest + 1, end);
    if (p->protocol.p && str_is(p->protocol, allow_protocol_name(ALLOW_ANY)))
        p->protocol = (struct str){0};
    return RULE_WORDS_OK;
}

static int parse(const struct parts *p, struct allow_rule *ret, char why[RULE_WORDS_WHY_MAX])
{
    struct allow_rule rule;
    int e = allow_rule_parse_host(p->host, &rule);
    rule.port_lo = rule.port_hi = RULE_WORDS_PORT;
    if (e == ALLOW_OK && p->port.p)
        e = allow_port_parse(p->port, &rule.port_lo, &rule.port_hi);
    if (e == ALLOW_OK && p->protocol.p)
        e = allow_protocol_parse(p->protocol, &rule.protocol);
    if (e != ALLOW_OK)
        return wrong(why, allow_error_text(e));
    *ret = rule;
    return RULE_WORDS_OK;
}

int rule_words_parse(struct str text, struct allow_rule *ret, char why[RULE_WORDS_WHY_MAX])
{
    struct parts p;
    int r = split(text, &p, why);
    return r == RULE_WORDS_OK ? parse(&p, ret, why) : r;
}

static json_t *port_value(struct str text, const struct allow_rule *rule)
{
    return rule->port_lo == rule->port_hi ? json_integer(rule->port_lo) : json_stringn(text.p, text.len);
}

int rule_words_json(struct str text, json_t **ret, char why[RULE_WORDS_WHY_MAX])
{
    struct parts p;
    struct allow_rule rule;
    int r = split(text, &p, why);
    if (r == RULE_WORDS_OK)
        r = parse(&p, &rule, why);
    if (r != RULE_WORDS_OK)
        return r;
    json_t *o = json_pack("{s:s%, s:o}", "host", p.host.p, p.host.len, "port", port_value(p.port, &rule));
    if (!o || (p.protocol.p &&
               json_object_set_new(o, "protocol", json_stringn(p.protocol.p, p.protocol.len)) < 0)) {
        json_decref(o);
        return -ENOMEM;
    }
    *ret = o;
    return RULE_WORDS_OK;
}
