/* SPDX-License-Identifier: MIT */
#include "signerd/afterseal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "common/base/log.h"
#include "common/evidence/sidecar.h"
#include "common/evidence/tile_reader.h"
#include "proto/limits.h"

#define AFTERSEAL_CHUNK 64u /* signatures that are written at once */

struct afterseal {
    int dirfd;
    struct keys *keys;
    struct log_reader *reader;
    int fd; /* of the signatures of segment */
    uint64_t segment;
    uint64_t next, end;          /* the lines whose leaves wait */
    uint8_t (*leaf)[DIGEST_LEN]; /* a ring; of line i at i % cap */
    size_t cap;                  /* a power of two, or 0 */
    uint8_t sig[AFTERSEAL_CHUNK][ED25519_SIG_LEN];
    uint64_t sig_first; /* the line of sig[0] */
    size_t nsig;
    struct buf material, pae;
};

struct afterseal *afterseal_free(struct afterseal *a)
{
    if (a) {
        log_reader_free(a->reader);
        cleanup_closep(&a->fd);
        buf_done(&a->material);
        buf_done(&a->pae);
        free(a->leaf);
        free(a);
    }
    return NULL;
}

uint64_t afterseal_waiting(const struct afterseal *a)
{
    return a->end - a->next;
}

/* ---- the ring ---- */

static int afterseal_grow(struct afterseal *a)
{
    size_t cap = a->cap ? 2 * a->cap : 1024;
    uint8_t(*more)[DIGEST_LEN] = calloc(cap, sizeof(*more));

    if (!more)
        return -ENOMEM;
    for (uint64_t i = a->next; i < a->end; i++)
        memcpy(more[i % cap], a->leaf[i % a->cap], DIGEST_LEN);
    free(a->leaf);
    a->leaf = more;
    a->cap = cap;
    return 0;
}

int afterseal_add(struct afterseal *a, const uint8_t leaf[static DIGEST_LEN])
{
    int r = a->end - a->next == a->cap ? afterseal_grow(a) : 0;

    if (r < 0)
        return r;
    memcpy(a->leaf[a->end++ % a->cap], leaf, DIGEST_LEN);
    return 0;
}

/* ---- the files ---- */

