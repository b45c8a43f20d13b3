/* SPDX-License-Identifier: MIT */
/* What a verb hands out as a file: whole or not at all. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* Writes the bytes to path through a temporary file beside it, with this mode; NULL or "-" is standard
 * output. An exit status (ctl.h); a failure has been told. */
int outfile_write(const char *verb, const char *path, unsigned mode, struct str bytes) MUST_CHECK;

/* A file is put in the place of what has its name: that must be a file, or nothing. A device, a FIFO or a
 * link
 * (/dev/stdout is one) would be gone. 0; -EEXIST. */
int outfile_place_ok(const char *path) MUST_CHECK;

/* The same below a directory, for files of a log or of a tile tree; the folders on the way are made with
 * dir_mode. Synced, unless the caller does that for many files at once. 0 or -errno. */
struct outfile_at {
    int dirfd;
    unsigned mode, dir_mode;
    bool sync;
};
int outfile_replace_at(const struct outfile_at *o, const char *path, struct str bytes) MUST_CHECK;
