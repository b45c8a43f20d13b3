/* SPDX-License-Identifier: MIT */
/* The lines of anything that can be read, of any length: a file, a pipe, a terminal. */
#pragma once

#include "common/base/buf.h"
#include "common/evidence/log_reader.h"

#define LINE_STREAM_BUFFER (256 * 1024)

/* Zeroed but for fd (borrowed); the buffer need not be. */
struct line_stream {
    int fd;
    bool eof;
    uint64_t lines, bytes;
    size_t pos, len;
    char buffer[LINE_STREAM_BUFFER];
};

/* Enough to see what it is: the first line, or as much of it as a buffer holds. Nothing of it is taken. 0 or
 * -errno. */
int line_stream_peek(struct line_stream *s, struct str *ret) MUST_CHECK;

/* As log_reader_next() (arg: the stream); the last line may lack its LF, since files that hold one event
 * often do. */
int line_stream_next(void *arg, struct log_line *ret) MUST_CHECK;

/* All that is left, up to max bytes; b is initialised here. 0 or -errno. */
int line_stream_rest(struct line_stream *s, size_t max, struct buf *b) MUST_CHECK;
