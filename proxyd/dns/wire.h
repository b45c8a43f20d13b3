/* SPDX-License-Identifier: MIT */
/* Reader of DNS messages (RFC 1035 section 4). Every read is bounded; the cost of the worst message is
 * DNS_RECORDS_MAX records of a constant number of names, each at most 255 bytes and DNS_JUMPS_MAX pointers.
 */
#pragma once

#include "common/base/cursor.h"
#include "common/net/name.h"
#include "proto/limits.h"

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_DNAME = 39,
    DNS_TYPE_OPT = 41,
    DNS_TYPE_SVCB = 64,
    DNS_TYPE_HTTPS = 65,
    DNS_TYPE_ANY = 255,
};

enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
};

#define DNS_CLASS_IN   1
#define DNS_HEADER_LEN 12
#define DNS_FLAG_QR    0x8000u
#define DNS_FLAG_TC    0x0200u
#define DNS_FLAG_RD    0x0100u
#define DNS_FLAG_RA    0x0080u
#define DNS_OPCODE(f)  (((f) >> 11) & 0xfu)
#define DNS_RCODE(f)   ((uint8_t)((f)&0xfu))

#define DNS_WIRE_NAME_MAX 255u /* RFC 1035 section 2.3.4, root byte included */
#define DNS_JUMPS_MAX     32u

/* A name as on the wire, without compression, case kept: labels, then the root byte. */
struct dns_wire_name {
    uint8_t len; /* >= 1 once read */
    uint8_t b[DNS_WIRE_NAME_MAX];
};

struct dns_header {
    uint16_t id, flags, qdcount, ancount, nscount, arcount;
};

/* A message being read: pointers are offsets from base. */
struct dns_reader {
    const uint8_t *base;
    struct cursor at;
};

static inline struct dns_reader dns_reader_of(const void *p, size_t n)
{
    return (struct dns_reader){p, cursor_of(p, n)};
}

int dns_header_read(struct cursor *c, struct dns_header *ret) MUST_CHECK;

/* A name at the reader's place. A pointer must lead to before the run of labels it ends and behind the
 * header. 0 or -EBADMSG (the reader's place is then unspecified). */
int dns_name_read(struct dns_reader *r, struct dns_wire_name *ret) MUST_CHECK;

/* ASCII case does not matter (RFC 4343). */
bool dns_name_eq(const struct dns_wire_name *a, const struct dns_wire_name *b);

/* The canonical host name; false when it is none (a byte outside LDH and "_", the root). */
bool dns_name_host(const struct dns_wire_name *w, struct name *ret);

/* From the canonical form; always fits. */
void dns_name_from_host(const struct name *n, struct dns_wire_name *ret);

#define DNS_NAME_TEXT_MAX (LIMIT_HOSTNAME + 1) /* with NUL; a longer escaped name ends in "..." */
/* Lower-case text with the escapes of RFC 1035 section 5.1 ("." for the root). Returns dst. */
const char *dns_name_text(const struct dns_wire_name *w, char dst[DNS_NAME_TEXT_MAX]);

struct dns_rr {
    struct dns_wire_name owner;
    uint16_t type;
    uint16_t class;
    uint32_t ttl;
    size_t rdata; /* offset from the reader's base */
    uint16_t rdlen;
};

/* The next record; rdata is bounded but not looked into. 0 or -EBADMSG. */
int dns_rr_read(struct dns_reader *r, struct dns_rr *ret) MUST_CHECK;

struct dns_question {
    struct dns_wire_name qname;
    uint16_t qtype;
    uint16_t qclass;
};

int dns_question_read(struct dns_reader *r, struct dns_question *ret) MUST_CHECK;

/* A hash for the module's tables, keyed afresh in every process: a cell that chooses the names cannot choose
 * the bucket (SipHash-2-4). */
uint64_t dns_hash(const void *p, size_t n);

/* A query from the cell. */
struct dns_ask {
    uint16_t id;
    bool rd;
    bool edns;
    uint16_t udp_size; /* what the asker can take by UDP, >= 512 */
    struct dns_question q;
    bool host; /* name is valid */
    struct name name;
};

/* Reads a query: QR 0, opcode 0, one question, no answer or authority, at most one OPT (version 0, root
 * owner), nothing left over. 0 or -EBADMSG; then *ret is as far as it was readable: q.qname.len == 0 when the
 * question was not. */
int dns_ask_read(const uint8_t *p, size_t n, struct dns_ask *ret) MUST_CHECK;

/* True when the message is a response with this id, opcode 0 and exactly this question. */
bool dns_response_matches(const uint8_t *p, size_t n, uint16_t id, const struct dns_question *q);
