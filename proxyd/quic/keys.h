/* SPDX-License-Identifier: MIT */
/* Initial packets are encrypted with keys that anybody derives from the connection id the client chose and a
 * salt that the RFC prints (RFC 9001 section 5.2, RFC 9369 section 3.3.1). Reading them needs no secret. */
#pragma once

#include "proxyd/quic/packet.h"

#define QUIC_TAG 16u /* AEAD_AES_128_GCM */

struct quic_keys {
    uint8_t key[16], iv[12], hp[16];
};

/* Makes ready what libcrypto wants to make once; before the daemon is confined. Idempotent. 0 or -ENOMEM. */
int quic_keys_init(void) MUST_CHECK;

/* The client's Initial keys for a version of packet.h. */
void quic_keys_derive(uint32_t version, const struct quic_cid *dcid, struct quic_keys *ret);

/* Removes the header protection and decrypts (RFC 9001 sections 5.3 and 5.4) an Initial packet of at most
 * 65535 bytes. dst: room for the packet's length; the frames' length. -EBADMSG: not with these keys, or a
 * reserved bit is set (RFC 9000 section 17.2). */
ssize_t quic_keys_open(const struct quic_keys *k, const struct quic_packet *q, uint8_t *dst) MUST_CHECK;
