/* SPDX-License-Identifier: MIT */
/* What one can ask and do about the segments of a log's directory that are closed, and their sidecars
 * (<first>-<key>.sig, docs/evidence.md). No state; any thread. */
#pragma once

#include "common/evidence/log_reader.h"

/* The time of a segment's first line (epoch seconds). 0; -ENOENT: there is no such segment, or no line in it;
 * -EBADMSG: that line is none; -errno. */
int segment_since(int dirfd, uint64_t first, uint64_t *ret_epoch_s) MUST_CHECK;

/* Bytes of its file (of both forms together, where there are two). 0 or -errno. */
int segment_size(int dirfd, uint64_t first, uint64_t *ret) MUST_CHECK;

/* True when it exists uncompressed. */
bool segment_is_plain(int dirfd, uint64_t first);

/* Makes the sidecars of a segment durable. 0 or -errno. */
int segment_sync_sidecars(int dirfd, uint64_t first) MUST_CHECK;

/* Deletes a segment, durably, then its sidecars and those of segments before it. 0 or -errno. */
int segment_unlink(int dirfd, uint64_t first) MUST_CHECK;

/* Removes what an unfinished compression left behind, and sidecars of segments before `first`, the oldest
 * there is. What cannot be removed stays. */
void segment_sweep(int dirfd, uint64_t first);

#define SEGMENT_TMP     ZST_SUFFIX ".tmp" /* behind .jsonl: compression under way */
#define SEGMENT_TMP_MAX (LOG_SEGMENT_NAME_MAX + sizeof(SEGMENT_TMP) - 1)
void segment_tmp_name(uint64_t first, char dst[static SEGMENT_TMP_MAX]);
