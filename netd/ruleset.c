/* SPDX-License-Identifier: MIT */
/* The rules, and nothing but the rules. Order matters: the first rule that matches and ends, decides. */
#include "netd/ruleset.h"

#include <errno.h>

#include "netd/route.h"

#define PRE RULESET_PREROUTING
#define OUT RULESET_OUTPUT
#define NEW RULESET_NEW

#define MARKED                                                                                               \
    {                                                                                                        \
        RULESET_MARKED, RULESET_MARK,                                                                        \
        {                                                                                                    \
            {0}, 0                                                                                           \
        }                                                                                                    \
    }
#define TCP                                                                                                  \
    {                                                                                                        \
        RULESET_L4PROTO, IPPROTO_TCP,                                                                        \
        {                                                                                                    \
            {0}, 0                                                                                           \
        }                                                                                                    \
    }
#define UDP                                                                                                  \
    {                                                                                                        \
        RULESET_L4PROTO, IPPROTO_UDP,                                                                        \
        {                                                                                                    \
            {0}, 0                                                                                           \
        }                                                                                                    \
    }
#define ICMP                                                                                                 \
    {                                                                                                        \
        RULESET_L4PROTO, IPPROTO_ICMP,                                                                       \
        {                                                                                                    \
            {0}, 0                                                                                           \
        }                                                                                                    \
    }
#define ICMP6                                                                                                \
    {                                                                                                        \
        RULESET_L4PROTO, IPPROTO_ICMPV6,                                                                     \
        {                                                                                                    \
            {0}, 0                                                                                           \
        }                                                                                                    \
    }
#define DPORT(p)                                                                                             \
    {                                                                                                        \
        RULESET_DPORT, (p),                                                                                  \
        {                                                                                                    \
            {0}, 0                                                                                           \
        }                                                                                                    \
    }
#define TRANSPARENT(v)                                                                                       \
    {                                                                                                        \
        RULESET_TRANSPARENT, (v),                                                                            \
        {                                                                                                    \
            {0}, 0                                                                                           \
        }                                                                                                    \
    }
#define WILDCARD(v)                                                                                          \
    {                                                                                                        \
        RULESET_WILDCARD, (v),                                                                               \
        {                                                                                                    \
            {0}, 0                                                                                           \
        }                                                                                                    \
    }
#define FLOW_MARK(v)                                                                                         \
    {                                                                                                        \
        RULESET_FLOW_MARK, (v),                                                                              \
        {                                                                                                    \
            {0}, 0                                                                                           \
        }                                                                                                    \
    }
#define ACCOUNTED                                                                                            \
    {                                                                                                        \
        RULESET_ACCOUNTED, 0,                                                                                \
        {                                                                                                    \
            {0}, 0                                                                                           \
        }                                                                                                    \
    }
#define TO4(bits, ...)                                                                                       \
    {                                                                                                        \
        RULESET_DADDR, 0,                                                                                    \
        {                                                                                                    \
            {.family = AF_INET, .bytes = {__VA_ARGS__}}, (bits)                                              \
        }                                                                                                    \
    }
#define TO6(bits, ...)                                                                                       \
    {                                                                                                        \
        RULESET_DADDR, 0,                                                                                    \
        {                                                                                                    \
            {.family = AF_INET6, .bytes = {__VA_ARGS__}}, (bits)                                             \
        }                                                                                                    \
    }
#define TO_OWN(a, bits)                                                                                      \
    {                                                                                                        \
        RULESET_DADDR, 0,                                                                                    \
        {                                                                                                    \
            a, (bits)                                                                                        \
        }                                                                                                    \
    }

enum {
    I_DNS,
    I_OWN_SERVER,
    I_INTERCEPT,
    I_UNMATCHED,
    I_PROXY_ANSWER,
    I_MULTICAST,
    I_BROADCAST,
    I_PROXY_PORT,
    I_SENT,
    I_OTHER_PROTOCOL,
};

static const struct ruleset_row intercept_rows[] = {
    [I_DNS] = {"dns", PRE, FLOW_PROXY_ACCEPT},
    [I_OWN_SERVER] = {"own_server", PRE, FLOW_LOOPBACK_ACCEPT},
    [I_INTERCEPT] = {"intercept", PRE, FLOW_PROXY_ACCEPT},
    [I_UNMATCHED] = {"unmatched", PRE, FLOW_DEFAULT_DROP},
    [I_PROXY_ANSWER] = {"proxy_answer", OUT, FLOW_PROXY_ACCEPT},
    [I_MULTICAST] = {"multicast", OUT, FLOW_DEFAULT_DROP},
    [I_BROADCAST] = {"broadcast", OUT, FLOW_DEFAULT_DROP},
    [I_PROXY_PORT] = {"proxy_port", OUT, FLOW_DEFAULT_DROP},
    [I_SENT] = {"sent", OUT, FLOW_RULE_ACCEPT},
    [I_OTHER_PROTOCOL] = {"other_protocol", OUT, FLOW_DEFAULT_DROP},
};

