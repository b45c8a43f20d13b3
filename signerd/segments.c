/* SPDX-License-Identifier: MIT */
#include "signerd/segments.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/dir.h"
#include "common/base/num.h"
#include "common/evidence/envelope.h"
#include "common/evidence/sidecar.h"

void segment_tmp_name(uint64_t first, char dst[static SEGMENT_TMP_MAX])
{
    (void)snprintf(dst, SEGMENT_TMP_MAX, "%020" PRIu64 LOG_SEGMENT_SUFFIX SEGMENT_TMP, first);
}

int segment_since(int dirfd, uint64_t first, uint64_t *ret_epoch_s)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    struct envelope_line e;
    struct log_line line;
    int r = log_reader_open(dirfd, first, &reader);

    if (r < 0)
        return r;
    r = log_reader_next(reader, &line);
    if (r == LOG_READ_END)
        return -ENOENT;
    if (r != LOG_READ_LINE)
        return r < 0 ? r : -EBADMSG;
    if (line.segment != first || line.index != first || envelope_parse(line.text, &e) != ENVELOPE_OK)
        return -EBADMSG;
    return clock_parse_rfc3339(e.e.time, ret_epoch_s);
}

/* The two names a segment may have. */
static const char *segment_form(uint64_t first, unsigned form, char dst[static LOG_SEGMENT_ZST_MAX])
{
    if (form == 0)
        log_segment_name(first, dst);
    else
        log_segment_zst_name(first, dst);
    return dst;
}

int segment_size(int dirfd, uint64_t first, uint64_t *ret)
{
    char name[LOG_SEGMENT_ZST_MAX];
    uint64_t size = 0;

    for (unsigned form = 0; form < 2; form++) {
        _cleanup_close_ int fd =
            openat(dirfd, segment_form(first, form, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;

        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0 || fstat(fd, &st) < 0)
            return -errno;
        size += (uint64_t)st.st_size;
    }
    *ret = size;
    return 0;
}

bool segment_is_plain(int dirfd, uint64_t first)
{
    char name[LOG_SEGMENT_NAME_MAX];
    _cleanup_close_ int fd = -EBADF;

    log_segment_name(first, name);
    fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0;
}

/* ---- names in the directory ---- */

static bool name_begins_with_index(const char *name, uint64_t *ret)
{
    size_t zeros = 0;

    if (strlen(name) <= 20)
        return false;
    while (zeros < 19 && name[zeros] == '0')
        zeros++;
    return num_parse_u64((struct str){name + zeros, 20 - zeros}, 0, UINT64_MAX, ret) == 0;
}

static bool name_is_sidecar(const char *name, uint64_t index)
{
    const char *key;

    return sidecar_name_of(name, index, &key);
}

/* Calls fn for every file of the directory that has a segment's index in front. 0 or the first error. */
static int segment_each(int dirfd, int (*fn)(int dirfd, const char *name, uint64_t index, uint64_t arg),
                        uint64_t arg)
{
    _cleanup_(dir_closep) DIR *dir = NULL;
    int r = dir_open(dirfd, ".", &dir);

    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        uint64_t index;

        if (name_begins_with_index(e->d_name, &index))
            r = fn(dirfd, e->d_name, index, arg);
    }
    return r;
}

static int sidecar_sync(int dirfd, const char *name, uint64_t index, uint64_t first)
{
    _cleanup_close_ int fd = -EBADF;

    if (index != first || !name_is_sidecar(name, index))
        return 0;
    fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return fdatasync(fd) < 0 ? -errno : 0;
}

int segment_sync_sidecars(int dirfd, uint64_t first)
{
    return segment_each(dirfd, sidecar_sync, first);
}

static int segment_sweep_one(int dirfd, const char *name, uint64_t index, uint64_t first)
{
    if ((index < first && name_is_sidecar(name, index)) ||
        strcmp(name + 20, LOG_SEGMENT_SUFFIX SEGMENT_TMP) == 0)
        (void)unlinkat(dirfd, name, 0);
    return 0;
}

void segment_sweep(int dirfd, uint64_t first)
{
    (void)!segment_each(dirfd, segment_sweep_one, first);
}

int segment_unlink(int dirfd, uint64_t first)
{
    char name[LOG_SEGMENT_ZST_MAX];

    for (unsigned form = 0; form < 2; form++)
        if (unlinkat(dirfd, segment_form(first, form, name), 0) < 0 && errno != ENOENT)
            return -errno;
    if (fsync(dirfd) < 0)
        return -errno;
    segment_sweep(dirfd, first + 1);
    return 0;
}
