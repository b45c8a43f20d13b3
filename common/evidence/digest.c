/* SPDX-License-Identifier: MIT */
#include "common/evidence/digest.h"

#include <openssl/evp.h>
#include <pthread.h>

static EVP_MD *digest_algorithm; /* fetched once, lives as long as the process */
static pthread_mutex_t digest_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local EVP_MD_CTX *digest_ctx;

static const EVP_MD *digest_fetch(void)
{
    pthread_mutex_lock(&digest_lock);
    if (!digest_algorithm)
        digest_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    const EVP_MD *md = digest_algorithm;
    pthread_mutex_unlock(&digest_lock);
    return md;
}

int digest_init(void)
{
    if (digest_ctx)
        return 0;
    const EVP_MD *md = digest_fetch();
    EVP_MD_CTX *ctx = md ? EVP_MD_CTX_new() : NULL;
    if (!ctx)
        return -ENOMEM;
    /* The algorithm is bound to the context here; digest_begin() then only resets it. */
    if (EVP_DigestInit_ex2(ctx, md, NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        return -ENOMEM;
    }
    digest_ctx = ctx;
    return 0;
}

void digest_done(void)
{
    EVP_MD_CTX_free(digest_ctx);
    digest_ctx = NULL;
}

/* With an initialised context none of these can fail; if one ever did, going on would sign or accept a wrong
 * digest. */
static void digest_must(int ok)
{
    if (ok != 1)
        abort();
}

void digest_begin(void)
{
    if (!digest_ctx && digest_init() < 0)
        abort();
    digest_must(EVP_DigestInit_ex2(digest_ctx, NULL, NULL));
}

void digest_add(const void *p, size_t n)
{
    if (n > 0)
        digest_must(EVP_DigestUpdate(digest_ctx, p, n));
}

void digest_end(uint8_t ret[static DIGEST_LEN])
{
    digest_must(EVP_DigestFinal_ex(digest_ctx, ret, NULL));
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
