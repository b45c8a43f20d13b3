/* SPDX-License-Identifier: MIT */
/* A spec document as the operator names it: a path, or "-" for standard input. */
#pragma once

#include "common/base/buf.h"

/* Reads all of it, at most LIMIT_SPEC + 1 bytes (so that a checker can say "too big"). Appends to b, which
 * the caller initialised with a max of at least that. 0 or a negative errno. */
int document_read(const char *path, struct buf *b) MUST_CHECK;
