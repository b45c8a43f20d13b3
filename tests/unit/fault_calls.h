/* SPDX-License-Identifier: MIT */
/* The system calls of a test program that change or read files, put in front of the C library's: below one
 * directory they are written into a journal, and may fail, be interrupted, stop half way, or be the last
 * thing the process does. The product's own code is not changed for this: it is linked as it is. Included by
 * one source file of a program. */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "tests/unit/fault_clock.h"
#include "tests/unit/fault_journal.h"

enum fault_call {
    FAULT_OPEN = 1 << 0,
    FAULT_READ = 1 << 1,
    FAULT_WRITE = 1 << 2,
    FAULT_SYNC = 1 << 3,
    FAULT_RENAME = 1 << 4,
    FAULT_UNLINK = 1 << 5,
    FAULT_TRUNCATE = 1 << 6,
    FAULT_ALLOCATE = 1 << 7,
    FAULT_MKDIR = 1 << 8,
    FAULT_CHANGES = FAULT_WRITE | FAULT_SYNC | FAULT_RENAME | FAULT_UNLINK | FAULT_TRUNCATE | FAULT_ALLOCATE |
                    FAULT_MKDIR,
    FAULT_ALL = FAULT_CHANGES | FAULT_OPEN | FAULT_READ,
    FAULT_SPACE = FAULT_WRITE | FAULT_ALLOCATE | FAULT_RENAME |
                  FAULT_MKDIR, /* what a full disk refuses; and creating */
};

struct fault_plan {
    unsigned calls;    /* enum fault_call: which ones count; 0: nothing happens */
    uint64_t from;     /* the first one it happens to, from 1 */
    uint64_t n;        /* to so many; 0: to all from then on */
    int err;           /* they fail with this errno; 0: */
    bool kill;         /* the process kills itself before it */
    bool kill_after;   /* and after it */
    bool storm;        /* every other one of them is interrupted first */
    bool halves;       /* reads and writes move half of what they should */
    bool creates_only; /* of FAULT_OPEN only what creates */
};

static struct {
    pthread_mutex_t lock;
    struct journal *journal; /* NULL: everything passes */
    dev_t dev;
    struct fault_plan plan;
    uint64_t count, happened; /* calls that counted, and that failed */
    bool interrupted;         /* the last one was: let the next pass */
} faults = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* From now on the calls below dirfd are recorded. Nobody may be writing there at this moment. */
static inline void faults_record(struct journal *j, int dirfd)
{
    struct stat st;

    journal_init(j, dirfd);
    assert_int_equal(fstat(dirfd, &st), 0);
    pthread_mutex_lock(&faults.lock);
    faults.journal = j;
    faults.dev = st.st_dev;
    faults.plan = (struct fault_plan){.calls = 0};
    pthread_mutex_unlock(&faults.lock);
}

static inline void faults_stop(void)
{
    pthread_mutex_lock(&faults.lock);
    faults.journal = NULL;
    faults.plan = (struct fault_plan){.calls = 0};
    pthread_mutex_unlock(&faults.lock);
}

static inline void faults_plan(struct fault_plan p)
{
    pthread_mutex_lock(&faults.lock);
    faults.plan = p;
    faults.count = faults.happened = 0;
    faults.interrupted = false;
    pthread_mutex_unlock(&faults.lock);
}

/* A point in the journal that the test will ask for. */
static inline void faults_mark(uint64_t number)
{
    pthread_mutex_lock(&faults.lock);
    if (faults.journal)
        journal_op_add(faults.journal, JOURNAL_MARK, 0)->at = number;
    pthread_mutex_unlock(&faults.lock);
}

/* ---- inside: all with the lock held ---- */

static inline int faults_node_of(int fd)
{
    struct stat st;

    if (!faults.journal || fd < 0 || fstat(fd, &st) < 0 || st.st_dev != faults.dev)
        return -1;
    return journal_node_find(faults.journal, st.st_ino);
}

