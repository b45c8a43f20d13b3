/* SPDX-License-Identifier: MIT */
#include "common/evidence/keyring.h"

#include "common/base/clock.h"

void keyring_one(struct keyring *ring, const struct vkey *k)
{
    ring->n = 0;
    (void)keyring_add(ring, k);
}

struct keyring_key *keyring_add(struct keyring *ring, const struct vkey *k)
{
    struct keyring_key *key;

    if (ring->n == KEYRING_MAX || keyring_find_public(ring, k->public))
        return NULL;
    key = &ring->key[ring->n++];
    *key = (struct keyring_key){.vkey = *k};
    envelope_keyid(k->public, key->keyid);
    return key;
}

const struct keyring_key *keyring_find(const struct keyring *ring, struct str keyid)
{
    if (keyid.len != ENVELOPE_KEYID_LEN)
        return NULL;
    for (size_t i = 0; i < ring->n; i++)
        if (memcmp(ring->key[i].keyid, keyid.p, ENVELOPE_KEYID_LEN) == 0)
            return &ring->key[i];
    return NULL;
}

const struct keyring_key *keyring_find_public(const struct keyring *ring,
                                              const uint8_t public[static ED25519_PUBLIC_LEN])
{
    for (size_t i = 0; i < ring->n; i++)
        if (memcmp(ring->key[i].vkey.public, public, ED25519_PUBLIC_LEN) == 0)
            return &ring->key[i];
    return NULL;
}

enum keyring_judgement keyring_judge(const struct keyring_key *k, uint64_t when_s)
{
    if (k->revoked_s && when_s >= k->revoked_s)
        return KEYRING_REVOKED;
    if (when_s < k->not_before_s)
        return KEYRING_NOT_YET;
    return k->not_after_s && when_s > k->not_after_s ? KEYRING_EXPIRED : KEYRING_OK;
}

enum keyring_judgement keyring_judge_time(const struct keyring_key *k, struct str rfc3339)
{
    uint64_t when;

    return clock_parse_rfc3339(rfc3339, &when) < 0 ? KEYRING_EXPIRED : keyring_judge(k, when);
}
