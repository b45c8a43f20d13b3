/* SPDX-License-Identifier: MIT */
/* DNS of a cell: serves the cell's two sockets on [::]:53, judges every query by name and type, forwards what
 * is allowed to the declared resolvers, checks and filters what comes back, and resolves names for proxyd's
 * own dials through the same judgement, cache and events (vocabulary 2.2 and 5; decisions 26-29).
 *
 * Everything runs on one libev loop and never blocks. Nothing the cell sends reaches a resolver as it is, and
 * nothing a resolver sends reaches the cell as it is: both directions are rebuilt from parsed fields. */
#pragma once

#include <ev.h>

#include "common/net/allow.h"
#include "proto/limits.h"
#include "proto/words.h"

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
#define DNS_STALE_TTL_S        30u    /* TTL of an answer that is past its own (RFC 8767 section 4) */
#define DNS_STALE_RETRY_S      30u    /* resolvers that failed are left alone for this time (section 5) */
#define DNS_CACHE_ANSWERS      8192u  /* of one authority ... */
#define DNS_CACHE_BYTES        (8u << 20) /* ... and their memory */
#define DNS_VIEW_BYTES         (1u << 20) /* memory of what one cell made of them (LIMIT_DNS_CACHE answers) */
#define DNS_PIN_GRACE_S        60u        /* an address stays pinned for its TTL and so much longer */
#define DNS_UPSTREAM_MS        4500u      /* all tries together: the usual stub gives up after 5 s */
#define DNS_UPSTREAM_STRAY_MAX 64u /* packets that are not the answer, per try; then the port is given up */
#define DNS_TCP_IDLE_MS        10000u  /* a client connection without a whole message or a whole reply */
#define DNS_TCP_PIPELINE_MAX   16u     /* unanswered queries of one client connection */
#define DNS_TCP_OUT_MAX        131072u /* replies one client connection has not read yet */
#define DNS_RESOLVE_ACTIVE_MAX 32u     /* names proxyd resolves at a time for one cell ... */
#define DNS_RESOLVE_QUEUE_MAX  LIMIT_TCP_OPEN /* ... and how many wait for that */

/* ---- what a cell may ask ---- */

/* An https URL of RFC 8484 section 4.1 (without "{?dns}"), taken apart. */
struct dns_url {
    char host[LIMIT_HOSTNAME + 1]; /* canonical name or literal without brackets */
    bool literal;                  /* host is addr */
    struct addr addr;
    uint16_t port;
    char path[LIMIT_URL + 1]; /* begins with "/"; with the query, if there is one */
};

/* One resolver of a policy. Equal resolvers (dns_resolver_eq) may share connections. */
struct dns_resolver {
    char id[LIMIT_LABEL + 1];          /* resolverId, for the events */
    enum resolver_protocol protocol;   /* never RESOLVER_DOQ */
    struct endpoint_addr addr;         /* family AF_UNSPEC: doh, and url names the host */
    struct dns_url url;                /* doh only */
    char tls_name[LIMIT_HOSTNAME + 1]; /* dot, doh: the certificate's name; "" = the url's host, or addr */
    bool validate;                     /* DNSSEC, validated here */
    bool fail_closed;                  /* an answer that is not secure is as bad as a bogus one */
    struct str trust_anchors; /* DS or DNSKEY records as zone file text; empty: the root's, built in */
};

/* responseIpAllowlist, one "host:ip-or-cidr": answers to a query for this name may lie in this prefix. */
struct dns_answer_rule {
    struct name host; /* NAME_HOST or NAME_PATTERN, canonical */
    struct addr_prefix prefix;
};

/* Borrowed by a cell: it and all it points to must stay unchanged until dns_cell_free. */
struct dns_policy {
    const struct name *names; /* hostnameAllowlist: NAME_HOST or NAME_PATTERN, canonical */
    size_t nnames;
    const struct allow_list *egress; /* proxyd may resolve the hosts of the egress rules as well, for its own
                                        dials; may be NULL */
    const struct name *dial_names; /* ... and these patterns (cdnAuthority), which the cell may not ask for */
    size_t ndial_names;
    const uint16_t *qtypes; /* allowedQueryTypes; none = A, AAAA, CNAME, HTTPS */
    size_t nqtypes;
    const struct dns_resolver *resolvers; /* tried in order; at most LIMIT_RESOLVERS are used */
    size_t nresolvers;
    const struct dns_answer_rule *answer_rules;
    size_t nanswer_rules;
    const struct endpoint_addr *bootstrap; /* where names in DoH urls are looked up */
    size_t nbootstrap;