/* The node of path's directory; the last name of path in *ret_name. */
static inline int faults_dir_of(int dirfd, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    char dir[JOURNAL_NAME * 2];
    struct stat st;

    *ret_name = slash ? slash + 1 : path;
    if (!slash)
        return faults_node_of(dirfd);
    if (faults_node_of(dirfd) < 0)
        return -1;
    (void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
    return fstatat(dirfd, dir, &st, 0) < 0 ? -1 : journal_node_find(faults.journal, st.st_ino);
}

static inline int faults_node_at(int dirfd, const char *path)
{
    struct stat st;

    return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -1
                                                              : journal_node_find(faults.journal, st.st_ino);
}

/* Whether the plan means this call: the errno it gets, or 0. */
static inline int faults_meet(enum fault_call call)
{
    const struct fault_plan *p = &faults.plan;

    if (!(p->calls & call))
        return 0;
    if (p->storm && !faults.interrupted) {
        faults.interrupted = true;
        return EINTR;
    }
    faults.interrupted = false;
    faults.count++;
    if (p->from == 0 || faults.count < p->from || (p->n > 0 && faults.count >= p->from + p->n))
        return 0;
    if (p->kill)
        (void)kill(getpid(), SIGKILL);
    faults.happened++;
    return p->err;
}

static inline void faults_left(enum fault_call call)
{
    if (faults.plan.kill_after && (faults.plan.calls & call) && faults.count == faults.plan.from)
        (void)kill(getpid(), SIGKILL);
}

#define FAULTS_ENTER(known, call)                                                                            \
    pthread_mutex_lock(&faults.lock);                                                                        \
    int node = (known);                                                                                      \
    int fault = node < 0 ? 0 : faults_meet(call);                                                            \
    if (fault) {                                                                                             \
        pthread_mutex_unlock(&faults.lock);                                                                  \
        errno = fault;                                                                                       \
        return -1;                                                                                           \
    }

#define FAULTS_LEAVE(result, call)                                                                           \
    int saved = errno;                                                                                       \
    if (node >= 0)                                                                                           \
        faults_left(call);                                                                                   \
    pthread_mutex_unlock(&faults.lock);                                                                      \
    errno = saved;                                                                                           \
    return result

/* As a file system does, not in the middle of what is small and aligned. */
static inline size_t faults_half(size_t n)
{
    size_t half = n / 2 < 64 ? n / 2 : n / 2 - n / 2 % 64;

    return faults.plan.halves && n > 64 ? half : n;
}

/* ---- the calls ---- */

static int faults_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    const char *name;
    bool creates = flags & O_CREAT;

    pthread_mutex_lock(&faults.lock);
    int node = faults.journal ? faults_dir_of(dirfd, path, &name) : -1;
    int fault = node < 0 || (faults.plan.creates_only && !creates) ? 0 : faults_meet(FAULT_OPEN);
    int before = node < 0 ? -1 : faults_node_at(dirfd, path);
    int fd = fault ? -1 : (int)syscall(SYS_openat, dirfd, path, flags, mode);
    int saved = fault ? fault : errno;
    struct stat st;
    if (fd >= 0 && node >= 0 && creates && before < 0 && fstat(fd, &st) == 0) {
        unsigned made = journal_node_add(faults.journal, st.st_ino, false);
        struct journal_op *op = journal_op_add(faults.journal, JOURNAL_LINK, (unsigned)node);
        (void)snprintf(op->name, sizeof(op->name), "%s", name);
        op->target = made;
    } else if (fd >= 0 && before >= 0 && flags & O_TRUNC) {
        journal_op_add(faults.journal, JOURNAL_SIZE, (unsigned)before);
    }
    if (node >= 0 && !(faults.plan.creates_only && !creates))
        faults_left(FAULT_OPEN);
    pthread_mutex_unlock(&faults.lock);
    errno = saved;
    return fd;
}

int openat(int dirfd, const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    return faults_openat(dirfd, path, flags, mode);
}

/* What openat() without a mode is called in code that is compiled with _FORTIFY_SOURCE. */
int faults_openat_2(int dirfd, const char *path, int flags) __asm__("__openat_2");
int faults_openat_2(int dirfd, const char *path, int flags)
{
    return faults_openat(dirfd, path, flags, 0);
}

ssize_t read(int fd, void *p, size_t n)
{
    FAULTS_ENTER(faults_node_of(fd), FAULT_READ)
    if (node >= 0)
        n = faults_half(n);
    pthread_mutex_unlock(&faults.lock); /* may wait */
    return syscall(SYS_read, fd, p, n);
}

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    FAULTS_ENTER(faults_node_of(fd), FAULT_READ)
    if (node >= 0)
        n = faults_half(n);
    pthread_mutex_unlock(&faults.lock);
    return syscall(SYS_pread64, fd, p, n, at);
}

static inline void faults_wrote(int node, const void *p, ssize_t n, off_t at)
{
    if (node < 0 || n <= 0)
        return;
    struct journal_op *op = journal_op_add(faults.journal, JOURNAL_WRITE, (unsigned)node);
    op->at = (uint64_t)at;
    buf_init(&op->data, JOURNAL_FILE);
    buf_put(&op->data, p, (size_t)n);
    if (op->data.err)
        abort();
}

ssize_t write(int fd, const void *p, size_t n)
{
    FAULTS_ENTER(faults_node_of(fd), FAULT_WRITE)
    if (node < 0) {
        pthread_mutex_unlock(&faults.lock); /* may wait */
        return syscall(SYS_write, fd, p, n);
    }
    ssize_t done = syscall(SYS_write, fd, p, faults_half(n));
    faults_wrote(node, p, done, done > 0 ? lseek(fd, 0, SEEK_CUR) - done : 0);
    FAULTS_LEAVE(done, FAULT_WRITE);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    FAULTS_ENTER(faults_node_of(fd), FAULT_WRITE)
    ssize_t done = syscall(SYS_pwrite64, fd, p, node < 0 ? n : faults_half(n), at);
    faults_wrote(node, p, done, at);
    FAULTS_LEAVE(done, FAULT_WRITE);
}

