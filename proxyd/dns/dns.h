/* SPDX-License-Identifier: MIT */
/* DNS of a cell: serves the cell's two sockets on [::]:53, judges every query by name and type, forwards what
 * is allowed to the declared resolvers, checks and filters what comes back, and resolves names for proxyd's
 * own dials through the same judgement, cache and events (vocabulary 2.2 and 5; decisions 26-29).
 *
 * Everything runs on one libev loop and never blocks. Nothing the cell sends reaches a resolver as it is, and
 * nothing a resolver sends reaches the cell as it is: both directions are rebuilt from parsed fields. */
#pragma once

#include <ev.h>

#include "common/net/addr.h"
#include "common/net/name.h"
#include "proto/limits.h"

/* Limits of this module that no other part needs to know. Milliseconds, bytes and counts as the names say. */
#define DNS_UDP_QUERY_MAX      1500u  /* a longer datagram from the cell is malformed */
#define DNS_UDP_REPLY_MAX      4096u  /* whatever size the client offers (RFC 6891 section 6.2.5) */
#define DNS_UDP_UPSTREAM       1232u  /* the size we offer to resolvers: no fragments (DNS flag day 2020) */
#define DNS_MESSAGE_MAX        16384u /* also the reach of a compression pointer (RFC 1035 section 4.1.4) */
#define DNS_ANSWERS_MAX        128u   /* answer records of one message; more: dns_upstream_failure */
#define DNS_RECORDS_MAX        256u   /* records of all sections of one message */
#define DNS_CHAIN_MAX          16u    /* CNAMEs followed in one answer */
#define DNS_TTL_MAX_S          86400u /* longest time an answer is kept and the greatest TTL handed on */
#define DNS_NEGATIVE_TTL_MAX_S 300u   /* longest time "no such name" is kept (RFC 2308 section 5) */
#define DNS_CACHE_BYTES        (1u << 20) /* memory of one cell's cache */
#define DNS_UPSTREAM_MS        4500u      /* all tries together: the usual stub gives up after 5 s */
#define DNS_UPSTREAM_STRAY_MAX 64u /* packets that are not the answer, per try; then the port is given up */
#define DNS_TCP_IDLE_MS        10000u /* a client connection without a whole message or a whole reply */
#define DNS_TCP_PIPELINE_MAX   16u    /* unanswered queries of one client connection */
#define DNS_TCP_OUT_MAX        65536u /* replies one client connection has not read yet */
#define DNS_RESOLVE_ACTIVE_MAX 32u    /* names proxyd resolves at a time for one cell ... */
#define DNS_RESOLVE_QUEUE_MAX  LIMIT_TCP_OPEN /* ... and how many wait for that */
#define DNS_RESOLVER_ID_MAX    64u

/* ---- what a cell may ask ---- */

enum dns_transport { DNS_DO53_UDP, DNS_DO53_TCP };

struct dns_resolver {
    char id[DNS_RESOLVER_ID_MAX + 1]; /* resolverId, for the events */
    enum dns_transport transport;     /* UDP goes over to TCP when the answer is truncated */
    struct endpoint_addr addr;
};

/* responseIpAllowlist, one "host:ip-or-cidr": answers to a query for this name may lie in this prefix. */
struct dns_answer_rule {
    struct name host; /* NAME_HOST or NAME_PATTERN, canonical */
    struct addr_prefix prefix;
};

/* Borrowed by a cell: it and all it points to must stay unchanged until dns_cell_free. */
struct dns_policy {
    const struct name
        *names; /* the allow list: hostnameAllowlist and the hosts of the egress rules, canonical */
    size_t nnames;
    const uint16_t *qtypes; /* allowedQueryTypes; none = A, AAAA, CNAME, HTTPS */
    size_t nqtypes;
    const struct dns_resolver *resolvers; /* tried in order; at most LIMIT_RESOLVERS are used */
    size_t nresolvers;
    const struct dns_answer_rule *answer_rules;
    size_t nanswer_rules;
};

/* "A", "aaaa", "HTTPS", "TYPE65" (RFC 3597 section 5) to the number. 0 or -EINVAL. */
int dns_type_parse(struct str s, uint16_t *ret) MUST_CHECK;

#define DNS_TYPE_TEXT_MAX 10 /* "TYPE65535" with NUL */
/* The mnemonic, or "TYPEn" written to dst. */
const char *dns_type_text(uint16_t type, char dst[DNS_TYPE_TEXT_MAX]);

#define DNS_RCODE_TEXT_MAX 9 /* "NXDOMAIN" with NUL */
/* "NOERROR", "NXDOMAIN", ... or "RCODE11" written to dst. */
const char *dns_rcode_text(uint8_t rcode, char dst[DNS_RCODE_TEXT_MAX]);

/* May this address be used as (or dialed for) an answer to this name? Global addresses: yes. Metadata
 * addresses: never. Anything else: only when an answer rule for the name contains it. */
bool dns_answer_permitted(const struct dns_policy *policy, const struct name *name, const struct addr *addr);

/* ---- evidence ---- */

enum dns_reason {
    DNS_REASON_NONE, /* dns_answer only: nothing to say */
    DNS_REASON_ALLOWLIST_MATCH,
    DNS_REASON_ALLOWLIST_MISS,
    DNS_REASON_TYPE_DENIED,
    DNS_REASON_MALFORMED_QUERY,
    DNS_REASON_UPSTREAM_TIMEOUT,
    DNS_REASON_UPSTREAM_FAILURE,
    DNS_REASON_REBIND_REJECTED,
    DNS_REASON_RATE_LIMITED,
    _DNS_REASON_MAX,
};

