/* SPDX-License-Identifier: MIT */
#include "signerd/replace.h"

#include <fcntl.h>
#include <stdio.h>

#include "common/base/io.h"

void replace_init(struct replace *r, int dir, const char *name, const char *tmp)
{
    *r = (struct replace){
        .dir = dir, .name = name, .tmp = tmp, .next = -EBADF, .current = -EBADF, .old = -EBADF};
}

static void replace_close(int *fd)
{
    cleanup_closep(fd);
    *fd = -EBADF;
}

static void replace_drop(struct replace *r)
{
    replace_close(&r->next);
    (void)unlinkat(r->dir, r->tmp, 0);
}

void replace_done(struct replace *r)
{
    if (r->next >= 0)
        replace_drop(r);
    replace_close(&r->current);
    replace_close(&r->old);
}

static int replace_create(struct replace *r)
{
    if (unlinkat(r->dir, r->tmp, 0) < 0 && errno != ENOENT)
        return -errno;
    r->next = openat(r->dir, r->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    r->room = 0;
    return r->next < 0 ? -errno : 0;
}

/* fdatasync() leaves out the times only: the size and where the bytes are is part of it (fdatasync(2)). */
static int replace_next(struct replace *r, struct str bytes)
{
    int e = r->next < 0 ? replace_create(r) : 0;

    if (e == 0)
        e = io_pwrite_full(r->next, bytes.p, bytes.len, 0);
    if (e == 0 && r->room > bytes.len && ftruncate(r->next, (off_t)bytes.len) < 0)
        e = -errno;
    if (e == 0 && fdatasync(r->next) < 0)
        e = -errno;
    r->room = bytes.len;
    return e;
}

int replace_write(struct replace *r, struct str bytes)
{
    int e = replace_next(r, bytes);

    if (e == 0 && renameat(r->dir, r->tmp, r->dir, r->name) < 0)
        e = -errno;
    if (e < 0) {
        replace_drop(r);
        return e;
    }
    replace_close(&r->old);
    r->old = r->current;
    r->current = TAKE_FD(r->next);
    /* The new name is visible already: a failure here is never "nothing changed", whatever the kernel calls
     * it. */
    return fsync(r->dir) < 0 ? -EIO : 0;
}

void replace_prepare(struct replace *r, size_t n)
{
    static const char zeros[REPLACE_ROOM_MAX];
    const struct str room = {zeros, n < sizeof(zeros) ? n : sizeof(zeros)};

    replace_close(&r->old);
    if (r->next >= 0)
        return;
    if (replace_create(r) < 0)
        return;
    if (io_pwrite_full(r->next, room.p, room.len, 0) < 0 || fsync(r->next) < 0)
        replace_drop(r);
    else
        r->room = room.len;
}