static int afterseal_open(struct afterseal *a, uint64_t segment)
{
    char name[SIDECAR_NAME_MAX];

    if (a->fd >= 0 && a->segment == segment)
        return 0;
    if (a->fd >= 0 && fdatasync(a->fd) < 0)
        return -errno;
    cleanup_closep(&a->fd);
    sidecar_name(segment, keys_keyid(a->keys), name);
    a->fd = openat(a->dirfd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    a->segment = segment;
    return a->fd < 0 ? -errno : 0;
}

/* Writes what has been signed, all of one segment. */
static int afterseal_flush(struct afterseal *a)
{
    size_t len = a->nsig * ED25519_SIG_LEN, done = 0;
    off_t at = (off_t)((a->sig_first - a->segment) * ED25519_SIG_LEN);

    while (done < len) {
        ssize_t n = pwrite(a->fd, (const uint8_t *)a->sig + done, len - done, at + (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    a->nsig = 0;
    return 0;
}

/* ---- signing ---- */

static int afterseal_sign(struct afterseal *a, const struct envelope *e, uint8_t ret[static ED25519_SIG_LEN])
{
    int r;

    buf_clear(&a->material);
    buf_clear(&a->pae);
    r = envelope_material(e, &a->material);
    if (r < 0)
        return r;
    dsse_pae(buf_str(&a->material), &a->pae);
    if (a->pae.err)
        return a->pae.err;
    keys_sign(a->keys, a->pae.data, a->pae.len, ret);
    return 0;
}

/* The line that is due, with its envelope. 0; -EBADMSG: it is not the one that was accepted; -errno. */
static int afterseal_read(struct afterseal *a, struct log_line *ret, struct envelope_line *ret_parsed)
{
    uint8_t leaf[DIGEST_LEN];
    int r = a->reader ? 0 : log_reader_open(a->dirfd, a->next, &a->reader);

    if (r == 0)
        r = log_reader_next(a->reader, ret);
    if (r == LOG_READ_LINE && ret->index == a->next) {
        merkle_leaf(ret->text.p, ret->text.len, leaf);
        if (memcmp(leaf, a->leaf[a->next % a->cap], DIGEST_LEN) == 0 &&
            envelope_parse(ret->text, ret_parsed) == ENVELOPE_OK)
            return 0;
    }
    a->reader = log_reader_free(a->reader);
    return r < 0 ? r : -EBADMSG;
}

static int afterseal_one(struct afterseal *a)
{
    struct envelope_line parsed;
    struct log_line line;
    int r = afterseal_read(a, &line, &parsed);

    if (r < 0)
        return r;
    if (a->nsig == AFTERSEAL_CHUNK || (a->nsig > 0 && line.segment != a->segment))
        r = afterseal_flush(a);
    if (r == 0)
        r = afterseal_open(a, line.segment);
    if (r < 0)
        return r;
    if (a->nsig == 0)
        a->sig_first = line.index;
    if (parsed.dssematerial.p) /* of a time when every line was signed at once */
        memset(a->sig[a->nsig], 0, ED25519_SIG_LEN);
    else
        r = afterseal_sign(a, &parsed.e, a->sig[a->nsig]);
    if (r == 0)
        a->nsig++;
    return r;
}

int afterseal_step(struct afterseal *a, uint64_t n)
{
    for (; n > 0 && a->next < a->end; n--) {
        int r = afterseal_one(a);

        if (r == -EBADMSG)
            log_error("line %" PRIu64 " of the log is not the one that was written: it is not signed",
                      a->next + 1);
        if (r < 0 && r != -EBADMSG) {
            a->reader = log_reader_free(a->reader); /* the line is read again */
            a->nsig = 0;
            return r;
        }
        a->next++;
        if (r < 0) {
            (void)!afterseal_flush(a);
            return r;
        }
    }
    return a->nsig > 0 ? afterseal_flush(a) : 0;
}

/* ---- what an earlier process left ---- */

/* How many lines of a segment have a place in one of its files already. */
static uint64_t afterseal_signed(int dirfd, uint64_t segment)
{
    _cleanup_(sidecar_reader_freep) struct sidecar_reader *r = NULL;
    uint64_t n = 0;

    return sidecar_reader_new(dirfd, &r) == 0 && sidecar_extent(r, segment, &n) == 0 ? n : 0;
}

/* Whether a segment without such a file needs one: its first line is bare. */
static bool afterseal_is_bare(int dirfd, uint64_t segment)
{
    _cleanup_(log_reader_freep) struct log_reader *r = NULL;
    struct envelope_line parsed;
    struct log_line l;

    return log_reader_open(dirfd, segment, &r) == 0 && log_reader_next(r, &l) == LOG_READ_LINE &&
           envelope_parse(l.text, &parsed) == ENVELOPE_OK && !parsed.dssematerial.p;
}

/* The first line without a signature, looked for from the end: lines are signed in order. */
static int afterseal_find(struct afterseal *a, uint64_t size, uint64_t *ret)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(a->dirfd, &segments);
    uint64_t end = size, next = size;

    if (n < 0)
        return n;
    while (n-- > 0 && size - next <= LIMIT_UNSIGNED) {
        uint64_t first = segments[n], have;

        if (first >= end)
            continue;
        have = afterseal_signed(a->dirfd, first);
        if (have == 0 && !afterseal_is_bare(a->dirfd, first))
            break;
        if (have < end - first)
            next = first + have;
        if (have > 0)
            break;
        end = first;
    }
    *ret = next;
    return 0;
}

/* Takes in the leaves of [a->next, size), which must lead to the signed root. */
static int afterseal_restore(struct afterseal *a, uint64_t size, const uint8_t root[static DIGEST_LEN])
{
    _cleanup_(tile_reader_freep) struct tile_reader *tiles = NULL;
    _cleanup_(log_reader_freep) struct log_reader *lines = NULL;
    uint8_t leaf[DIGEST_LEN], again[DIGEST_LEN];
    struct proof_source source;
    struct merkle tree;
    struct log_line l;
    int r = tile_reader_open(a->dirfd, size, TILE_READER_TILES, &tiles);

    if (r < 0)
        return r;
    source = tile_reader_source(tiles);
    r = proof_frontier(&source, a->next, &tree);
    if (r == 0)
        r = log_reader_open(a->dirfd, a->next, &lines);
    while (r == 0 && tree.size < size) {
        if (log_reader_next(lines, &l) != LOG_READ_LINE)
            return -EBADMSG;
        merkle_leaf(l.text.p, l.text.len, leaf);
        merkle_append(&tree, leaf);
        r = afterseal_add(a, leaf);
    }
    if (r < 0)
        return r;
    merkle_root(&tree, again);
    return memcmp(again, root, DIGEST_LEN) == 0 ? 0 : -EBADMSG;
}

static int afterseal_resume(struct afterseal *a, uint64_t size, const uint8_t root[static DIGEST_LEN])
{
    uint64_t next = size;
    int r = size > 0 ? afterseal_find(a, size, &next) : 0;

    if (r < 0)
        return r;
    if (size - next > LIMIT_UNSIGNED) {
        log_warning("%" PRIu64 " lines of the log have no signature of their own and get none: too many",
                    size - next - LIMIT_UNSIGNED);
        next = size - LIMIT_UNSIGNED;
    }
    a->next = a->end = next;
    r = next < size ? afterseal_restore(a, size, root) : 0;
    if (r < 0) {
        log_failed(LOG_WARNING, r,
                   "the last lines of the log are not signed one by one: they do not lead to its checkpoint");
        a->next = a->end = size;
    }
    return 0;
}

int afterseal_new(int dirfd, struct keys *keys, uint64_t size, const uint8_t root[static DIGEST_LEN],
                  struct afterseal **ret)
{
    struct afterseal *a = calloc(1, sizeof(*a));
    int r;

    if (!a)
        return -ENOMEM;
    a->dirfd = dirfd;
    a->keys = keys;
    a->fd = -EBADF;
    buf_init(&a->material, DSSE_MATERIAL_MAX);
    buf_init(&a->pae, 2 * DSSE_MATERIAL_MAX);
    r = afterseal_resume(a, size, root);
    if (r < 0) {
        afterseal_free(a);
        return r;
    }
    *ret = a;
    return 0;
}
