/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/evidence/log_verify.h"
#include "signerd/key_dir_internal.h"
#include "signerd/replace.h"

#define KEY_DIR_POLL_NS 20000000

/* Who may write there can put another key, or another public part, in the place of ours. */
static int key_dir_check(int dirfd)
{
    struct stat st;

    if (fstat(dirfd, &st) < 0)
        return -errno;
    return st.st_uid == geteuid() && (st.st_mode & 022) == 0 ? 0 : -EPERM;
}

static int key_dir_lock(int dir)
{
    const struct timespec pause = {.tv_nsec = KEY_DIR_POLL_NS};
    uint64_t until = clock_boottime_us() + KEY_DIR_LOCK_MS * 1000u;

    while (flock(dir, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -errno;
        if (clock_boottime_us() > until)
            return -EWOULDBLOCK;
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

static int key_dir_read(struct key_dir *d)
{
    size_t line = 0;
    int r = log_verify_read_file(d->dir, KEYSET_FILE, &d->text);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return log_errno(r == -ELOOP ? -EPERM : r, "cannot read keys/%s", KEYSET_FILE);
    r = keyset_chain_read(buf_str(&d->text), &d->chain, &line);
    if (r > 0) {
        log_error("keys/%s, line %zu: %s: restore it from a copy", KEYSET_FILE, line, keyset_error_text(r));
        return -EBADMSG;
    }
    return r;
}

int key_dir_open(int dirfd, struct key_dir *ret)
{
    int r = key_dir_check(dirfd);

    if (r < 0)
        return log_errno(r, "keys must be a directory of this user that nobody else may write");
    ret->chain.n = 0;
    buf_init(&ret->text, KEYSET_FILE_MAX);
    ret->dir = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret->dir < 0)
        return log_errno(-errno, "cannot open the directory of the keys");
    r = key_dir_lock(ret->dir);
    if (r < 0)
        (void)log_errno(r, "another process works on the keys and does not end");
    else
        r = key_dir_read(ret);
    if (r < 0)
        key_dir_done(ret);
    return r;
}

void key_dir_done(struct key_dir *d)
{
    cleanup_closep(&d->dir);
    d->dir = -EBADF;
    buf_done(&d->text);
}

/* ---- its files ---- */

void key_dir_name(const char *keyid, const char *suffix, char dst[static KEY_DIR_NAME])
{
    (void)snprintf(dst, KEY_DIR_NAME, "%.*s%s", KEY_DIR_ID_LEN, keyid + sizeof("sha256:") - 1, suffix);
}

int key_dir_open_file(const struct key_dir *d, const char *name, int flags)
{
    int fd = openat(d->dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    return fd < 0 ? (errno == ELOOP ? -EPERM : -errno) : fd;
}

int key_dir_write(const struct key_dir *d, const char *name, struct str bytes)
{
    struct replace once;
    char tmp[64];
    int r;

    (void)snprintf(tmp, sizeof(tmp), "%s.tmp", name);
    replace_init(&once, d->dir, name, tmp);
    r = replace_write(&once, bytes);
    replace_done(&once);
    return r;
}

int key_dir_wipe(const struct key_dir *d, const char *name)
{
    static const char zeros[KEY_STORE_LINE_LEN];
    _cleanup_close_ int fd = key_dir_open_file(d, name, O_WRONLY);

    if (fd == -ENOENT)
        return 0;
    if (fd >= 0 && (pwrite(fd, zeros, sizeof(zeros), 0) != (ssize_t)sizeof(zeros) || fdatasync(fd) < 0))
        return errno ? -errno : -EIO;
    return unlinkat(d->dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int key_dir_sync(const struct key_dir *d)
{
    return fsync(d->dir) < 0 ? -errno : 0;
}
