/* SPDX-License-Identifier: MIT */
#include "signerd/recover_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "common/base/log.h"
#include "common/evidence/link.h"
#include "common/evidence/log_check.h"
#include "signerd/segments.h"

int recover_tail(struct recover *v)
{
    _cleanup_(log_check_freep) struct log_check *check = log_check_new(&v->ret->tree);
    char why[LOG_CHECK_WHY_MAX] = "";
    struct log_line l;
    int r;

    if (!check)
        return -ENOMEM;
    v->kept_segment = v->segment;
    v->kept_from = v->end;
    for (;;) {
        struct log_check_line judged;

        r = v->reader ? log_reader_next(v->reader, &l) : LOG_READ_END;
        if (r != LOG_READ_LINE)
            break;
        log_check_alone(l.text, keys_ring(v->keys), NULL, &judged);
        /* Nothing vouches for a bare line before a checkpoint does, and none was acknowledged before that. */
        if (judged.error == ENVELOPE_OK && !judged.parsed.dssematerial.p)
            judged.error = ENVELOPE_E_UNSIGNED;
        /* A good line of another log of this key, put here by somebody without the key. */
        if (judged.error == ENVELOPE_OK && !link_id_ok(log_check_tree(check), judged.parsed.e.id))
            judged.error = ENVELOPE_E_ELSEWHERE;
        r = log_check_next(check, &judged, why);
        if (r == -EBADMSG) {
            log_warning("line %" PRIu64 " behind the checkpoint does not count: %s", l.index + 1, why);
            return 0;
        }
        if (r < 0)
            return r;
        tiles_append(&v->ret->tiles, judged.leaf, recover_store_tile, v);
        v->segment = l.segment;
        v->end = l.offset + l.text.len + 1;
        v->ret->kept++;
    }
    v->ret->tree = *log_check_tree(check);
    return r < 0 ? r : r == LOG_READ_DAMAGED ? -EBADMSG : 0;
}

/* Copies a file's bytes from `from` on into torn/, adding them to the digest under way. */
static int recover_copy(int from_fd, uint64_t from, int to_fd, uint64_t *ret_n)
{
    uint8_t chunk[RECOVER_CHUNK];
    uint64_t n = 0;

    for (;;) {
        ssize_t got = pread(from_fd, chunk, sizeof(chunk), (off_t)(from + n));
        int r;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        digest_add(chunk, (size_t)got);
        r = io_write_full(to_fd, chunk, (size_t)got);
        if (r < 0)
            return r;
        n += (size_t)got;
    }
    *ret_n = n;
    return fsync(to_fd) < 0 ? -errno : 0;
}

/* The name of the form that counts; true when that is the uncompressed one. */
static bool recover_name(const struct recover *v, uint64_t segment, char name[static LOG_SEGMENT_ZST_MAX])
{
    bool plain = segment_is_plain(disk_dirfd(v->disk), segment);

    if (plain)
        log_segment_name(segment, name);
    else
        log_segment_zst_name(segment, name);
    return plain;
}

/* What is torn has its name for good before the segment loses it. */
static int recover_sync_torn(int dir)
{
    _cleanup_close_ int torn = openat(dir, DISK_TORN, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (torn < 0)
        return -errno;
    return fsync(torn) < 0 || fsync(dir) < 0 ? -errno : 0;
}

/* The bytes of one segment from `from` on go to torn/<segment>-<from>; the segment keeps what is before. */
static int recover_tear(struct recover *v, uint64_t segment, uint64_t from)
{
    _cleanup_close_ int fd = -EBADF, out = -EBADF;
    char name[LOG_SEGMENT_ZST_MAX], path[96];
    int dir = disk_dirfd(v->disk), r;
    uint64_t n = 0;
    struct stat st;

    if (!recover_name(v, segment, name) && from > 0)
        return 0; /* closed, and so all of it was good */
    fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if ((uint64_t)st.st_size <= from)
        return 0;
    if (mkdirat(dir, DISK_TORN, 0700) < 0 && errno != EEXIST)
        return -errno;
    for (unsigned i = 0; out < 0; i++) { /* an earlier recovery may have torn at the same place */
        (void)snprintf(path, sizeof(path), DISK_TORN "/%020" PRIu64 "-%020" PRIu64 "-%u", segment, from, i);
        out = openat(dir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (out < 0 && errno != EEXIST)
            return -errno;
    }
    r = recover_copy(fd, from, out, &n);
    if (r == 0)
        r = recover_sync_torn(dir);
    if (r < 0)
        return r;
    if (ftruncate(fd, (off_t)from) < 0 || fsync(fd) < 0)
        return -errno;
    v->ret->torn_bytes += n;
    log_warning("%" PRIu64 " unfinished bytes at the end of the log were moved to %s", n, path);
    return 0;
}

int recover_cut(struct recover *v)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(disk_dirfd(v->disk), &segments), r = 0;
    char name[LOG_SEGMENT_ZST_MAX];

    if (n < 0)
        return n;
    digest_begin();
    for (int i = 0; i < n && r == 0; i++) {
        bool last = segments[i] == v->segment && (v->ret->tiles.size > 0 || i == 0);

        if (segments[i] < v->segment)
            continue;
        r = recover_tear(v, segments[i], last ? v->end : 0);
        /* An empty one with the next line's index is what a crash right after a roll-over leaves: it is used.
         */
        if (r == 0 && !last && segments[i] != v->ret->tiles.size) {
            (void)recover_name(v, segments[i], name);
            if (unlinkat(disk_dirfd(v->disk), name, 0) < 0)
                r = -errno;
        }
    }
    digest_end(v->ret->torn_digest);
    return r;
}