/* The reason code of the vocabulary, e.g. "dns_allowlist_miss"; NULL for DNS_REASON_NONE. */
const char *dns_reason_text(enum dns_reason r);

/* One answer record as text. All strings live only during the event call. */
struct dns_answer_text {
    const char *type;  /* "A", "TYPE65280" */
    const char *value; /* address (RFC 5952), canonical CNAME target, or for other types "<n> bytes" */
    const char *why;   /* removed records: "private", "loopback", "link-local", "metadata", "not asked for",
                          ...; else NULL */
};

struct dns_query_info {
    const char *
        name; /* canonical; a name that is no host name in escapes (RFC 1035 section 5.1); NULL: unreadable */
    const char *type; /* NULL: unreadable */
    bool allow;
    bool cached; /* answered from the cache: rcode and answers say with what */
    bool own;    /* asked by proxyd for a dial, not by the cell */
    enum dns_reason reason;
    const char *resolver_id; /* the first resolver that will be asked; NULL when none is */
    uint8_t rcode;           /* of a cached answer */
    const struct dns_answer_text *answers;
    size_t nanswers;
};

struct dns_answer_info {
    const char *name;
    const char *type;
    bool own;
    enum dns_reason reason;  /* NONE, or why the cell gets SERVFAIL */
    uint8_t rcode;           /* what the asker gets */
    const char *resolver_id; /* who answered, or who was asked last */
    uint64_t latency_us;     /* from the first packet sent to the answer or the end of the last try */
    const struct dns_answer_text *answers; /* passed on */
    size_t nanswers;
    const struct dns_answer_text *removed; /* taken out, each with its why */
    size_t nremoved;
};

struct dns_rebind_info {
    const char *name;
    const char *resolver_id;
    const struct dns_answer_text *addresses; /* the refused A and AAAA records */
    size_t naddresses;
};

struct dns_gap_info {
    uint64_t lost;     /* queries left unanswered and connections closed */
    uint64_t since_ms; /* wall clock */
    uint64_t until_ms;
    const char *cause; /* "dns_rate_limited" */
};

/* Called exactly once for every event that was given one: 0 when the event is durable, or a negative errno
 * (the deadline LIMIT_ACK_MS has passed, no credit, signer gone). It may be called from inside the event
 * call, and MUST also come after dns_cell_free (the module then only releases memory). Without an
 * acknowledgement the effect does not happen: the asker gets SERVFAIL. */
typedef void (*dns_ack_cb)(void *data, int result);

/* Where events go. ack == NULL: fire and forget (denials and failures, which have already taken effect).
 * For one query: query, then, if something was forwarded, at most one rebind and exactly one answer. */
struct dns_events {
    void (*query)(void *self, const struct dns_query_info *info, dns_ack_cb ack, void *data);
    void (*answer)(void *self, const struct dns_answer_info *info, dns_ack_cb ack, void *data);
    void (*rebind)(void *self, const struct dns_rebind_info *info);
    void (*gap)(void *self, const struct dns_gap_info *info); /* at most one a second */
};

/* ---- a cell ---- */

struct dns_cell;

/* Starts serving. udp_fd and tcp_fd are AF_INET6 sockets made in the cell, bound to [::]:53 and not V6ONLY,
 * tcp_fd listening; either may be -EBADF (not served). They belong to the cell on success only; O_NONBLOCK
 * and IPV6_RECVPKTINFO are set here. policy, events and self are borrowed until dns_cell_free (events and
 * self: until the last ack). 0, -ENOMEM, or -errno of the sockets. */
int dns_cell_new(struct ev_loop *loop, const struct dns_policy *policy, int udp_fd, int tcp_fd,
                 const struct dns_events *events, void *self, struct dns_cell **ret) MUST_CHECK;

/* Closes the sockets, drops what is in flight, calls every waiting dns_resolve back with -ECANCELED and
 * reports a last gap if something was left unanswered. Accepts NULL; returns NULL. */
struct dns_cell *dns_cell_free(struct dns_cell *cell);

struct dns_counters {
    uint64_t queries; /* read from the cell */
    uint64_t malformed;
    uint64_t denied; /* REFUSED */
    uint64_t allowed;
    uint64_t cached;   /* of the allowed ones */
    uint64_t limited;  /* unanswered because of a limit */
    uint64_t upstream; /* packets and connections to resolvers */
    uint64_t strays;   /* packets from a resolver's address that were not the answer */
    uint64_t removed;  /* records taken out of answers */
    uint64_t servfail;
};

void dns_cell_counters(const struct dns_cell *cell, struct dns_counters *ret);

/* ---- names for proxyd's own dials ---- */

struct dns_resolve;

/* result 0: 1..LIMIT_DIAL_ADDRS addresses, IPv6 and IPv4 in turn (RFC 8305 section 4), each
 * dns_answer_permitted; borrowed for the call. Else n == 0 and result is -EPERM         name or types not
 * allowed, or every address refused (reason says which) -ENOENT        no such name, or no address -ETIMEDOUT
 * no resolver answered -EHOSTUNREACH  resolvers failed -ECANCELED     the cell was freed other evidence could
 * not be written, no memory */
typedef void (*dns_resolve_cb)(void *data, int result, enum dns_reason reason, const struct addr *addrs,
                               size_t n);

/* Resolves A and AAAA (as far as the policy's types allow them). cb is called exactly once and never from
 * inside this call; *ret is valid until then. 0, -EDQUOT when too many wait, -ENOMEM. */
int dns_resolve(struct dns_cell *cell, const struct name *name, dns_resolve_cb cb, void *data,
                struct dns_resolve **ret) MUST_CHECK;

/* No call-back any more. Accepts NULL. */
void dns_resolve_cancel(struct dns_resolve *r);
