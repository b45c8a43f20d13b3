/* SPDX-License-Identifier: MIT */
/* From the directory to a log one may append to: a new one is laid out, an old one is brought back to its
 * longest good prefix behind the last checkpoint (decisions 39). */
#pragma once

#include "common/evidence/checkpoint.h"
#include "common/evidence/tile.h"
#include "signerd/disk.h"
#include "signerd/keys.h"

#define RECOVER_KEYSET_DUE "keyset.due" /* the log's keyset file is newer than its last keyset_changed */

struct recovered {
    bool fresh;         /* the log had no line and nothing torn: nothing needs to be sealed */
    struct tiles tiles; /* of all lines that count now */
    struct merkle tree;
    uint64_t kept;       /* good lines behind the checkpoint that were found, and are covered by it now */
    uint64_t torn_bytes; /* moved to torn/ */
    uint8_t torn_digest[DIGEST_LEN]; /* SHA-256 of these, when there are any */
    bool closed;                     /* there are segments besides the open one */
    bool keyset_changed;             /* the log has a newer keyset than it had: keyset_changed is due */
    struct buf note; /* the checkpoint that is on the disk now; the caller frees it (buf_done) */
};

/* 0; -EBADMSG when this is not a log that may be continued (the log line names the file and the remedy; exit
 * status 4); another negative errno (logged). */
int recover_log(struct disk *d, struct keys *keys, const char *origin, struct recovered *ret) MUST_CHECK;

/* The note over a tree, signed. Appends to b. 0 or b's error. */
int recover_note(struct keys *keys, const char *origin, const struct merkle *tree, struct buf *b) MUST_CHECK;
