/* SPDX-License-Identifier: MIT */
/* What a QUIC client does to its first packets, written the other way round than proxyd/quic reads them:
 * ClientHellos, CRYPTO frames, protection of Initial packets. For tests and fuzzers. */
#pragma once

#include <openssl/evp.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "proxyd/quic/keys.h"

#define MUST(cond)                                                                                           \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            abort();                                                                                         \
    } while (0)

struct make_packet {
    uint32_t version;     /* 0: v1 */
    const char *dcid;     /* of the header; NULL: "8 bytes " */
    const char *key_dcid; /* makes the keys; NULL: dcid */
    size_t token;         /* bytes */
    uint32_t pn;
    size_t npn;       /* bytes of the packet number, 0: 1 */
    uint8_t type;     /* 0: Initial; else the type bits of the first byte */
    uint8_t reserved; /* bits of the first byte, before its protection */
    size_t pad;       /* the frames are filled up to so many bytes with PADDING */
};

static inline struct quic_cid make_cid(const char *text)
{
    struct quic_cid c = {.len = (uint8_t)strlen(text)};
    MUST(c.len <= QUIC_CID_MAX);
    memcpy(c.bytes, text, c.len);
    return c;
}

static inline void make_varint(struct buf *b, uint64_t v)
{
    if (v < 64) {
        buf_putc(b, (uint8_t)v);
    } else if (v < 16384) {
        buf_put_be16(b, (uint16_t)(v | 0x4000));
    } else if (v < 1u << 30) {
        buf_put_be32(b, (uint32_t)v | 0x80000000u);
    } else {
        buf_put_be32(b, (uint32_t)(v >> 32) | 0xc0000000u);
        buf_put_be32(b, (uint32_t)v);
    }
}

static inline void make_crypto(struct buf *b, uint64_t offset, const uint8_t *p, size_t n)
{
    make_varint(b, 6);
    make_varint(b, offset);
    make_varint(b, n);
    buf_put(b, p, n);
}

/* ---- ClientHello ---- */

struct make_hello {
    const char *name;   /* NULL: no server_name extension */
    size_t name_len;    /* 0: strlen(name) */
    const char *second; /* a second name in the list */
    bool ech;
    size_t filler; /* bytes of an unknown extension before the others */
};

static inline void make_name(struct buf *list, const char *name, size_t len)
{
    buf_putc(list, 0);
    buf_put_be16(list, (uint16_t)len);
    buf_put(list, name, len);
}

static inline void make_extension(struct buf *b, uint16_t type, const struct buf *body)
{
    buf_put_be16(b, type);
    buf_put_be16(b, (uint16_t)body->len);
    buf_put(b, body->data, body->len);
}

static inline void make_extensions(struct buf *b, const struct make_hello *h)
{
    _cleanup_(buf_done) struct buf list = {0}, body = {0};
    buf_init(&list, 65536);
    buf_init(&body, 65536);
    if (h->filler > 0) {
        for (size_t i = 0; i < h->filler; i++)
            buf_putc(&body, (uint8_t)i);
        make_extension(b, 0x2a2a, &body); /* GREASE */
    }
    if (h->name) {
        make_name(&list, h->name, h->name_len ? h->name_len : strlen(h->name));
        if (h->second)
            make_name(&list, h->second, strlen(h->second));
        body.len = 0;
        buf_put_be16(&body, (uint16_t)list.len);
        buf_put(&body, list.data, list.len);
        make_extension(b, 0, &body);
    }
    body.len = 0;
    if (h->ech)
        make_extension(b, 0xfe0d, &body);
    buf_put(&body, "\0\3\2h3", 5);
    make_extension(b, 16, &body);
}

/* The handshake message, as the CRYPTO stream carries it. */
static inline void make_hello(struct buf *b, const struct make_hello *h)
{
    _cleanup_(buf_done) struct buf ext = {0};
    static const uint8_t random[32] = {1, 2, 3};
    buf_init(&ext, 65536);
    make_extensions(&ext, h);
    size_t body = 2 + 32 + 1 + 2 + 2 + 1 + 1 + 2 + ext.len;
    buf_putc(b, 1);
    buf_putc(b, (uint8_t)(body >> 16));
    buf_put_be16(b, (uint16_t)body);
    buf_put_be16(b, 0x0303);
    buf_put(b, random, sizeof(random));
    buf_put(b, "\0\0\2\x13\1\1\0", 7);
    buf_put_be16(b, (uint16_t)ext.len);
    buf_put(b, ext.data, ext.len);
    MUST(b->err == 0);
}