    uint32_t per_second;  /* questions of the cell; 0 = LIMIT_DNS_PER_SECOND */
    uint32_t min_ttl_s;   /* refreshPolicy: no answer is kept for less, at most DNS_TTL_MAX_S ... */
    uint32_t max_stale_s; /* ... and when the resolvers fail, so much longer than its TTL (RFC 8767) */
    bool refresh;         /* ttl-honor: names in use are asked for again as their TTL ends */

    bool novel_limited; /* rebindingPolicy: of the addresses that a hostname did not have at first, ... */
    uint32_t max_novel; /* ... so many are ordinary; more are an event ... */
    bool reject_rebind; /* ... and taken out */

    const struct addr_prefix *metadata; /* metadata addresses that the operator allows */
    size_t nmetadata;
    bool synthetic; /* answerMode: the cell gets addresses of its own instead of the real ones */
    bool routed;    /* answers wait for the configured pin function */
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

/* One answer record as text. All strings live only during the event call. Texts are at most LIMIT_HOSTNAME
 * long. */
struct dns_answer_text {
    const char *name; /* owner */
    const char *type; /* "A", "TYPE65280" */
    const char *data; /* address (RFC 5952), CNAME target, or for other types "<n> bytes" */
    uint32_t ttl;
    enum dns_reason_code reason; /* removed: DNS_REBIND_REJECTED or DNS_UPSTREAM_FAILURE; else absent */
    const char *why;             /* removed: class of the address ("loopback", ...), "not asked for", ... */
};

struct dns_query_info {
    const char *name; /* canonical, or with escapes (RFC 1035 section 5.1); NULL: unreadable */
    const char *type; /* NULL: unreadable */
    bool allow;
    bool cached;  /* answered from the cache: rcode and answers say with what */
    bool own;     /* asked by proxyd for a dial, not by the cell */
    bool refresh; /* asked by proxyd because an answer that the cell uses is about to end */
    enum dns_reason_code reason;
    const char *resolver_id;               /* the first resolver that will be asked; NULL when none is */
    uint8_t rcode;                         /* of a cached answer */
    const struct dns_answer_text *answers; /* at most DNS_ANSWERS_MAX */
    size_t nanswers;
};

struct dns_answer_info {
    const char *name;
    const char *type;
    bool own;
    enum dns_reason_code reason; /* DNS_ALLOWLIST_MATCH: handed on; else why the asker gets SERVFAIL */
    uint8_t rcode;               /* the resolver's; SERVFAIL when there was no readable answer */
    const char *resolver_id;     /* who answered, or who was asked last; "" when there is none */
    uint64_t latency_us;         /* from the first packet to the answer or the end of the last try */
    const struct dns_answer_text *answers; /* handed on */
    size_t nanswers;
    const struct dns_answer_text *removed; /* taken out */
    size_t nremoved;
    bool ech_removed;          /* from HTTPS and SVCB records ... */
    bool hints_removed;        /* ... and addresses in them that may not be used */
    bool stale;                /* the resolvers failed: an answer past its TTL */
    bool synthetic;            /* the cell got the name's own address instead of those in answers */
    enum dnssec_status dnssec; /* dnssec_status_absent: not validated */
};

enum dns_authority_event {
    DNS_AUTHORITY_DRIFT,            /* the addresses of a name are others than before */
    DNS_AUTHORITY_REBIND_THRESHOLD, /* more new ones than maxNovelIpsPerHostname */
    DNS_AUTHORITY_REBIND_REJECTED,  /* addresses were taken out */
    DNS_AUTHORITY_DNSSEC_FAILED,
    _DNS_AUTHORITY_EVENT_MAX,
};

/* What came back for a name, against what may or what came before. */
struct dns_authority_info {
    enum dns_authority_event event;
    const char *resolver_id;
    const char *name;
    const char *type;
    const char *previous; /* digests of the sets ("sha256:..."), of a drift; else NULL */
    const char *current;
    const char *const *addresses; /* of the answer; of a rejection: those taken out */
    size_t naddresses;
    bool counted; /* novel and max_novel are set */
    uint32_t novel;
    uint32_t max_novel;
    enum dnssec_status dnssec;
    const char *why; /* or NULL */
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

/* Where events go. ack == NULL: fire and forget (denials and failures, which take effect at once). For one
 * query: query, then, if it was forwarded, exactly one answer; of a cached one an answer as well when it is
 * not handed on as it came and this cell has not been told so yet, or when it is stale or refused. A dial
 * that is answered from the cache with what this cell's log has already says nothing again. At most
 * LIMIT_DNS_PER_SECOND denials a second come here; to collapse them further (LIMIT_DENIES_PER_SEC) is the
 * implementation's. It must not free the cell. */
struct dns_events {
    void (*query)(void *self, const struct dns_query_info *info, dns_ack_cb ack, void *data);
    void (*answer)(void *self, const struct dns_answer_info *info, dns_ack_cb ack, void *data);
    void (*gap)(void *self, const struct dns_gap_info *info); /* at most one a second */
    void (*authority)(void *self, const struct dns_authority_info *info);
};

/* ---- a cell ---- */

struct dns_cell;

/* Makes addrs reachable for a routed cell, for ttl_s at least, because its DNS is about to give them as those
 * of name. done is called exactly once, perhaps from inside and perhaps after dns_cell_free: 0 when they are
 * in place; else the asker gets SERVFAIL. n is 1..LIMIT_PIN_ADDRS; all pointers are borrowed for the call. */
typedef void (*dns_pin_fn)(void *self, const struct name *name, const struct addr *addrs, size_t n,
                           uint32_t ttl_s, dns_ack_cb done, void *data);

struct dns_cell_config {
    struct ev_loop *loop;
    const char *run_id;              /* borrowed for the call; synthetic addresses are made of it */
    const struct dns_policy *policy; /* borrowed until dns_cell_free or dns_cell_policy_set */
    int udp_fd;                      /* AF_INET6, made in the cell, bound to [::]:53, not V6ONLY ... */
    int tcp_fd;                      /* ... and this one listening; either may be -EBADF: not served */
    const struct dns_events *events; /* borrowed until the last ack, as is self */
    void *self;
    dns_pin_fn pin; /* for a policy that is routed; NULL: nothing waits */
    void *pin_self; /* borrowed until the last done */
};

/* Starts serving. The sockets belong to the cell on success only; O_NONBLOCK and IPV6_RECVPKTINFO are set
 * here. 0, -ENOMEM, or -errno of the sockets. */
int dns_cell_new(const struct dns_cell_config *cfg, struct dns_cell **ret) MUST_CHECK;

/* Closes the sockets, drops what is in flight, calls every waiting dns_resolve back with -ECANCELED and
 * reports a last gap if something was left unanswered. Not from inside a call-back of this cell. Accepts
 * NULL; returns NULL. */
struct dns_cell *dns_cell_free(struct dns_cell *cell);

/* Another policy, in force at once for everything that is asked, answered or dialed from now on; pins of
 * names that it does not list are dropped. policy is borrowed as the one before, which is free then. Not from
 * inside a call-back of this cell. 0 or -ENOMEM (nothing has changed). */
int dns_cell_policy_set(struct dns_cell *cell, const struct dns_policy *policy) MUST_CHECK;

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

/* What the names of one registrable domain looked like (proxyd/dns/tunnel.h). */
struct dns_apex {
    struct name apex;
    uint64_t queries;
    uint64_t distinct_names;              /* estimated beyond 64 */
    uint64_t label_bytes;                 /* left of the apex, over all queries */
    uint32_t max_label_entropy_millibits; /* of a character */
    bool suspicious;
};

/* At most LIMIT_APEXES: the suspicious ones, then the busiest. Returns how many. */
size_t dns_cell_apexes(const struct dns_cell *cell, struct dns_apex ret[LIMIT_APEXES]);

/* ---- addresses that the cell was given ---- */

/* Raw tcp and udp rules name hosts, packets only addresses: the first name for which this cell's own answers
 * gave addr (and which is still valid), and of which fits() approves. *ret_synthetic: addr exists only inside
 * the cell (answerMode synthetic): the name must be resolved for the dial. */
bool dns_pin_find(const struct dns_cell *cell, const struct addr *addr,
                  bool (*fits)(void *self, const struct name *name), void *self, struct name *ret_name,
                  bool *ret_synthetic);

/* ---- names for proxyd's own dials ---- */

struct dns_resolve;

/* result 0: 1..LIMIT_DIAL_ADDRS addresses, IPv6 and IPv4 in turn (RFC 8305 section 4), each
 * dns_answer_permitted, borrowed for the call. Else n == 0, and reason, where there is one, says more:
 * - -EPERM: name or types not allowed, or every address refused
 * - -ENOENT: no such name, or no address
 * - -ETIMEDOUT: no resolver answered, or no acknowledgement came in time (then without a reason)
 * - -EHOSTUNREACH: the resolvers failed
 * - -ECANCELED: the cell is being freed
 * - anything else: evidence could not be written, no memory */
typedef void (*dns_resolve_cb)(void *data, int result, enum dns_reason_code reason, const struct addr *addrs,
                               size_t n);

/* Resolves A and AAAA (as far as the policy's types allow them). cb is called exactly once and never from
 * inside this call; *ret is valid until then. 0, -EDQUOT when too many wait, -ECANCELED while the cell is
 * being freed, -ENOMEM. */
int dns_resolve(struct dns_cell *cell, const struct name *name, dns_resolve_cb cb, void *data,
                struct dns_resolve **ret) MUST_CHECK;

/* No call-back any more. Accepts NULL. */
void dns_resolve_cancel(struct dns_resolve *r);
