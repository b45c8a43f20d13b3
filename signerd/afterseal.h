/* SPDX-License-Identifier: MIT */
/* seal: batch: makes the signatures of bare lines that are durable already, in idle time, and puts them
 * beside their segment (docs/evidence.md, "Seal").
 *
 * The lines are read back from the disk, where somebody may have changed them: only one whose leaf hash is
 * the one that was accepted is signed. Of lines that an earlier process left unsigned the hashes are first
 * proven by the checkpoint that process signed. */
#pragma once

#include "common/evidence/checkpoint.h"
#include "proto/limits.h"
#include "signerd/keys.h"

#define AFTERSEAL_MAX (2u * LIMIT_UNSIGNED) /* lines that wait at most, also where nothing can be written */

struct afterseal;

/* size, root: the tree that is durable now, proven. Looks how far the signatures of the log in dirfd
 * (borrowed) go; at most LIMIT_UNSIGNED lines before size are signed later, older ones stay unsigned
 * (logged). 0 or -errno. */
int afterseal_new(int dirfd, struct keys *keys, uint64_t size, const uint8_t root[static DIGEST_LEN],
                  struct afterseal **ret) MUST_CHECK;
/* What was written is made durable. NULL-safe; returns NULL. */
struct afterseal *afterseal_free(struct afterseal *a);

/* The next line of the log became durable. 0 or -ENOMEM. Where AFTERSEAL_MAX wait the oldest one waits for
 * the next start instead (logged). */
int afterseal_add(struct afterseal *a, const uint8_t leaf[static DIGEST_LEN]) MUST_CHECK;

/* How many lines wait for their signature. */
uint64_t afterseal_waiting(const struct afterseal *a);

/* Signs the next n of them at most. 0; -EBADMSG: a line on the disk is not the one that was accepted (logged,
 * it and those before the next call stay as they are); -errno: tried again by the next call. */
int afterseal_step(struct afterseal *a, uint64_t n) MUST_CHECK;
