/* SPDX-License-Identifier: MIT */
/* One event of the log as one line: a CloudEvent 1.0 in JSON format with exactly one spelling. Attribute
 * order, blanks (none), time form, digits and base64 are fixed, and what the DSSE signature leaves open is
 * thereby pinned: a verifier renders the envelope again around the raw data bytes and wants the same line,
 * byte for byte.
 *
 *   {"specversion":"1.0","id":...,"source":...,"type":...,["subject":...,]"time":...,"datacontenttype":"application/json",
 *    "sequence":...,["cellsequence":...,"runid":...,]"data":{...},"dssematerial":"..."}
 *
 * The line of a log with seal: batch is bare: it ends behind data. What such a log signs, and an exported
 * event shows, is the sealed line.
 *
 * subject, cellsequence and runid are all there (an event of a cell) or all absent (an event of the log
 * itself). */
#pragma once

#include "common/base/buf.h"
#include "common/base/uuid.h"
#include "common/evidence/dsse.h"
#include "common/evidence/ed25519.h"

#define ENVELOPE_LINE_MAX     65535 /* an entry of a C2SP entry bundle counts in 16 bits; without the LF */
#define ENVELOPE_DATA_MAX     49152
#define ENVELOPE_ID_MAX       36
#define ENVELOPE_ATTR_MAX     512 /* source, type, subject */
#define ENVELOPE_SEQUENCE_LEN 20  /* decimal digits, zero-padded: lexicographic order is numeric order */
#define ENVELOPE_KEYID_LEN    (sizeof("sha256:") - 1 + 2 * DIGEST_LEN)
#define ENVELOPE_SEAL_MAX     2100 /* what a signature adds to a bare line: that much room is always kept */
#define ENVELOPE_SUBJECT      "urn:cellos:cell:"

struct envelope {
    struct str id;     /* UUIDv7 */
    struct str source; /* "/cellos/<role>/<host>" */
    struct str type;
    struct str subject; /* absent: an event of the log */
    struct str time;    /* RFC 3339, whole seconds, "Z" */
    struct str runid;   /* UUIDv7; absent exactly when subject is */
    struct str data;    /* one JSON object, no blanks between its tokens */
    uint64_t sequence;
    uint64_t cellsequence; /* from 1; 0 exactly when subject is absent */
};

/* Whether the attributes keep the rules above (lengths, printable ASCII without quote and backslash, forms of
 * id, time, runid, all-or-none). data is not looked into. 0 or -EINVAL. */
int envelope_check(const struct envelope *e) MUST_CHECK;

/* The VERIFICATION_MATERIAL of the event (signed attributes sequence, cellsequence, runid). Appends to b. 0
 * or b's error. */
int envelope_material(const struct envelope *e, struct buf *b) MUST_CHECK;

/* The whole line without LF around a material and its signature. Appends to b. 0; -EINVAL (envelope_check);
 * -EMSGSIZE when data or the line would be over its limit; b's error. */
int envelope_render(const struct envelope *e, struct str material, struct str keyid,
                    const uint8_t sig[static ED25519_SIG_LEN], struct buf *b) MUST_CHECK;

/* A bare line: the event without dssematerial, which is what a log with seal: batch holds. As
 * envelope_render(); -EMSGSIZE also when the sealed line would be too long. */
int envelope_render_bare(const struct envelope *e, struct buf *b) MUST_CHECK;

/* The sealed line of a bare one. Appends to b. 0, -EMSGSIZE, b's error. */
int envelope_seal(struct str bare, struct str material, struct str keyid,
                  const uint8_t sig[static ED25519_SIG_LEN], struct buf *b) MUST_CHECK;

/* Why a line is not what it should be; the texts come from envelope_error_text(). */
enum envelope_error {
    ENVELOPE_OK = 0,
    ENVELOPE_E_FORM = 1,  /* not the one spelling */
    ENVELOPE_E_DATA,      /* data is not one compact JSON object */
    ENVELOPE_E_KEY,       /* signed under a key id that is not in the ring */
    ENVELOPE_E_SIGNATURE, /* the signature does not verify */
    ENVELOPE_E_DIGEST,    /* signed digests are not those of the event */
    ENVELOPE_E_TIME,      /* the event's time is outside the validity of its key */
    ENVELOPE_E_REVOKED,   /* the event's time is that of its key's revocation, or later */
    ENVELOPE_E_UNSIGNED,  /* a bare line where a signature is needed */
    ENVELOPE_E_ELSEWHERE, /* not the line that was written behind the one before it (link.h) */
    _ENVELOPE_E_MAX,
};
const char *envelope_error_text(int error);

/* A line taken apart; everything borrowed from the line. */
struct envelope_line {
    struct envelope e;
    struct str dssematerial; /* still base64; absent: a bare line */
};

/* Reads the fixed spelling of attributes; does not verify anything else. ENVELOPE_OK with *ret filled, or
 * ENVELOPE_E_FORM or ENVELOPE_E_DATA with *ret untouched. */
int envelope_parse(struct str line, struct envelope_line *ret) MUST_CHECK;

/* "sha256:" and the hex of SHA-256(public); the DSSE keyid of that key. dst has ENVELOPE_KEYID_LEN + 1 bytes.
 */
void envelope_keyid(const uint8_t public[static ED25519_PUBLIC_LEN], char *dst);

struct keyring;
struct keyring_key;

/* Everything that can be said of a line alone: its digests are computed again, the envelope is rendered again
 * with them and compared byte for byte, the signature is verified under the ring's key with the line's keyid,
 * and that key must count at the event's time. An envelope_error; -ENOMEM. */
int envelope_verify(struct str line, const struct envelope_line *parsed,
                    const struct keyring *ring) MUST_CHECK;

/* A bare line alone: its spelling. What makes it evidence is the tree it is in. As envelope_verify(). */
int envelope_verify_bare(struct str line, const struct envelope_line *parsed) MUST_CHECK;

/* Whether this is the key's signature of the event, made at a time when the key counted. As
 * envelope_verify(). */
int envelope_verify_signature(const struct envelope *e, const struct keyring_key *key,
                              const uint8_t sig[static ED25519_SIG_LEN]) MUST_CHECK;
