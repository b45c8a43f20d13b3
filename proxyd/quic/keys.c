/* SPDX-License-Identifier: MIT */
#include "proxyd/quic/keys.h"

#include <openssl/evp.h>
#include <sodium.h>

#define SAMPLE     16u
#define PN_MAX     4u
#define SECRET_LEN crypto_auth_hmacsha256_BYTES

static EVP_CIPHER *gcm, *ecb; /* fetched once, live as long as the process */
static EVP_CIPHER_CTX *gcm_ctx, *ecb_ctx;

int quic_keys_init(void)
{
    if (!gcm)
        gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    if (!ecb)
        ecb = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
    if (!gcm_ctx)
        gcm_ctx = EVP_CIPHER_CTX_new();
    if (!ecb_ctx)
        ecb_ctx = EVP_CIPHER_CTX_new();
    return gcm && ecb && gcm_ctx && ecb_ctx ? 0 : -ENOMEM;
}

/* ---- derivation ---- */

static void hmac(const uint8_t *key, size_t nkey, const uint8_t *p, size_t n, uint8_t ret[SECRET_LEN])
{
    crypto_auth_hmacsha256_state s;

    crypto_auth_hmacsha256_init(&s, key, nkey);
    crypto_auth_hmacsha256_update(&s, p, n);
    crypto_auth_hmacsha256_final(&s, ret);
}

/* HKDF-Expand-Label (RFC 8446 section 7.1) with an empty context; one block of HKDF-Expand is enough for n <=
 * 32. */
static void expand(const uint8_t secret[SECRET_LEN], const char *label, uint8_t *dst, size_t n)
{
    uint8_t info[2 + 1 + 6 + 12 + 1 + 1], block[SECRET_LEN];
    size_t len = strlen(label), at = 0;

    info[at++] = 0;
    info[at++] = (uint8_t)n;
    info[at++] = (uint8_t)(6 + len);
    memcpy(info + at, "tls13 ", 6);
    memcpy(info + at + 6, label, len);
    at += 6 + len;
    info[at++] = 0; /* context */
    info[at++] = 1; /* number of the block (RFC 5869 section 2.3) */
    hmac(secret, SECRET_LEN, info, at, block);
    memcpy(dst, block, n);
}

void quic_keys_derive(uint32_t version, const struct quic_cid *dcid, struct quic_keys *ret)
{
    static const uint8_t salt1[20] = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
                                      0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a};
    static const uint8_t salt2[20] = {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
                                      0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9};
    bool v2 = version == QUIC_V2;
    uint8_t initial[SECRET_LEN], client[SECRET_LEN];

    hmac(v2 ? salt2 : salt1, sizeof(salt1), dcid->bytes, dcid->len, initial);
    expand(initial, "client in", client, sizeof(client));
    expand(client, v2 ? "quicv2 key" : "quic key", ret->key, sizeof(ret->key));
    expand(client, v2 ? "quicv2 iv" : "quic iv", ret->iv, sizeof(ret->iv));
    expand(client, v2 ? "quicv2 hp" : "quic hp", ret->hp, sizeof(ret->hp));
}

/* ---- opening ---- */

static int hp_mask(const struct quic_keys *k, const uint8_t *sample, uint8_t mask[SAMPLE])
{
    int n = 0;

    if (EVP_EncryptInit_ex2(ecb_ctx, ecb, k->hp, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(ecb_ctx, 0) != 1 ||
        EVP_EncryptUpdate(ecb_ctx, mask, &n, sample, SAMPLE) != 1 || n != SAMPLE)
        return -EBADMSG;
    return 0;
}

/* The nonce is the IV with the packet number in its last bytes. An Initial's first numbers are small, and one
 * that was truncated to 1...4 bytes is taken as it stands: a client begins at 0 (RFC 9000 section 12.3) and
 * never sends so many Initial packets that the number needs its context. */
static void nonce_of(const struct quic_keys *k, const uint8_t *pn, size_t npn, uint8_t nonce[12])
{
    memcpy(nonce, k->iv, 12);
    for (size_t i = 0; i < npn; i++)
        nonce[12 - npn + i] ^= pn[i];
}

/* aad is the header with its protection removed. */
static ssize_t aead_open(const struct quic_keys *k, const uint8_t nonce[12], struct str aad, const uint8_t *p,
                         size_t n, uint8_t *dst)
{
    uint8_t tag[QUIC_TAG];
    size_t text = n - QUIC_TAG;
    int len = 0, rest = 0;

    memcpy(tag, p + text, QUIC_TAG);
    if (EVP_DecryptInit_ex2(gcm_ctx, gcm, k->key, nonce, NULL) != 1 ||
        EVP_DecryptUpdate(gcm_ctx, NULL, &len, (const uint8_t *)aad.p, (int)aad.len) != 1 ||
        EVP_DecryptUpdate(gcm_ctx, dst, &len, p, (int)text) != 1 ||
        EVP_CIPHER_CTX_ctrl(gcm_ctx, EVP_CTRL_AEAD_SET_TAG, QUIC_TAG, tag) != 1 ||
        EVP_DecryptFinal_ex(gcm_ctx, dst + len, &rest) != 1)
        return -EBADMSG;
    return len + rest;
}

ssize_t quic_keys_open(const struct quic_keys *k, const struct quic_packet *q, uint8_t *dst)
{
    uint8_t mask[SAMPLE], nonce[12], *header = dst; /* dst: first the header, then the frames over it */

    /* RFC 9001 section 5.4.2: the sample begins where the packet number would end if it had four bytes. */
    if (q->len > UINT16_MAX || q->len < q->pn_offset + PN_MAX + SAMPLE || quic_keys_init() < 0 ||
        hp_mask(k, q->p + q->pn_offset + PN_MAX, mask) < 0)
        return -EBADMSG;
    uint8_t first = q->p[0] ^ (mask[0] & 0x0f);
    size_t npn = (first & 3u) + 1u, nheader = q->pn_offset + npn;
    if (q->len < nheader + QUIC_TAG)
        return -EBADMSG;
    memcpy(header, q->p, nheader);
    header[0] = first;
    for (size_t i = 0; i < npn; i++)
        header[q->pn_offset + i] ^= mask[1 + i];
    nonce_of(k, header + q->pn_offset, npn, nonce);
    ssize_t n = aead_open(k, nonce, (struct str){(const char *)header, nheader}, q->p + nheader,
                          q->len - nheader, dst);
    return n >= 0 && (first & 0x0c) != 0 ? -EBADMSG : n;
}