static const struct ruleset_rule intercept_rules[] = {
    /* What the proxy sends into the cell; "proxy_answer" has counted it on its way out. */
    {PRE, RULESET_UNCOUNTED, {MARKED}, RULESET_ACCEPT},
    {PRE, RULESET_UNCOUNTED, {FLOW_MARK(0)}, RULESET_JUMP_NEW},
    /* Before tproxy: every address is local, so a query to any server arrives at [::]:53. */
    {PRE, I_DNS, {TCP, DPORT(RULESET_DNS_PORT)}, RULESET_ACCEPT},
    {PRE, I_DNS, {UDP, DPORT(RULESET_DNS_PORT)}, RULESET_ACCEPT},
    /* A server of the workload on loopback if it has one, else the proxy below. */
    {PRE, I_OWN_SERVER, {TO4(8, 127), TRANSPARENT(0)}, RULESET_ACCEPT},
    {PRE, I_OWN_SERVER, {TO6(128, [15] = 1), TRANSPARENT(0)}, RULESET_ACCEPT},
    {PRE, I_OWN_SERVER, {TO_OWN(ROUTE_CELL_IPV4, 32)}, RULESET_ACCEPT},
    {PRE, I_OWN_SERVER, {TO_OWN(ROUTE_CELL_IPV6, 128)}, RULESET_ACCEPT},
    /* A connection the proxy has already: its socket is transparent and bound to the address that was
       dialled. */
    {PRE, I_INTERCEPT, {TCP, TRANSPARENT(1), WILDCARD(0)}, RULESET_ACCEPT},
    {PRE, I_INTERCEPT, {TCP}, RULESET_TPROXY},
    {PRE, I_INTERCEPT, {UDP}, RULESET_TPROXY},
    /* Also when the proxy has gone: tproxy without a socket does not end the chain. */
    {PRE, I_UNMATCHED, {{0}}, RULESET_DROP},

    {OUT, I_PROXY_ANSWER, {MARKED}, RULESET_ACCEPT},
    {OUT, I_MULTICAST, {TO4(4, 224)}, RULESET_DROP},
    {OUT, I_MULTICAST, {TO6(8, 0xff)}, RULESET_DROP},
    {OUT, I_BROADCAST, {TO4(32, 255, 255, 255, 255)}, RULESET_DROP},
    {OUT, I_BROADCAST, {TO4(32, 127, 255, 255, 255)}, RULESET_DROP},
    /* The proxy's own port is not a destination: there it could not tell who was meant. */
    {OUT, I_PROXY_PORT, {TCP, DPORT(RULESET_PROXY_PORT)}, RULESET_REJECT_RESET},
    {OUT, I_PROXY_PORT, {UDP, DPORT(RULESET_PROXY_PORT)}, RULESET_REJECT_PORT},
    {OUT, I_SENT, {TCP}, RULESET_ACCEPT},
    {OUT, I_SENT, {UDP}, RULESET_ACCEPT},
    {OUT, I_OTHER_PROTOCOL, {{0}}, RULESET_DROP},

    /* What prerouting is about to accept: the same matches in the same order. By the mark and not by the
       count of packets, so that a flow whose first packet never came this far is still seen. */
    {NEW, I_DNS, {FLOW_MARK(0), TCP, DPORT(RULESET_DNS_PORT)}, RULESET_MARK_FLOW},
    {NEW, I_DNS, {FLOW_MARK(0), UDP, DPORT(RULESET_DNS_PORT)}, RULESET_MARK_FLOW},
    {NEW, I_OWN_SERVER, {FLOW_MARK(0), TO4(8, 127), TRANSPARENT(0)}, RULESET_MARK_FLOW},
    {NEW, I_OWN_SERVER, {FLOW_MARK(0), TO6(128, [15] = 1), TRANSPARENT(0)}, RULESET_MARK_FLOW},
    {NEW, I_OWN_SERVER, {FLOW_MARK(0), TO_OWN(ROUTE_CELL_IPV4, 32)}, RULESET_MARK_FLOW},
    {NEW, I_OWN_SERVER, {FLOW_MARK(0), TO_OWN(ROUTE_CELL_IPV6, 128)}, RULESET_MARK_FLOW},
    {NEW, I_INTERCEPT, {FLOW_MARK(0), TCP}, RULESET_TPROXY_MARK},
    {NEW, I_INTERCEPT, {FLOW_MARK(0), UDP}, RULESET_TPROXY_MARK},
    {NEW, I_DNS, {FLOW_MARK(1 + I_DNS)}, RULESET_LOG},
    {NEW, I_OWN_SERVER, {FLOW_MARK(1 + I_OWN_SERVER)}, RULESET_LOG},
    {NEW, I_INTERCEPT, {FLOW_MARK(1 + I_INTERCEPT)}, RULESET_LOG},
    {NEW, RULESET_UNCOUNTED, {ACCOUNTED}, RULESET_RETURN},
};

