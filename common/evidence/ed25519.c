/* SPDX-License-Identifier: MIT */
#include "common/evidence/ed25519.h"

#include <sodium.h>

_Static_assert(ED25519_SEED_LEN == crypto_sign_SEEDBYTES, "seed");
_Static_assert(ED25519_SECRET_LEN == crypto_sign_SECRETKEYBYTES, "secret");
_Static_assert(ED25519_PUBLIC_LEN == crypto_sign_PUBLICKEYBYTES, "public");
_Static_assert(ED25519_SIG_LEN == crypto_sign_BYTES, "signature");

int ed25519_init(void)
{
    return sodium_init() < 0 ? -EIO : 0;
}

void ed25519_from_seed(const uint8_t seed[static ED25519_SEED_LEN],
                       uint8_t ret_public[static ED25519_PUBLIC_LEN],
                       uint8_t ret_secret[static ED25519_SECRET_LEN])
{
    crypto_sign_seed_keypair(ret_public, ret_secret, seed);
}

void ed25519_sign(const uint8_t secret[static ED25519_SECRET_LEN], const void *msg, size_t n,
                  uint8_t ret_sig[static ED25519_SIG_LEN])
{
    crypto_sign_detached(ret_sig, NULL, msg, n, secret);
}

bool ed25519_verify(const uint8_t public[static ED25519_PUBLIC_LEN], const void *msg, size_t n,
                    const uint8_t *sig, size_t sig_len)
{
    if (sig_len != ED25519_SIG_LEN)
        return false;
    return crypto_sign_verify_detached(sig, msg, n, public) == 0;
}
