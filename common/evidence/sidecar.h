/* SPDX-License-Identifier: MIT */
/* The signatures of the bare lines of a log with seal: batch (docs/evidence.md, "Seal"): files beside a
 * segment, <first>-<16 hex digits of the key's id>.sig, 64 bytes a line. Here they are read; signerd writes
 * them. */
#pragma once

#include "common/base/buf.h"
#include "common/evidence/keyring.h"
#include "common/evidence/log_reader.h"

#define SIDECAR_KEYS_MAX 16 /* keys that signed lines of one segment */
#define SIDECAR_NAME_MAX (20 + 1 + 16 + sizeof(".sig"))

/* The file of a segment and a key; keyid is the DSSE keyid. */
void sidecar_name(uint64_t first, const char *keyid, char dst[static SIDECAR_NAME_MAX]);

/* True for such a name of the segment; *ret_key points to its 16 digits. */
bool sidecar_name_of(const char *name, uint64_t first, const char **ret_key);

struct sidecar_reader;

/* dirfd: the log's directory, borrowed. 0 or -ENOMEM. */
int sidecar_reader_new(int dirfd, struct sidecar_reader **ret) MUST_CHECK;
struct sidecar_reader *sidecar_reader_free(struct sidecar_reader *r); /* NULL-safe; returns NULL */
void sidecar_reader_freep(struct sidecar_reader **r);

/* The signature of a bare line and the key in the ring it names; nothing is verified. Lines of one segment
 * one after the other are cheap. 0; -ENODATA: not signed yet; -ENOKEY: signed by a key that is not in the
 * ring; -errno. */
int sidecar_read(struct sidecar_reader *r, const struct log_line *line, const struct keyring *ring,
                 const struct keyring_key **ret_key, uint8_t ret_sig[static ED25519_SIG_LEN]) MUST_CHECK;

/* How many lines of the segment have a place in its files: from there on none is signed. 0 or -errno. */
int sidecar_extent(struct sidecar_reader *r, uint64_t segment, uint64_t *ret) MUST_CHECK;

/* The line as it is shown to others: with dssematerial. A sealed line is that already. Appends to b. 0; as
 * sidecar_read(); -EBADMSG when the line is no event; b's error. */
int sidecar_sealed_line(struct sidecar_reader *r, const struct log_line *line, const struct keyring *ring,
                        struct buf *b) MUST_CHECK;
