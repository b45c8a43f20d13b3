/* SPDX-License-Identifier: MIT */
/* The bytes of CRYPTO frames put together, in whatever order and overlap they come (RFC 9000 section 19.6).
 * A byte that was seen stays what it was: the same offset with another value is two opinions on what was
 * asked for, and refused. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "proto/limits.h"

/* All zero at the start. */
struct crypto_stream {
    uint8_t *bytes;    /* owned; room for cap, and behind them one bit a byte: is it there */
    size_t cap;        /* a multiple of 1024, at most LIMIT_PEEK */
    size_t end;        /* greatest offset seen, plus one */
    size_t contiguous; /* all bytes before it are there */
};

/* 0; -EBADMSG beyond LIMIT_PEEK or against what is there; -ENOMEM. */
int crypto_stream_put(struct crypto_stream *s, uint64_t offset, const uint8_t *p, size_t n) MUST_CHECK;
void crypto_stream_done(struct crypto_stream *s); /* all zero again */
