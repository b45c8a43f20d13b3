/* SPDX-License-Identifier: MIT */
/* The one thread that waits for the disk. The loop hands it a batch, it makes the batch durable, the loop
 * hears the result. */
#pragma once

#include <ev.h>

#include "signerd/disk.h"

struct commit;

/* From now on disk belongs to the thread (borrowed until commit_free). done is called from the loop, which
 * this keeps running: its owner breaks out of it. 0 or -errno. */
int commit_new(struct ev_loop *loop, struct disk *disk, void (*done)(void *self, int err), void *self,
               struct commit **ret) MUST_CHECK;

/* Starts one batch; everything it points to stays unchanged until done(). Only when none is under way. */
void commit_start(struct commit *c, const struct disk_batch *b);

/* Waits for a batch under way (whose done() is then not called) and ends the thread. NULL-safe; returns NULL.
 */
struct commit *commit_free(struct commit *c);
