/* SPDX-License-Identifier: MIT */
/* The rule set in nft's own words, so that an auditor can compare it with what nft prints in the namespace.
 */
#include <errno.h>

#include "netd/ruleset.h"

const char *ruleset_chain_name(enum ruleset_chain c)
{
    static const char *const names[_RULESET_CHAIN_MAX] = {"prerouting", "output", "new"};
    return names[c];
}

static const char *l4_name(uint32_t proto)
{
    return proto == IPPROTO_TCP      ? "tcp"
           : proto == IPPROTO_UDP    ? "udp"
           : proto == IPPROTO_ICMPV6 ? "ipv6-icmp"
                                     : "icmp";
}

static void text_daddr(const struct addr_prefix *dst, struct buf *b)
{
    char addr[ADDR_TEXT_MAX];
    bool v4 = dst->addr.family == AF_INET;
    buf_printf(b, " %s daddr %s", v4 ? "ip" : "ip6", addr_format(&dst->addr, addr));
    if (dst->bits != (v4 ? 32 : 128))
        buf_printf(b, "/%u", dst->bits);
}

static void text_match(const struct ruleset_match *m, struct buf *b)
{
    switch (m->kind) {
    case RULESET_MARKED:
        buf_printf(b, " meta mark 0x%08x", m->value);
        break;
    case RULESET_L4PROTO:
        if (m[1].kind != RULESET_DPORT) /* else the port says it as well */
            buf_printf(b, " meta l4proto %s", l4_name(m->value));
        break;
    case RULESET_DPORT:
        buf_printf(b, " %s dport %u", l4_name(m[-1].value), m->value);
        break;
    case RULESET_DADDR:
        text_daddr(&m->dst, b);
        break;
    case RULESET_TRANSPARENT:
        buf_printf(b, " socket transparent %u", m->value);
        break;
    case RULESET_WILDCARD:
        buf_printf(b, " socket wildcard %u", m->value);
        break;
    case RULESET_FLOW_MARK:
        buf_printf(b, " ct mark 0x%08x", m->value);
        break;
    case RULESET_ACCOUNTED:
        buf_puts(b, " ct packets != 0");
        break;
    case RULESET_END:
        break;
    }
}

static void text_evidence(const struct ruleset *rs, const struct ruleset_rule *rule, struct buf *b)
{
    if (rule->row == RULESET_UNCOUNTED)
        return;
    if (rule->verdict == RULESET_MARK_FLOW || rule->verdict == RULESET_TPROXY_MARK)
        buf_printf(b, " ct mark set 0x%08x", ruleset_flow_mark(rule->row));
    if (rule->verdict == RULESET_LOG)
        buf_printf(b, " limit rate %d/second burst %d packets", RULESET_LOG_RATE, RULESET_LOG_BURST);
    else
        buf_puts(b, " counter");
    if (ruleset_logs(rs, rule))
        buf_printf(b, " log prefix \"%s\" group %d snaplen %d", rs->rows[rule->row].name, RULESET_LOG_GROUP,
                   RULESET_LOG_BYTES);
}

static void text_rule(const struct ruleset *rs, const struct ruleset_rule *rule, struct buf *b)
{
    static const char *const end[] = {
        [RULESET_ACCEPT] = " accept",
        [RULESET_DROP] = " drop",
        [RULESET_REJECT_RESET] = " reject with tcp reset",
        [RULESET_REJECT_PORT] = " reject",
        [RULESET_TPROXY] = " accept",
        [RULESET_JUMP_NEW] = " jump new",
        [RULESET_MARK_FLOW] = "",
        [RULESET_TPROXY_MARK] = "",
        [RULESET_LOG] = "",
        [RULESET_RETURN] = " return",
    };
    struct buf line = {0};
    buf_init(&line, RULESET_TEXT_MAX);
    for (size_t i = 0; i < RULESET_MATCHES_MAX && rule->match[i].kind != RULESET_END; i++)
        text_match(&rule->match[i], &line);
    if (rule->verdict == RULESET_TPROXY || rule->verdict == RULESET_TPROXY_MARK)
        buf_printf(&line, " tproxy to :%u", RULESET_PROXY_PORT);
    text_evidence(rs, rule, &line);
    buf_puts(&line, end[rule->verdict]);
    if (rule->row != RULESET_UNCOUNTED) {
        buf_puts(&line, " comment \"");
        ruleset_comment(&rs->rows[rule->row], &line);
        buf_putc(&line, '"');
    }
    if (line.err != 0) {
        b->err = line.err;
    } else {
        buf_puts(b, "\t\t");
        buf_put(b, line.data + 1, line.len - 1);
        buf_putc(b, '\n');
    }
    buf_done(&line);
}

static void text_chain(const struct ruleset *rs, enum ruleset_chain c, struct buf *b)
{
    static const char *const priority[] = {"mangle", "filter"};
    const char *name = ruleset_chain_name(c);
    buf_printf(b, "%s\tchain %s {\n", c > 0 ? "\n" : "", name);
    if (c != RULESET_NEW)
        buf_printf(b, "\t\ttype filter hook %s priority %s; policy drop;\n", name, priority[c]);
    for (size_t i = 0; i < rs->nrules; i++)
        if (rs->rules[i].chain == c && ruleset_has(rs, &rs->rules[i]))
            text_rule(rs, &rs->rules[i], b);
    buf_puts(b, "\t}\n");
}

void ruleset_text(const struct ruleset *rs, struct buf *b)
{
    buf_puts(b, "table inet " RULESET_TABLE " {\n");
    for (enum ruleset_chain c = 0; c < _RULESET_CHAIN_MAX; c++)
        if (ruleset_has_chain(rs, c))
            text_chain(rs, c, b);
    buf_puts(b, "}\n");
}

int ruleset_digest(const struct ruleset *rs, uint8_t ret[static DIGEST_LEN])
{
    struct buf text = {0};
    buf_init(&text, RULESET_TEXT_MAX);
    ruleset_text(rs, &text);
    int r = text.err;
    if (r == 0)
        digest_sha256(text.data, text.len, ret);
    buf_done(&text);
    return r;
}
