/* SPDX-License-Identifier: MIT */
/* One small file that is replaced as a whole again and again, durably: new file, fdatasync, rename, fsync of
 * the directory. Who has opened it goes on reading what he opened; the name never shows anything half done.
 *
 * What does not need the new bytes is kept out of the way of the commit that waits for them:
 * replace_prepare() gets the next file its inode and its blocks beforehand, and gives those of the replaced
 * one back afterwards. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

struct replace {
    int dir; /* borrowed */
    const char *name, *tmp;
    int next; /* as tmp, with blocks of its own for `room` bytes; -EBADF: none is prepared */
    size_t room;
    int current,
        old; /* what has the name, and what had it: open, so that the rename need not free its blocks */
};

/* name and tmp: in the directory dir; all are borrowed. */
void replace_init(struct replace *r, int dir, const char *name, const char *tmp);

/* Removes what was prepared. */
void replace_done(struct replace *r);

/* 0: name holds exactly these bytes, durably. -ENOSPC and the like: nothing changed. -EIO: the new name may
 * be visible without being durable. */
int replace_write(struct replace *r, struct str bytes) MUST_CHECK;

#define REPLACE_ROOM_MAX 4096u /* bytes that are prepared at most */

/* Makes the next replacement cheap, if it has about n bytes. What fails here is tried again, and reported, by
 * replace_write(). */
void replace_prepare(struct replace *r, size_t n);