enum { N_UNMATCHED, N_MULTICAST, N_BROADCAST, N_TCP, N_UDP, N_OTHER_PROTOCOL };

static const struct ruleset_row none_rows[] = {
    [N_UNMATCHED] = {"unmatched", PRE, FLOW_DEFAULT_DROP},
    [N_MULTICAST] = {"multicast", OUT, FLOW_DEFAULT_DROP},
    [N_BROADCAST] = {"broadcast", OUT, FLOW_DEFAULT_DROP},
    [N_TCP] = {"tcp", OUT, FLOW_DEFAULT_DROP},
    [N_UDP] = {"udp", OUT, FLOW_DEFAULT_DROP},
    [N_OTHER_PROTOCOL] = {"other_protocol", OUT, FLOW_DEFAULT_DROP},
};

static const struct ruleset_rule none_rules[] = {
    {PRE, N_UNMATCHED, {{0}}, RULESET_DROP},
    {OUT, N_MULTICAST, {TO4(4, 224)}, RULESET_DROP},
    {OUT, N_MULTICAST, {TO6(8, 0xff)}, RULESET_DROP},
    {OUT, N_BROADCAST, {TO4(32, 255, 255, 255, 255)}, RULESET_DROP},
    {OUT, N_BROADCAST, {TO4(32, 127, 255, 255, 255)}, RULESET_DROP},
    {OUT, N_TCP, {TCP}, RULESET_DROP},
    {OUT, N_UDP, {UDP}, RULESET_DROP},
    {OUT, N_OTHER_PROTOCOL, {{0}}, RULESET_DROP},
};

enum {
    R_DNS,
    R_OWN_SERVER,
    R_RECEIVED,
    R_UNMATCHED,
    R_PROXY_ANSWER,
    R_MULTICAST,
    R_BROADCAST,
    R_SENT,
    R_OTHER_PROTOCOL,
};

static const struct ruleset_row routed_rows[] = {
    [R_DNS] = {"dns", PRE, FLOW_PROXY_ACCEPT},
    [R_OWN_SERVER] = {"own_server", PRE, FLOW_LOOPBACK_ACCEPT},
    [R_RECEIVED] = {"received", PRE, FLOW_RULE_ACCEPT},
    [R_UNMATCHED] = {"unmatched", PRE, FLOW_DEFAULT_DROP},
    [R_PROXY_ANSWER] = {"proxy_answer", OUT, FLOW_PROXY_ACCEPT},
    [R_MULTICAST] = {"multicast", OUT, FLOW_DEFAULT_DROP},
    [R_BROADCAST] = {"broadcast", OUT, FLOW_DEFAULT_DROP},
    [R_SENT] = {"sent", OUT, FLOW_RULE_ACCEPT},
    [R_OTHER_PROTOCOL] = {"other_protocol", OUT, FLOW_DEFAULT_DROP},
};

/* The cell's side only: where a packet may go is judged on the host (routed_rules.c). */
static const struct ruleset_rule routed_rules[] = {
    {PRE, RULESET_UNCOUNTED, {MARKED}, RULESET_ACCEPT},
    {PRE, R_DNS, {TCP, DPORT(RULESET_DNS_PORT)}, RULESET_ACCEPT},
    {PRE, R_DNS, {UDP, DPORT(RULESET_DNS_PORT)}, RULESET_ACCEPT},
    {PRE, R_OWN_SERVER, {TO4(8, 127)}, RULESET_ACCEPT},
    {PRE, R_OWN_SERVER, {TO6(128, [15] = 1)}, RULESET_ACCEPT},
    {PRE, R_RECEIVED, {TCP}, RULESET_ACCEPT},
    {PRE, R_RECEIVED, {UDP}, RULESET_ACCEPT},
    {PRE, R_RECEIVED, {ICMP}, RULESET_ACCEPT},
    {PRE, R_RECEIVED, {ICMP6}, RULESET_ACCEPT},
    {PRE, R_UNMATCHED, {{0}}, RULESET_DROP},

    {OUT, R_PROXY_ANSWER, {MARKED}, RULESET_ACCEPT},
    {OUT, R_MULTICAST, {TO4(4, 224)}, RULESET_DROP},
    {OUT, R_MULTICAST, {TO6(8, 0xff)}, RULESET_DROP},
    {OUT, R_BROADCAST, {TO4(32, 255, 255, 255, 255)}, RULESET_DROP},
    {OUT, R_BROADCAST, {TO4(32, 127, 255, 255, 255)}, RULESET_DROP},
    {OUT, R_SENT, {TCP}, RULESET_ACCEPT},
    {OUT, R_SENT, {UDP}, RULESET_ACCEPT},
    {OUT, R_OTHER_PROTOCOL, {{0}}, RULESET_DROP},
};

