/* SPDX-License-Identifier: MIT */
#include "common/evidence/digest.h"

/* SHA-256 below EVP: OpenSSL 3 makes and frees a context in EVP for every digest, which for our short inputs
 * costs more than the digest. This is the level that OpenSSL 1.1.0 declares; the code behind it is the same.
 */
#define OPENSSL_API_COMPAT 0x10100000L
#include <openssl/sha.h>

static _Thread_local SHA256_CTX digest_ctx;

int digest_init(void)
{
    uint8_t d[DIGEST_LEN];

    digest_sha256(NULL, 0, d);
    return 0;
}

void digest_done(void)
{
    digest_ctx = (SHA256_CTX){.num = 0};
}

/* None of these can fail; if one ever did, going on would sign or accept a wrong digest. */
static void digest_must(int ok)
{
    if (ok != 1)
        abort();
}

void digest_begin(void)
{
    digest_must(SHA256_Init(&digest_ctx));
}

void digest_add(const void *p, size_t n)
{
    if (n > 0)
        digest_must(SHA256_Update(&digest_ctx, p, n));
}

void digest_end(uint8_t ret[static DIGEST_LEN])
{
    digest_must(SHA256_Final(ret, &digest_ctx));
}

void digest_sha256(const void *p, size_t n, uint8_t ret[static DIGEST_LEN])
{
    digest_begin();
    digest_add(p, n);
    digest_end(ret);
}

void digest_sha256_parts(struct str a, struct str b, struct str c, uint8_t ret[static DIGEST_LEN])
{
    digest_begin();
    digest_add(a.p, a.len);
    digest_add(b.p, b.len);
    digest_add(c.p, c.len);
    digest_end(ret);
}
