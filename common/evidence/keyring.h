/* SPDX-License-Identifier: MIT */
/* The public keys a verifier goes by, each with the time in which it counts: one key, or those of a trust
 * keyset (keyset.h). */
#pragma once

#include "common/evidence/checkpoint.h"
#include "common/evidence/envelope.h"

#define KEYRING_MAX 64

struct keyring_key {
    struct vkey vkey;
    char keyid[ENVELOPE_KEYID_LEN + 1]; /* the DSSE keyid */
    uint64_t not_before_s;              /* epoch seconds; 0: from the beginning */
    uint64_t not_after_s;               /* the last second in which it counts; 0: open */
    uint64_t revoked_s;                 /* the first second in which it does not count any more; 0: never */
};

struct keyring {
    size_t n;
    struct keyring_key key[KEYRING_MAX];
};

/* A ring of this key alone, good at all times. Needs digest_init(). */
void keyring_one(struct keyring *ring, const struct vkey *k);

/* Adds a key without bounds and answers it, so that the caller may set them. NULL when the ring is full or
 * has that key. */
struct keyring_key *keyring_add(struct keyring *ring, const struct vkey *k);

/* The key with that DSSE keyid, or NULL. */
const struct keyring_key *keyring_find(const struct keyring *ring, struct str keyid);

/* The key with that public part, or NULL. */
const struct keyring_key *keyring_find_public(const struct keyring *ring,
                                              const uint8_t public[static ED25519_PUBLIC_LEN]);

enum keyring_judgement {
    KEYRING_OK = 0,
    KEYRING_NOT_YET, /* before not_before_s */
    KEYRING_EXPIRED, /* after not_after_s */
    KEYRING_REVOKED, /* at or after revoked_s; said before the others */
    _KEYRING_JUDGEMENT_MAX,
};

/* Whether something that this key signed as of that second counts. */
enum keyring_judgement keyring_judge(const struct keyring_key *k, uint64_t when_s);

/* The same of an event's time; one that is none counts as after its end. */
enum keyring_judgement keyring_judge_time(const struct keyring_key *k, struct str rfc3339);
