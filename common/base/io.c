/* SPDX-License-Identifier: MIT */
#include "common/base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#endif

#define IO_CHUNK 65536u
#define IO_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int io_write_full(int fd, const void *p, size_t n)
{
    const uint8_t *b = p;
    while (n > 0) {
        ssize_t done = write(fd, b, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        if (done == 0)
            return -EIO;
        b += done;
        n -= (size_t)done;
    }
    return 0;
}

int io_pwrite_full(int fd, const void *p, size_t n, uint64_t at)
{
    const uint8_t *b = p;
    while (n > 0) {
        ssize_t done = pwrite(fd, b, n, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        if (done == 0)
            return -EIO;
        b += done;
        at += (uint64_t)done;
        n -= (size_t)done;
    }
    return 0;
}

static ssize_t read_retry(int fd, void *p, size_t n)
{
    ssize_t got;
    do {
        got = read(fd, p, n);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

int io_read_to_end(int fd, struct buf *b)
{
    if (b->err)
        return b->err;
    for (;;) {
        size_t room = b->len < b->max ? b->max - b->len : 0;
        if (room == 0) {
            uint8_t probe; /* exactly max bytes are fine: only one more shows that it was too much */
            ssize_t got = read_retry(fd, &probe, 1);
            return got > 0 ? -EFBIG : (int)got;
        }
        if (room > IO_CHUNK)
            room = IO_CHUNK;
        uint8_t *dst = buf_reserve(b, room);
        if (!dst)
            return b->err;
        ssize_t got = read_retry(fd, dst, room);
        if (got <= 0)
            return (int)got;
        b->len += (size_t)got;
    }
}

int io_memfd_sealed(const char *name, const void *p, size_t n)
{
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int r = io_write_full(fd, p, n);
    if (r < 0)
        return r;
    if (fcntl(fd, F_ADD_SEALS, IO_SEALS) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int io_memfd_read(int fd, size_t max, struct buf *b)
{
    if (fd < 0)
        return -EBADF;
    if (b->err)
        return b->err;
    /* The fd is the peer's: one that cannot be sealed (EINVAL) or read (EBADF) is its fault, not ours. */
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0)
        return errno == EINVAL || errno == EBADF ? -EBADMSG : -errno;
    if ((seals & IO_SEALS) != IO_SEALS)
        return -EBADMSG;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size < 0)
        return -EBADMSG;
    if ((uint64_t)st.st_size > max)
        return -EFBIG;
    size_t n = (size_t)st.st_size;
    uint8_t *dst = buf_reserve(b, n);
    if (!dst)
        return b->err == -ENOBUFS ? -EFBIG : b->err;
    for (size_t at = 0; at < n;) {
        ssize_t got = pread(fd, dst + at, n - at, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno == EBADF ? -EBADMSG : -errno;
        if (got == 0)
            return -EBADMSG;
        at += (size_t)got;
    }
    b->len += n;
    return 0;
}

int io_close_from(int from, const int *keep, size_t n)
{
    if (from < 0)
        return -EINVAL;
    unsigned lo = (unsigned)from;
    for (;;) {
        unsigned next = UINT_MAX; /* the lowest fd from lo on that stays */
        for (size_t i = 0; i < n; i++)
            if (keep[i] >= 0 && (unsigned)keep[i] >= lo && (unsigned)keep[i] < next)
                next = (unsigned)keep[i];
        if (next > lo && syscall(SYS_close_range, lo, next == UINT_MAX ? next : next - 1, 0) < 0)
            return -errno;
        if (next == UINT_MAX)
            return 0;
        lo = next + 1;
    }
}

int io_never_wait(int fd)
{
    char path[32];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISFIFO(st.st_mode) && !isatty(fd))
        return -EOPNOTSUPP;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    _cleanup_close_ int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int cloexec = fcntl(fd, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0;
    return own < 0 || dup3(own, fd, cloexec) < 0 ? -errno : 0;
}

/* One step of the walk: an O_PATH fd of the directory, or -errno. */
static int io_step(int dirfd, const char *name)
{
    _cleanup_close_ int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return S_ISLNK(st.st_mode) ? -ELOOP : S_ISDIR(st.st_mode) ? TAKE_FD(fd) : -ENOTDIR;
}

static int io_last_step(int dirfd, const char *name, int flags, unsigned mode)
{
    _cleanup_close_ int looked = -EBADF;
    int fd = openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);

    if (fd >= 0)
        return fd;
    if (errno != ENOTDIR)
        return -errno;
    looked = io_step(dirfd, name); /* O_DIRECTORY says that of a link too */
    return looked < 0 ? looked : -ENOTDIR;
}

/* What openat2(2) does here. Without ".." and links every step goes down. */
static int io_walk(int dirfd, const char *path, int flags, unsigned mode)
{
    _cleanup_close_ int dir = -EBADF;
    const char *slash;

    if (!*path)
        return -ENOENT;
    for (; (slash = strchr(path, '/')); path = slash + 1) {
        char name[NAME_MAX + 1] = "";
        int next;

        if (slash == path)
            continue;
        if ((size_t)(slash - path) > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, path, (size_t)(slash - path));
        next = io_step(dir < 0 ? dirfd : dir, name);
        if (next < 0)
            return next;
        cleanup_closep(&dir);
        dir = next;
    }
    return io_last_step(dir < 0 ? dirfd : dir, *path ? path : ".", flags, mode);
}

static bool io_goes_up(const char *path)
{
    if (path[0] == '/')
        return true;
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (at[0] == '.' && at[1] == '.' && (at[2] == '/' || !at[2]))
            return true;
    }
    return false;
}

int io_open_beneath(int dirfd, const char *path, int flags, unsigned mode)
{
    bool makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .mode = makes ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    if (io_goes_up(path))
        return -EXDEV;
    do
        fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
    while (fd < 0 && errno == EINTR);
    if (fd < 0 && errno == ENOSYS)
        return io_walk(dirfd, path, flags, mode);
    return fd < 0 ? -errno : (int)fd;
}
