/* SPDX-License-Identifier: MIT */
/* The one allow list: the spec's validator makes it, proxyd judges DNS, SNI, HTTP and h2c by it. A rule is a
 * host (a name, "*.name", an address or a CIDR prefix), a range of ports and a protocol. What no rule names
 * is denied, so an empty list matches nothing. The first match wins; a look-up is one pass over the rules. */
#pragma once

#include "common/net/addr.h"
#include "common/net/name.h"

#define ALLOW_RULES_MAX 4096u /* rules of one list */

/* What a connection has proven to be, and what a rule asks for. */
enum allow_protocol {
    ALLOW_ANY =
        0, /* in a rule: TLS, HTTP or H2C, the three that prove a name; never raw TCP or UDP, never QUIC */
    ALLOW_TLS,
    ALLOW_HTTP,
    ALLOW_H2C,
    ALLOW_QUIC,
    ALLOW_TCP,
    ALLOW_UDP,
    _ALLOW_PROTOCOL_MAX,
};

struct allow_rule {
    bool is_addr; /* prefix holds the host, else name does */
    uint16_t port_lo;
    uint16_t port_hi; /* inclusive */
    enum allow_protocol protocol;
    struct addr_prefix prefix;
    struct name name; /* a NAME_PATTERN */
};

/* { NULL, 0 } is the empty list. */
struct allow_list {
    struct allow_rule *rules; /* owned */
    size_t n;
    size_t cap;
};

/* Values below _NAME_E_MAX are name_errors. */
enum allow_error {
    ALLOW_OK = 0,
    ALLOW_E_URL = _NAME_E_MAX, /* "https://..." */
    ALLOW_E_HOST,              /* has a colon, but is no IPv6 address: perhaps a port stuck on */
    ALLOW_E_PREFIX,            /* "/" without a valid prefix before and after it, or host bits set */
    ALLOW_E_MAPPED, /* inside ::ffff:0:0/96: connections show as IPv4, such a rule would never match */
    ALLOW_E_PORT,
    ALLOW_E_PORT_RANGE, /* upside down */
    ALLOW_E_PROTOCOL,
    _ALLOW_E_MAX,
};

/* One sentence for an allow_error or a name_error, e.g. "must be a host name or an address, not a URL". */
const char *allow_error_text(int error);

/* A host as vocabulary 2.1 wants it; IPv6 may stand in brackets. Sets is_addr and prefix or name, and makes
 * the rest "every port, ALLOW_ANY". 0 (ALLOW_OK), or an allow_error or name_error with *ret untouched. */
int allow_rule_parse_host(struct str host, struct allow_rule *ret) MUST_CHECK;

/* "443" or "8000-8100", within 1...65535. 0, ALLOW_E_PORT or ALLOW_E_PORT_RANGE. */
int allow_port_parse(struct str s, uint16_t *ret_lo, uint16_t *ret_hi) MUST_CHECK;

/* "tls" (or "https"), "http", "h2c", "quic", "tcp", "udp"; lower case. 0 or ALLOW_E_PROTOCOL. */
int allow_protocol_parse(struct str s, enum allow_protocol *ret) MUST_CHECK;
const char *allow_protocol_name(enum allow_protocol p); /* "any" for ALLOW_ANY */

/* Copies the rule to the list's end. 0, -ENOBUFS beyond ALLOW_RULES_MAX, -ENOMEM; the list is unchanged on
 * failure. */
int allow_list_add(struct allow_list *l, const struct allow_rule *rule) MUST_CHECK;
void allow_list_done(struct allow_list *l); /* frees; the list is empty again */

/* The index of the first rule with a name that allows it, or -1. protocol is what the connection has proven;
 * ALLOW_ANY proves nothing and is always -1. */
ssize_t allow_find_name(const struct allow_list *l, const struct name *name, uint16_t port,
                        enum allow_protocol protocol);

/* The same for the rules with an address or prefix; addr is the connection's original destination. */
ssize_t allow_find_addr(const struct allow_list *l, const struct addr *addr, uint16_t port,
                        enum allow_protocol protocol);

/* Could a TCP connection to this port be allowed at all? (Rules for QUIC and UDP do not count.) */
bool allow_has_port(const struct allow_list *l, uint16_t port);

/* Is the name on the list, whatever port and protocol? For DNS. */
bool allow_name_listed(const struct allow_list *l, const struct name *name);
