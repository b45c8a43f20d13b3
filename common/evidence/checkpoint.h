/* SPDX-License-Identifier: MIT */
/* The signed head of a log: a C2SP tlog-checkpoint (c2sp.org/tlog-checkpoint) in a C2SP signed note
 * (c2sp.org/signed-note), Ed25519, and the verifier key text ("vkey") that names who signs it. */
#pragma once

#include "common/base/buf.h"
#include "common/evidence/digest.h"
#include "common/evidence/ed25519.h"

#define CHECKPOINT_NAME_MAX   128   /* bytes of a key name or an origin */
#define CHECKPOINT_NOTE_MAX   65536 /* bytes of a note we read: room for cosignatures of others */
#define CHECKPOINT_SIGS_MAX   64
#define CHECKPOINT_VKEY_MAX   (CHECKPOINT_NAME_MAX + 1 + 8 + 1 + 44)
#define CHECKPOINT_KEY_PREFIX "cellos.local/"

/* A public key with its name. */
struct vkey {
    char name[CHECKPOINT_NAME_MAX + 1];
    uint32_t id; /* first four bytes of SHA-256(name || LF || 0x01 || public) */
    uint8_t public[ED25519_PUBLIC_LEN];
};

/* Our own key: named cellos.local/<first 16 hex digits of SHA-256(public)>. */
void vkey_from_public(const uint8_t public[static ED25519_PUBLIC_LEN], struct vkey *ret);

/* "<name>+<8 hex digits>+<base64(0x01 || public)>", no LF. The id must match. 0 or -EBADMSG. */
int vkey_parse(struct str s, struct vkey *ret) MUST_CHECK;
void vkey_render(const struct vkey *k, struct buf *b);

struct checkpoint {
    char origin[CHECKPOINT_NAME_MAX + 1];
    uint64_t size;
    uint8_t root[DIGEST_LEN];
};

/* The note text, which is what is signed: origin, size, base64 root, each with LF. Appends to b. */
void checkpoint_text(const struct checkpoint *c, struct buf *b);

/* The whole note with one signature of the text. Appends to b. */
void checkpoint_render(const struct checkpoint *c, const struct vkey *k,
                       const uint8_t sig[static ED25519_SIG_LEN], struct buf *b);

enum checkpoint_error {
    CHECKPOINT_OK = 0,
    CHECKPOINT_E_FORM = 1,  /* not a checkpoint */
    CHECKPOINT_E_UNSIGNED,  /* no signature of this key on it */
    CHECKPOINT_E_SIGNATURE, /* a signature of this key does not verify */
    _CHECKPOINT_E_MAX,
};
const char *checkpoint_error_text(int error);

/* Reads a note and verifies it under k. Signatures of other keys are ignored, extension lines of the text are
 * accepted (they are signed too). A checkpoint_error; *ret only on CHECKPOINT_OK. */
int checkpoint_open(struct str note, const struct vkey *k, struct checkpoint *ret) MUST_CHECK;

struct keyring;
struct keyring_key;

/* The same under any key of the ring; a signature of one of its keys that does not verify spoils the note. Of
 * several good ones *ret_key (borrowed from the ring) is that of the key that comes first in it. Whether that
 * key counts at the time of the log's last line is for the caller to judge: a checkpoint has no time. */
int checkpoint_open_ring(struct str note, const struct keyring *ring, struct checkpoint *ret,
                         const struct keyring_key **ret_key) MUST_CHECK;

/* True for what we take as a key name or origin: 1 ... CHECKPOINT_NAME_MAX printable ASCII bytes, no blank,
 * no plus. */
bool checkpoint_name_ok(struct str s);
