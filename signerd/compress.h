/* SPDX-License-Identifier: MIT */
/* Makes <first>.jsonl.zst of a closed segment (common/evidence/zst_reader.h has the form) and deletes
 * <first>.jsonl once the other is durable and was read back. At every moment the directory holds the segment
 * whole; a crash leaves what the next call begins again from. */
#pragma once

#include <stdatomic.h>

#include "signerd/segments.h"

#define COMPRESS_LEVEL 6
#define COMPRESS_SYNC                                                                                        \
    (256u << 10) /* compressed bytes between two fdatasync(): a commit beside waits for no more */

/* stop: gives up with -ECANCELED soon after it is set. 0; -EBADMSG: the segment's lines are not whole (it
 * stays as it is); -errno. */
int compress_segment(int dirfd, uint64_t first, const atomic_bool *stop) MUST_CHECK;
