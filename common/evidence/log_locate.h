/* SPDX-License-Identifier: MIT */
/* Where a log differs from what was signed, when each of its lines looks good by itself: bare lines that were
 * changed, a log spliced of two. */
#pragma once

#include "common/evidence/checkpoint.h"
#include "common/evidence/log_reader.h"

/* from: the first line that is there. The stored tiles hold the hash of every line; where they lead to the
 * signed root, the first line with another hash is the one. 1: *ret says where it is (its text is not kept);
 * 0: the tiles are gone or wrong too, or no line differs; -errno. */
int log_locate(int dirfd, const struct checkpoint *c, uint64_t from, struct log_line *ret) MUST_CHECK;
