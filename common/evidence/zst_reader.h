/* SPDX-License-Identifier: MIT */
/* Reads a closed segment: zstd frames (RFC 8878) one behind the other, each with the lines up to the next
 * index that is a multiple of ZST_FRAME_LINES. A frame says how long its content is, needs a window of at
 * most 2^ZST_WINDOW_LOG bytes and no dictionary; anything else (skippable frames too) is not a segment. So
 * memory is bounded whatever the file says, and frames can be passed over without decompressing them. */
#pragma once

#include <sys/types.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define ZST_SUFFIX      ".zst"
#define ZST_FRAME_LINES 256u
#define ZST_FRAME_MAX   (ZST_FRAME_LINES * 65536u) /* content of one frame: its lines at their longest */
#define ZST_WINDOW_LOG  20

struct zst_reader;

/* fd: the file, borrowed; read with pread(). first: the index of the segment's first line. 0 or -errno. */
int zst_reader_new(int fd, uint64_t first, struct zst_reader **ret) MUST_CHECK;
struct zst_reader *zst_reader_free(struct zst_reader *r); /* NULL-safe; returns NULL */

/* Before the first read: passes over the frames whose lines are all before `line`, believing that each holds
 * the lines it has to. *ret_line: the line that is read next; *ret_offset: its place in the content. 0;
 * -EBADMSG when a frame's form is wrong; -errno. */
int zst_reader_seek(struct zst_reader *r, uint64_t line, uint64_t *ret_line, uint64_t *ret_offset) MUST_CHECK;

/* The next bytes of the content, at most n > 0. 0 at the end; -EBADMSG: damaged, cut off, or a frame does not
 * hold the lines it has to (what was read of that frame before is then not to be relied on); -errno. */
ssize_t zst_reader_read(struct zst_reader *r, void *p, size_t n) MUST_CHECK;