static int faults_sync(int fd, long number)
{
    pthread_mutex_lock(&faults.lock);
    int node = faults_node_of(fd), fault = node < 0 ? 0 : faults_meet(FAULT_SYNC);
    int r = fault ? -1 : (int)syscall(number, fd), saved = fault ? fault : errno;
    if (node >= 0 && (r == 0 || (fault == EIO && !faults.journal->node[node].dir)))
        journal_op_add(faults.journal, r == 0 ? JOURNAL_SYNC : JOURNAL_LOST, (unsigned)node);
    if (node >= 0)
        faults_left(FAULT_SYNC);
    pthread_mutex_unlock(&faults.lock);
    errno = saved;
    return r;
}

int fsync(int fd)
{
    return faults_sync(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return faults_sync(fd, SYS_fdatasync);
}

int ftruncate(int fd, off_t size)
{
    FAULTS_ENTER(faults_node_of(fd), FAULT_TRUNCATE)
    int r = (int)syscall(SYS_ftruncate, fd, size);
    if (r == 0 && node >= 0)
        journal_op_add(faults.journal, JOURNAL_SIZE, (unsigned)node)->at = (uint64_t)size;
    FAULTS_LEAVE(r, FAULT_TRUNCATE);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    FAULTS_ENTER(faults_node_of(fd), FAULT_ALLOCATE)
    int r = (int)syscall(SYS_fallocate, fd, mode, at, n);
    struct stat st;
    if (r == 0 && node >= 0 && !(mode & FALLOC_FL_KEEP_SIZE) && fstat(fd, &st) == 0)
        journal_op_add(faults.journal, JOURNAL_SIZE, (unsigned)node)->at = (uint64_t)st.st_size;
    FAULTS_LEAVE(r, FAULT_ALLOCATE);
}

static int faults_rename(int dir, const char *from, int dir2, const char *to, unsigned flags)
{
    const char *name, *name2;
    FAULTS_ENTER(faults.journal ? faults_dir_of(dir, from, &name) : -1, FAULT_RENAME)
    int node2 = node < 0 ? -1 : faults_dir_of(dir2, to, &name2);
    int target = node < 0 ? -1 : faults_node_at(dir, from),
        target2 = node < 0 ? -1 : faults_node_at(dir2, to);
    int r = (int)syscall(SYS_renameat2, dir, from, dir2, to, flags);
    if (r == 0 && node >= 0 && node2 >= 0) {
        if ((flags & ~(unsigned)RENAME_EXCHANGE) != 0 || target < 0)
            abort(); /* not modelled */
        struct journal_op *op =
            journal_op_add(faults.journal, flags ? JOURNAL_SWAP : JOURNAL_RENAME, (unsigned)node);
        op->dir2 = (unsigned)node2;
        op->target = (unsigned)target;
        op->target2 = (unsigned)target2;
        (void)snprintf(op->name, sizeof(op->name), "%s", name);
        (void)snprintf(op->name2, sizeof(op->name2), "%s", name2);
    }
    FAULTS_LEAVE(r, FAULT_RENAME);
}

int renameat(int dir, const char *from, int dir2, const char *to)
{
    return faults_rename(dir, from, dir2, to, 0);
}

int renameat2(int dir, const char *from, int dir2, const char *to, unsigned flags)
{
    return faults_rename(dir, from, dir2, to, flags);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    const char *name;
    FAULTS_ENTER(faults.journal ? faults_dir_of(dirfd, path, &name) : -1, FAULT_UNLINK)
    int r = (int)syscall(SYS_unlinkat, dirfd, path, flags);
    if (r == 0 && node >= 0)
        (void)snprintf(journal_op_add(faults.journal, JOURNAL_UNLINK, (unsigned)node)->name, JOURNAL_NAME,
                       "%s", name);
    FAULTS_LEAVE(r, FAULT_UNLINK);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
    const char *name;
    struct stat st;
    FAULTS_ENTER(faults.journal ? faults_dir_of(dirfd, path, &name) : -1, FAULT_MKDIR)
    int r = (int)syscall(SYS_mkdirat, dirfd, path, mode);
    if (r == 0 && node >= 0 && fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        unsigned made = journal_node_add(faults.journal, st.st_ino, true);
        struct journal_op *op = journal_op_add(faults.journal, JOURNAL_LINK, (unsigned)node);
        op->target = made;
        (void)snprintf(op->name, sizeof(op->name), "%s", name);
    }
    FAULTS_LEAVE(r, FAULT_MKDIR);
}

/* Calls that would go past the journal: a log that begins to use one must be taught here first. */
static int faults_unknown(int fd)
{
    pthread_mutex_lock(&faults.lock);
    if (faults_node_of(fd) >= 0)
        abort();
    pthread_mutex_unlock(&faults.lock);
    return 0;
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    (void)faults_unknown(fd);
    return syscall(SYS_pwritev, fd, v, n, at, 0);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    (void)faults_unknown(fd);
    return syscall(SYS_writev, fd, v, n);
}

ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t n, unsigned flags)
{
    (void)faults_unknown(out);
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, n, flags);
}
