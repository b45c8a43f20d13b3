/* SPDX-License-Identifier: MIT */
/* The trust keyset (docs/evidence.md, "Keys"): which keys sign a log, and from when to when each of them
 * counts. A file of lines, one version a line, each signed and chained to the one before, so that who trusts
 * one version can follow to any later one and sees when somebody tells two stories.
 *
 *   {"keyset":"cellos.keyset/v1","version":N,["previous":"sha256:...",]"created":"...",
 *    "keys":[{"keyid":"sha256:...","vkey":"...","notBefore":"...",["notAfter":"...",]"state":"..."
 *             [,"revokedAt":"..."[,"revokedReason":"..."]]},...],
 *    "signatures":[{"keyid":"sha256:...","sig":"<base64>"},...]}
 *
 * This spelling, these members in this order, and no other. Only public things are in it. */
#pragma once

#include "common/evidence/keyring.h"

#define KEYSET_FILE "keyset"
#define KEYSET_NAME "cellos.keyset/v1"
#define KEYSET_SIGN_PREFIX                                                                                   \
    "CellOS trust keyset v1\n"    /* before the signed bytes; no note's text begins so                       \
                                   */
#define KEYSET_LINE_MAX     65535 /* without the LF */
#define KEYSET_VERSIONS_MAX 256
#define KEYSET_FILE_MAX     (4u << 20)
#define KEYSET_SIGS_MAX     4
#define KEYSET_REASON_MAX   200

enum keyset_state {
    KEYSET_ACTIVE = 1, /* signs; exactly one key is it */
    KEYSET_STANDBY,    /* may become active, and may sign the next version */
    KEYSET_RETIRED,    /* signs nothing new; what it signed stays good */
    KEYSET_REVOKED,    /* what it signs as of revokedAt is void */
    _KEYSET_STATE_MAX,
};
const char *keyset_state_text(enum keyset_state s);

struct keyset_key {
    struct keyring_key k; /* not_before_s 0 is 1970; revoked_s is set exactly when revoked */
    enum keyset_state state;
    char reason[KEYSET_REASON_MAX + 1]; /* empty: none given */
};

struct keyset_sig {
    char keyid[ENVELOPE_KEYID_LEN + 1];
    uint8_t sig[ED25519_SIG_LEN];
};

/* One version. */
struct keyset {
    uint64_t version;             /* from 1 */
    uint8_t previous[DIGEST_LEN]; /* of the line before, without LF; meaningful when version > 1 */
    uint64_t created_s;
    size_t n, nsigs;
    struct keyset_key key[KEYRING_MAX];
    struct keyset_sig sig[KEYSET_SIGS_MAX];
    uint8_t digest[DIGEST_LEN]; /* of this line, without LF */
};

enum keyset_error {
    KEYSET_OK = 0,
    KEYSET_E_FORM = 1,   /* not the one spelling, or over a limit */
    KEYSET_E_KEYS,       /* not exactly one active key, a key twice, a keyid that is not its key's */
    KEYSET_E_VERSION,    /* not the version that is due */
    KEYSET_E_PREVIOUS,   /* does not name the line before it */
    KEYSET_E_CHANGE,     /* changes what no version may change */
    KEYSET_E_SIGNATURE,  /* a signature does not verify, or is of a key that it cannot be of */
    KEYSET_E_AUTHORITY,  /* no signature of a key that could sign it */
    KEYSET_E_POSSESSION, /* not signed by its own active key */
    KEYSET_E_EMPTY,      /* a file without a version */
    KEYSET_E_FORK,       /* two different lines for the same version */
    _KEYSET_ERROR_MAX,
};
const char *keyset_error_text(int error);

/* True for what may stand in revokedReason: 1 ... KEYSET_REASON_MAX bytes of UTF-8 without control
 * characters, quote and backslash. */
bool keyset_reason_ok(struct str s);

/* Takes a line (without LF) apart: its form, and what holds of a version alone but for the signatures. A
 * keyset_error; *ret only on KEYSET_OK. */
int keyset_parse(struct str line, struct keyset *ret) MUST_CHECK;

/* The line's bytes before ,"signatures": what is signed, behind KEYSET_SIGN_PREFIX. Appends to b. 0 or b's
 * error. */
int keyset_render_body(const struct keyset *k, struct buf *b) MUST_CHECK;
/* The whole line (without LF) with k's signatures, the exact inverse of keyset_parse(). Appends to b. */
int keyset_render(const struct keyset *k, struct buf *b) MUST_CHECK;
/* What a signature of k is over. Appends to b. */
int keyset_signed(const struct keyset *k, struct buf *b) MUST_CHECK;

/* Whether k may come first (prev NULL: it is taken as it is, if its active key signed it) or behind prev. A
 * keyset_error; -ENOMEM. Both parsed. */
int keyset_follows(const struct keyset *prev, const struct keyset *k) MUST_CHECK;

/* A chain as far as it was followed. */
struct keyset_chain {
    struct keyset newest;
    uint64_t first;                                  /* the version it begins with */
    size_t n;                                        /* versions */
    uint8_t digest[KEYSET_VERSIONS_MAX][DIGEST_LEN]; /* of version first + i */
};

/* Reads a keyset file from its first line, whichever version that is; every line ends in LF. A keyset_error;
 * -ENOMEM. *ret_line (may be NULL): the line that is wrong, from 1. *ret is meaningful only on KEYSET_OK. */
int keyset_chain_read(struct str file, struct keyset_chain *ret, size_t *ret_line) MUST_CHECK;

/* Goes on from a trusted chain with the versions of another file, which must agree with it wherever both have
 * a version: an older or a shorter file changes nothing, a longer one adds its newer versions, another one is
 * KEYSET_E_FORK. A keyset_error; -ENOMEM. trusted changes only on KEYSET_OK. */
int keyset_chain_extend(struct keyset_chain *trusted, struct str file) MUST_CHECK;

/* The chain of a file from the first version on that this key signed: who trusts the key trusts what it
 * vouches for. KEYSET_E_AUTHORITY when it signed none. */
int keyset_chain_vouched(struct str file, const struct vkey *by, struct keyset_chain *ret) MUST_CHECK;

/* All keys of a version, each with its time. */
void keyset_ring(const struct keyset *k, struct keyring *ret);

const struct keyset_key *keyset_active(const struct keyset *k);
/* By keyid, or NULL. */
struct keyset_key *keyset_find(struct keyset *k, struct str keyid);
