/* SPDX-License-Identifier: MIT */
/* Which keys a log is judged by: from what the verifier trusts, and what the log itself can add to that. */
#pragma once

#include "common/evidence/keyset.h"
#include "common/evidence/log_check.h"

/* What the verifier brings along, the first that is set. Nothing set: the log's own word is taken. */
struct trust_root {
    const struct keyring *ring; /* exactly these */
    struct str keyset; /* a keyset file; newer versions that the log has and that chain from it count too */
    const struct vkey *key; /* this key, and the keyset it signed, where the log has one */
};

struct trust {
    struct keyring ring;
    bool self_declared; /* the keys are the log's own word */
    bool chained;       /* chain is there */
    struct keyset_chain chain;
};

/* The trust in the log whose directory is open as dirfd. 0; -EBADMSG with one sentence in why; -errno when
 * the log could not be read. */
int trust_open(int dirfd, const struct trust_root *root, struct trust *ret,
               char why[static LOG_CHECK_WHY_MAX]) MUST_CHECK;

/* The same where the log's own vkey and keyset files were handed over as texts (empty: it has none). */
int trust_open_texts(struct str vkey, struct str keyset, const struct trust_root *root, struct trust *ret,
                     char why[static LOG_CHECK_WHY_MAX]) MUST_CHECK;

/* A checkpoint has no time of its own; it is as old as the last line it covers, or younger. Whether a key
 * that signed it can vouch for an event of it: not when its time was over, or it was revoked, when the event
 * was made; one whose time had not begun can. 0, or -EBADMSG with one sentence. */
int trust_check_signer(const struct keyring_key *signer, const struct envelope *e,
                       char why[static LOG_CHECK_WHY_MAX]) MUST_CHECK;

/* A log.v1.keyset_changed of the log: the chain must have that version, and as that very line, so that no
 * older keyset can be put in the place of the one the log was signed with. Other events pass. 0, or -EBADMSG
 * with one sentence. */
int trust_check_event(const struct trust *t, const struct envelope *e,
                      char why[static LOG_CHECK_WHY_MAX]) MUST_CHECK;