/* ---- protection ---- */

static inline void make_seal(const struct quic_keys *k, const uint8_t nonce[12], uint8_t *header,
                             size_t nheader, const uint8_t *text, size_t n, uint8_t *dst)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int len = 0;
    MUST(c && EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, k->key, nonce) == 1);
    MUST(EVP_EncryptUpdate(c, NULL, &len, header, (int)nheader) == 1);
    MUST(n == 0 || EVP_EncryptUpdate(c, dst, &len, text, (int)n) == 1);
    MUST(EVP_EncryptFinal_ex(c, dst + n, &len) == 1);
    MUST(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, QUIC_TAG, dst + n) == 1);
    EVP_CIPHER_CTX_free(c);
}

static inline void make_mask(const struct quic_keys *k, const uint8_t *sample, uint8_t mask[16])
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int len = 0;
    MUST(c && EVP_EncryptInit_ex(c, EVP_aes_128_ecb(), NULL, k->hp, NULL) == 1);
    MUST(EVP_EncryptUpdate(c, mask, &len, sample, 16) == 1 && len == 16);
    EVP_CIPHER_CTX_free(c);
}

static inline uint8_t make_first(const struct make_packet *m, size_t npn)
{
    uint8_t initial = m->version == QUIC_V2 ? 0x10 : 0x00;
    return (uint8_t)(0xc0 | (m->type ? m->type : initial) | m->reserved | (npn - 1));
}

/* Appends one packet that carries these frames. */
static inline void make_initial(struct buf *b, const struct make_packet *m, const uint8_t *frames, size_t n)
{
    _cleanup_(buf_done) struct buf q = {0}, text = {0};
    struct quic_cid dcid = make_cid(m->dcid ? m->dcid : "8 bytes "),
                    with = m->key_dcid ? make_cid(m->key_dcid) : dcid;
    uint32_t version = m->version ? m->version : QUIC_V1;
    size_t npn = m->npn ? m->npn : 1;
    struct quic_keys k;
    uint8_t nonce[12], mask[16];
    quic_keys_derive(version, &with, &k);
    buf_init(&q, 1 << 17);
    buf_init(&text, 1 << 17);
    buf_put(&text, frames, n);
    while (text.len < m->pad)
        buf_putc(&text, 0);
    buf_putc(&q, (uint8_t)make_first(m, npn));
    buf_put_be32(&q, version);
    buf_putc(&q, (uint8_t)dcid.len);
    buf_put(&q, dcid.bytes, dcid.len);
    buf_putc(&q, 0); /* no source connection id */
    if (m->type == 0)
        make_varint(&q, m->token);
    for (size_t i = 0; m->type == 0 && i < m->token; i++)
        buf_putc(&q, 't');
    make_varint(&q, npn + text.len + QUIC_TAG);
    size_t at = q.len;
    for (size_t i = npn; i-- > 0;)
        buf_putc(&q, (uint8_t)(m->pn >> 8 * i));
    memcpy(nonce, k.iv, 12);
    for (size_t i = 0; i < npn; i++)
        nonce[12 - npn + i] ^= q.data[at + i];
    _cleanup_free_ uint8_t *sealed = calloc(1, text.len + QUIC_TAG + 4);
    MUST(sealed && q.err == 0 && text.err == 0);
    make_seal(&k, nonce, q.data, q.len, text.data, text.len, sealed);
    make_mask(&k, sealed + 4 - npn, mask);
    q.data[0] ^= mask[0] & 0x0f;
    for (size_t i = 0; i < npn; i++)
        q.data[at + i] ^= mask[1 + i];
    buf_put(b, q.data, q.len);
    buf_put(b, sealed, text.len + QUIC_TAG);
    MUST(b->err == 0);
}

/* A whole first datagram: one hello, one CRYPTO frame, filled up as RFC 9000 section 14.1 wants it. */
static inline void make_first_datagram(struct buf *b, const struct make_packet *m, const struct make_hello *h)
{
    _cleanup_(buf_done) struct buf hello = {0}, frames = {0};
    struct make_packet padded = *m;
    buf_init(&hello, 65536);
    buf_init(&frames, 65536);
    make_hello(&hello, h);
    make_crypto(&frames, 0, hello.data, hello.len);
    padded.pad = m->pad ? m->pad : 1162;
    make_initial(b, &padded, frames.data, frames.len);
}
