/* SPDX-License-Identifier: MIT */
/* Cosignatures of witnesses on a checkpoint: c2sp.org/tlog-cosignature, the Ed25519 kind (cosignature/v1,
 * signature type 0x04). */
#pragma once

#include "common/evidence/checkpoint.h"

#define COSIGN_WITNESSES_MAX 16 /* that one command asks for */

/* A witness as it is configured. */
struct cosigner {
    char name[CHECKPOINT_NAME_MAX + 1];
    uint32_t id; /* first four bytes of SHA-256(name || LF || 0x04 || public) */
    uint8_t public[ED25519_PUBLIC_LEN];
};

/* "<name>+<8 hex digits>+<base64(0x04 || public)>", no LF. The id must match. 0 or -EBADMSG. */
int cosigner_parse(struct str vkey, struct cosigner *ret) MUST_CHECK;

enum cosign_error {
    COSIGN_OK = 0,
    COSIGN_E_NONE = 1,  /* this witness did not sign the note */
    COSIGN_E_SIGNATURE, /* a line of this witness does not verify */
    COSIGN_E_FORM,      /* not a signed note */
    _COSIGN_E_MAX,
};
const char *cosign_error_text(int error);

/* Whether this witness cosigned the note; *ret_time is when, in seconds since the epoch (of several the
 * newest), set only on COSIGN_OK. The note's text is not looked into: checkpoint_open() does that. A
 * cosign_error; -ENOMEM. */
int cosign_check(struct str note, const struct cosigner *k, uint64_t *ret_time) MUST_CHECK;

/* Appends the note to b with those lines of a witness's answer that are good cosignatures of k on it and are
 * not there yet; lines of other keys are left out (tlog-witness: the client ignores them). A cosign_error;
 * -ENOMEM. */
int cosign_add(struct str note, struct str answer, const struct cosigner *k, struct buf *b) MUST_CHECK;

/* Appends to b the note with all signature lines of other, a note with the same text, that it lacks. 0;
 * -EBADMSG when one is no note or the texts differ; b's error. */
int cosign_merge(struct str note, struct str other, struct buf *b) MUST_CHECK;
