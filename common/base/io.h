/* SPDX-License-Identifier: MIT */
/* Whole reads and writes, sealed memfds, fd hygiene. All fds are CLOEXEC. */
#pragma once

#include "common/base/buf.h"

/* Writes all n bytes, retrying on EINTR and short writes. 0 or -errno. */
int io_write_full(int fd, const void *p, size_t n) MUST_CHECK;
/* The same at that offset of the file (pwrite(2)). */
int io_pwrite_full(int fd, const void *p, size_t n, uint64_t at) MUST_CHECK;

/* Appends everything up to end of file to b (whose max bounds it). 0 or -errno; -EFBIG when b's limit is
 * reached. */
int io_read_to_end(int fd, struct buf *b) MUST_CHECK;

/* A memfd with these bytes and all four seals (SEAL, SHRINK, GROW, WRITE): the fd (>= 0) or -errno. The
 * caller owns it. */
int io_memfd_sealed(const char *name, const void *p, size_t n) MUST_CHECK;

/* Reads a memfd that somebody else made: all four seals must be set, size from fstat and at most max. Appends
 * to b. 0; -EBADMSG when it is not such a memfd; -EFBIG over max; -errno. */
int io_memfd_read(int fd, size_t max, struct buf *b) MUST_CHECK;

/* Closes every fd >= from except the n listed in keep (any order). 0 or -errno. */
int io_close_from(int from, const int *keep, size_t n) MUST_CHECK;

/* From here on a write to fd, a pipe or a terminal, does not wait: fd becomes an open file description of our
 * own, opened again with O_NONBLOCK (which on the shared one would be everybody's), and as CLOEXEC as before.
 * 0; -EOPNOTSUPP for any other kind of file; -errno, e.g. -EACCES for another user's pipe; then fd is as it
 * was. */
int io_never_wait(int fd) MUST_CHECK;

/* Opens a path below dirfd that no symbolic link may lead away from: with openat2(2), or component by
 * component where there is none (Linux before 5.6, valgrind). Adds O_CLOEXEC. The fd or -errno; -ELOOP: there
 * is a link on the way, or it is one; -EXDEV: it begins with "/" or has "..". */
int io_open_beneath(int dirfd, const char *path, int flags, unsigned mode) MUST_CHECK;
