/* SPDX-License-Identifier: MIT */
/* Reads the lines of a log directory: segments named <20-digit index of their first line>.jsonl, each a run
 * of lines that end in LF; closed ones also compressed (zst_reader.h) as <first>.jsonl.zst. Where both forms
 * of a segment exist the compressed one is not looked at. Memory is bounded by one line and the window of
 * one frame; nothing of a line is judged here but its length. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/evidence/zst_reader.h"

#define LOG_READER_LINE_MAX     65535 /* bytes without LF */
#define LOG_READER_SEGMENTS_MAX 1048576
#define LOG_SEGMENT_SUFFIX      ".jsonl"
#define LOG_SEGMENT_NAME_MAX    (20 + sizeof(LOG_SEGMENT_SUFFIX)) /* with NUL */
#define LOG_SEGMENT_ZST_MAX     (LOG_SEGMENT_NAME_MAX + sizeof(ZST_SUFFIX) - 1)

struct log_line {
    struct str text;       /* without LF; valid until the next call */
    uint64_t index;        /* in the log, from 0 */
    uint64_t segment;      /* first index of its segment: the file's name */
    uint64_t segment_line; /* in that file, from 1 */
    uint64_t offset;       /* of its first byte in that file, uncompressed */
    bool compressed;       /* that file is the .zst */
};

enum log_read {
    LOG_READ_END = 0,
    LOG_READ_LINE = 1,
    LOG_READ_TORN, /* the rest of a segment has no LF: ret->text is that rest (at most LINE_MAX + 1 bytes of
                      it) */
    LOG_READ_TOO_LONG,    /* a line over LOG_READER_LINE_MAX */
    LOG_READ_BAD_SEGMENT, /* a segment does not begin with the index that is due: ret->segment is its name */
    LOG_READ_DAMAGED,     /* a compressed segment (ret->segment) cannot be read on from line ret->index */
};

struct log_reader;

/* dirfd: the log's directory, borrowed. Reading starts with line `from`, without looking at segments before
 * it, nor (when it is compressed) at frames before it in its own; the first segment must begin at or below
 * it. 0; -ENOENT when there is no segment with that line's place; -EFBIG; -errno. */
int log_reader_open(int dirfd, uint64_t from, struct log_reader **ret) MUST_CHECK;

/* The same from the first line that retention has left (0 in most logs). */
int log_reader_open_oldest(int dirfd, struct log_reader **ret, uint64_t *ret_first) MUST_CHECK;

/* One file as the only segment of a log (tests, fuzzing). Takes fd. */
int log_reader_open_fd(int fd, uint64_t first, struct log_reader **ret) MUST_CHECK;
/* The same for a compressed one, from line `from` on (not below first). */
int log_reader_open_zst(int fd, uint64_t first, uint64_t from, struct log_reader **ret) MUST_CHECK;

/* An enum log_read or a negative errno. Behind LOG_READ_END it may be asked again, and then goes on with what
 * the log has grown by; everything else but LINE is final. */
int log_reader_next(struct log_reader *r, struct log_line *ret) MUST_CHECK;

struct log_reader *log_reader_free(struct log_reader *r); /* NULL-safe; returns NULL */
void log_reader_freep(struct log_reader **r);

/* The segments of a directory, ascending, each once whatever its forms. The caller frees *ret. The count, or
 * a negative errno. */
int log_reader_segments(int dirfd, uint64_t **ret) MUST_CHECK;

/* "<20 digits>.jsonl" */
void log_segment_name(uint64_t first, char dst[static LOG_SEGMENT_NAME_MAX]);
/* "<20 digits>.jsonl.zst" */
void log_segment_zst_name(uint64_t first, char dst[static LOG_SEGMENT_ZST_MAX]);
