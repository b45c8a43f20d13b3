/* SPDX-License-Identifier: MIT */
/* The small files of a ship's state: written whole and durably, read strictly, named without surprises. */
#pragma once

#include "common/base/buf.h"
#include "common/base/num.h"
#include "supervisor/ctl/ship_state.h"

/* Replaces name by these bytes. Only one process at a time writes into a directory: the temporary file has
 * one name. 0 or -errno; b's error. */
int ship_file_write(int dirfd, const char *name, const struct buf *b) MUST_CHECK;

/* Appends a regular file to b, whose max bounds it. 0, -ENOENT, -EFBIG, -errno. */
int ship_file_read(int dirfd, const char *name, struct buf *b) MUST_CHECK;

/* Takes a first line (with its LF), "name value\n", and the same with a number, off the front. False: not
 * there. */
bool ship_file_head(struct str *text, const char *line);
bool ship_file_field(struct str *text, const char *name, struct str *ret);
bool ship_file_number(struct str *text, const char *name, uint64_t *ret);

/* text with everything but A-Z a-z 0-9 _ - and inner dots as %XX, and suffix; "sha256-" and hex of the text
 * when that is longer than a file name may be. */
void ship_file_name(const char *text, const char *suffix, char dst[static SHIP_STATE_NAME_MAX + 1]);