#define RULESET_OF(m, with_logs)                                                                             \
    {                                                                                                        \
        m##_rows, ARRAY_LEN(m##_rows), m##_rules, ARRAY_LEN(m##_rules), (with_logs)                          \
    }

_Static_assert(ARRAY_LEN(intercept_rows) <= RULESET_ROWS_MAX && ARRAY_LEN(none_rows) <= RULESET_ROWS_MAX,
               "the counters have room");

const struct ruleset *ruleset_get(enum net_mode mode, bool logs)
{
    static const struct ruleset intercept[] = {RULESET_OF(intercept, false), RULESET_OF(intercept, true)};
    static const struct ruleset none[] = {RULESET_OF(none, false), RULESET_OF(none, true)};
    static const struct ruleset routed[] = {RULESET_OF(routed, false), RULESET_OF(routed, true)};
    switch (mode) {
    case NET_MODE_INTERCEPT:
        return &intercept[logs];
    case NET_MODE_ROUTED:
        return &routed[logs];
    case NET_MODE_NONE:
        return &none[logs];
    default:
        return NULL;
    }
}

const struct ruleset *ruleset_of(enum net_mode mode)
{
    return ruleset_get(mode, true);
}

bool ruleset_has(const struct ruleset *rs, const struct ruleset_rule *rule)
{
    return rs->logs || (rule->chain != RULESET_NEW && rule->verdict != RULESET_JUMP_NEW);
}

size_t ruleset_count_rules(const struct ruleset *rs)
{
    size_t n = 0;
    for (size_t i = 0; i < rs->nrules; i++)
        n += ruleset_has(rs, &rs->rules[i]);
    return n;
}

bool ruleset_logs(const struct ruleset *rs, const struct ruleset_rule *rule)
{
    if (!rs->logs || rule->row == RULESET_UNCOUNTED)
        return false;
    return rule->verdict == RULESET_LOG || ruleset_row_action(&rs->rows[rule->row]) == ACTION_DENY;
}

bool ruleset_offers(const struct ruleset *rs, const struct ruleset_rule *rule)
{
    if (rule->verdict == RULESET_MARK_FLOW || rule->verdict == RULESET_TPROXY_MARK)
        return ruleset_has(rs, rule);
    return ruleset_logs(rs, rule) && rule->verdict != RULESET_LOG;
}

bool ruleset_has_chain(const struct ruleset *rs, enum ruleset_chain c)
{
    for (size_t i = 0; i < rs->nrules; i++)
        if (rs->rules[i].chain == c && ruleset_has(rs, &rs->rules[i]))
            return true;
    return false;
}

int ruleset_row_of_flow_mark(const struct ruleset *rs, uint32_t mark)
{
    return mark > 0 && mark <= rs->nrows ? (int)mark - 1 : RULESET_UNCOUNTED;
}

int ruleset_row_by_name(const struct ruleset *rs, struct str name)
{
    for (size_t i = 0; i < rs->nrows; i++)
        if (str_is(name, rs->rows[i].name))
            return (int)i;
    return -ENOENT;
}

enum action ruleset_row_action(const struct ruleset_row *row)
{
    return row->reason == FLOW_DEFAULT_DROP ? ACTION_DENY : ACTION_ALLOW;
}

void ruleset_comment(const struct ruleset_row *row, struct buf *b)
{
    buf_printf(b, "%s %s", enum_text(&enum_flow_reason, (uint32_t)row->reason), row->name);
}

int ruleset_row_of_comment(const struct ruleset *rs, struct str comment)
{
    for (size_t i = 0; i < rs->nrows; i++) {
        struct str reason = str_of(enum_text(&enum_flow_reason, (uint32_t)rs->rows[i].reason));
        struct str name = str_of(rs->rows[i].name);
        if (comment.len == reason.len + 1 + name.len && str_eq((struct str){comment.p, reason.len}, reason) &&
            comment.p[reason.len] == ' ' && str_eq((struct str){comment.p + reason.len + 1, name.len}, name))
            return (int)i;
    }
    return -EBADMSG;
}
