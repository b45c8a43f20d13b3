/* SPDX-License-Identifier: MIT */
/* Base64 (RFC 4648 section 4, padded) and lower-case hex, strict both ways. */
#pragma once

#include "common/base/buf.h"

void encoding_base64_put(struct buf *b, const void *p, size_t n);

/* Strict: padding required, no blanks, unused bits zero. Appends to b. 0, -EBADMSG, or b's error. */
int encoding_base64_get(struct str s, struct buf *b) MUST_CHECK;

void encoding_hex_put(struct buf *b, const void *p, size_t n);

/* Exactly 2*n lower-case digits. 0 or -EBADMSG. */
int encoding_hex_get(struct str s, uint8_t *ret, size_t n) MUST_CHECK;
