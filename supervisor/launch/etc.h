/* SPDX-License-Identifier: MIT */
/* /etc of a cell: a layer above the host's /etc (overlayfs; Documentation/filesystems/overlayfs.rst) that
 * replaces what names the host's resolver and hides what no workload may read. A workload of the caller's own
 * uid could read whatever the caller can, so the rule looks at the mode for others, never at who asks. */
#pragma once

#include "common/base/buf.h"
#include "supervisor/launch/userns.h"

#define ETC_ENTRIES_MAX                                                                                      \
    65536u /* entries of the host's /etc that are looked at; more is an error, never a skipped one */
#define ETC_DEPTH_MAX 32u
#define ETC_FILE_MAX  (4u << 20) /* passwd, group */

/* True for names that hold secrets whatever their mode: shadow files, private keys, key tables. */
bool etc_name_is_secret(const char *name);

/* True when the entry has no place in a cell: a socket, FIFO or device, not readable by others, or a secret's
 * name. */
bool etc_is_hidden(const char *name, uint32_t mode);

/* The text of passwd(5) or group(5) with a row for the id appended when it has none: id is the third field of
 * both. row: without name, e.g. ":x:1000:1000::/tmp:/bin/sh". 1 when appended, 0 when there was one (b
 * untouched), -errno. */
int etc_with_row(struct str text, uint32_t id, const char *row, struct buf *b) MUST_CHECK;

/* Fills the empty directory at layer for the host's /etc at etc. ids: what the workload sees itself as. */
int etc_build_layer(int etc, int layer, const struct userns_workload *ids, struct fault *f) MUST_CHECK;

/* Writes hosts and hostname of one cell into dir as files of these names. */
int etc_write_names(int dir, const char *hostname) MUST_CHECK;
