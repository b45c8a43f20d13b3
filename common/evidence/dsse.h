/* SPDX-License-Identifier: MIT */
/* The CloudEvents verifiability extension (cloudevents/spec, extensions/verifiability.md): two digests over
 * an event, put into a small JSON object that is signed as a DSSE envelope (DSSE protocol 1.0.2). Only the
 * digests and texts are made here; who signs and what an event looks like on the wire is envelope.h. */
#pragma once

#include "common/base/buf.h"
#include "common/evidence/digest.h"

#define DSSE_PAYLOAD_TYPE "https://cloudevents.io/verifiability/dsse/v0.1"
#define DSSE_NAMES_MAX    16   /* signed extension attributes of one event */
#define DSSE_MATERIAL_MAX 1024 /* bytes of one VERIFICATION_MATERIAL object */

/* The context attributes and the data of an event. An absent one (p == NULL) counts as the empty byte
 * sequence. */
struct dsse_event {
    struct str id;
    struct str source;
    struct str specversion;
    struct str type;
    struct str datacontenttype;
    struct str dataschema;
    struct str subject;
    struct str time; /* already RFC 3339, UTC, whole seconds, "Z" */
    struct str data; /* the raw bytes, never re-serialised */
};

/* CORE_DIGEST of "Signing Protocol", steps 3 and 4. */
void dsse_core_digest(const struct dsse_event *e, uint8_t ret[static DIGEST_LEN]);

/* EXT_DIGEST, step 5: the canonical byte sequences of the signed extension attributes in the order of their
 * names; n <= DSSE_NAMES_MAX. */
void dsse_ext_digest(const struct str *values, size_t n, uint8_t ret[static DIGEST_LEN]);

/* What signedextattrs may list: 1 ... DSSE_NAMES_MAX names of [a-z0-9]{1,20} (CloudEvents 1.0, attribute
 * naming), none twice, no context attribute, neither "data" nor "dssematerial". 0 or -EINVAL. */
int dsse_names_check(const struct str *names, size_t n) MUST_CHECK;

struct dsse_material {
    uint8_t core[DIGEST_LEN];
    uint8_t ext[DIGEST_LEN]; /* meaningful when nnames > 0 */
    struct str names[DSSE_NAMES_MAX];
    size_t nnames; /* 0: no extension attribute is signed */
};

/* VERIFICATION_MATERIAL, compact, members in the order core, ext, signedextattrs. Checks the names. Appends
 * to b. 0, -EINVAL or b's error. */
int dsse_material_render(const struct dsse_material *m, struct buf *b) MUST_CHECK;

/* The exact inverse: this compact form and nothing else (other spellings of the same object are refused: a
 * log holds one form). *ret borrows from s. 0 or -EBADMSG. */
int dsse_material_parse(struct str s, struct dsse_material *ret) MUST_CHECK;

/* PAE(payload type, body): the bytes that are signed. Appends to b, whose error says when it did not fit. */
void dsse_pae(struct str body, struct buf *b);

/* {"payload":"...","payloadType":"...","signatures":[{"keyid":"...","sig":"..."}]}, compact. keyid is
 * printable ASCII without quote and backslash. Appends to b. */
void dsse_envelope_render(struct str body, struct str keyid, const uint8_t *sig, size_t sig_len,
                          struct buf *b);
