/* SPDX-License-Identifier: MIT */
/* The frames an Initial packet may carry (RFC 9000 section 12.4, table 3): PADDING, PING, ACK, CRYPTO and
 * CONNECTION_CLOSE of the transport. */
#pragma once

#include "proxyd/quic/crypto_stream.h"

/* Walks the frames p[0..n) and puts what CRYPTO frames carry into s. 0; -EBADMSG for no frame at all, another
 * frame, a broken one, or what crypto_stream_put refuses; -ENOMEM. */
int quic_frames_read(const uint8_t *p, size_t n, struct crypto_stream *s) MUST_CHECK;
