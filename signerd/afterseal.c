/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "common/base/log.h"
#include "common/evidence/merkle.h"
#include "common/evidence/sidecar.h"
#include "signerd/afterseal_internal.h"

/* The signatures that were written are durable with their file's name. 0 or -errno. */
static int afterseal_sync(struct afterseal *a)
{
    if (a->unsynced == 0)
        return 0;
    if (fdatasync(a->fd) < 0 || fsync(a->dirfd) < 0)
        return -errno;
    a->unsynced = 0;
    return 0;
}

struct afterseal *afterseal_free(struct afterseal *a)
{
    if (a) {
        int r = afterseal_sync(a);

        if (r < 0)
            log_failed(LOG_WARNING, r, "the last signatures of the log's lines may not be durable");
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
    for (uint64_t i = a->next; a->cap > 0 && i < a->end; i++)
        memcpy(more[i % cap], a->leaf[i % a->cap], DIGEST_LEN);
    free(a->leaf);
    a->leaf = more;
    a->cap = cap;
    return 0;
}

/* While signatures cannot be written the oldest line gives way. */
static void afterseal_drop(struct afterseal *a)
{
    if (a->dropped++ == 0)
        log_error("the signatures of the log's lines cannot be written: those from line %" PRIu64
                  " on wait for the next start",
                  a->next + 1);
    a->reader = log_reader_free(a->reader);
    a->next++;
}

int afterseal_add(struct afterseal *a, const uint8_t leaf[static DIGEST_LEN])
{
    int r;

    if (a->end - a->next >= AFTERSEAL_MAX)
        afterseal_drop(a);
    r = a->end - a->next == a->cap ? afterseal_grow(a) : 0;

    if (r < 0)
        return r;
    memcpy(a->leaf[a->end++ % a->cap], leaf, DIGEST_LEN);
    return 0;
}

/* ---- the files ---- */

/* A file is left behind durable, with its name: at a start only the last LIMIT_UNSIGNED lines are looked at.
 */
static int afterseal_open(struct afterseal *a, uint64_t segment)
{
    char name[SIDECAR_NAME_MAX];
    int r;

    if (a->fd >= 0 && a->segment == segment)
        return 0;
    r = afterseal_sync(a);
    if (r < 0)
        return r;
    cleanup_closep(&a->fd);
    sidecar_name(segment, keys_keyid(a->keys), name);
    a->fd = openat(a->dirfd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    a->segment = segment;
    return a->fd < 0 ? -errno : 0;
}

static int afterseal_write(struct afterseal *a)
{
    int r = io_pwrite_full(a->fd, a->sig, a->n * ED25519_SIG_LEN, (a->first - a->segment) * ED25519_SIG_LEN);

    if (r < 0)
        return r;
    a->unsynced += a->n;
    return a->unsynced < AFTERSEAL_SYNC ? 0 : afterseal_sync(a);
}

/* ---- signing ---- */

static int afterseal_read_once(struct afterseal *a, uint64_t index, struct log_line *ret,
                               struct envelope_line *ret_parsed)
{
    uint8_t leaf[DIGEST_LEN];
    int r = a->reader ? 0 : log_reader_open(a->dirfd, index, &a->reader);

    if (r == 0)
        r = log_reader_next(a->reader, ret);
    if (r == LOG_READ_LINE && ret->index == index) {
        merkle_leaf(ret->text.p, ret->text.len, leaf);
        if (memcmp(leaf, a->leaf[index % a->cap], DIGEST_LEN) == 0 &&
            envelope_parse(ret->text, ret_parsed) == ENVELOPE_OK)
            return 0;
    }
    a->reader = log_reader_free(a->reader);
    return r < 0 ? r : -EBADMSG;
}

/* The line that is due, with its envelope. 0; -EBADMSG: it is not the one that was accepted; -errno. A reader
 * reads ahead, also lines that a full disk then did not take: what is wrong is read once more. */
static int afterseal_read(struct afterseal *a, uint64_t index, struct log_line *ret,
                          struct envelope_line *ret_parsed)
{
    bool ahead = a->reader != NULL;
    int r = afterseal_read_once(a, index, ret, ret_parsed);

    return r == -EBADMSG && ahead ? afterseal_read_once(a, index, ret, ret_parsed) : r;
}

/* What an earlier process left under an older key may be from before the time in which ours counts: such a
 * line stays as it is, the checkpoints of its time vouch for it. */
bool afterseal_may_sign(const struct afterseal *a, const struct envelope *e)
{
    uint64_t when;

    return clock_parse_rfc3339(e->time, &when) == 0 && keys_count_at(a->keys, when);
}

static int afterseal_prepare_line(struct afterseal *a, const struct log_line *line,
                                  const struct envelope_line *parsed)
{
    int r = 0;

    if (a->n == 0) {
        r = afterseal_open(a, line->segment);
        a->first = line->index;
    }
    if (r == 0 && !parsed->dssematerial.p && afterseal_may_sign(a, &parsed->e)) {
        buf_clear(&a->material);
        r = envelope_material(&parsed->e, &a->material);
        dsse_pae(buf_str(&a->material), &a->pae);
    }
    if (r == 0)
        r = a->pae.err;
    if (r == 0)
        a->pae_end[a->n++] = a->pae.len;
    return r;
}

/* Collects lines of one segment, up to n. 0; -EBADMSG: the one behind them is wrong; -errno. */
static int afterseal_prepare(struct afterseal *a, uint64_t n)
{
    struct envelope_line parsed;
    struct log_line line = {.index = 0};

    a->n = 0;
    buf_clear(&a->pae);
    for (uint64_t i = a->next; a->n < n && a->n < AFTERSEAL_CHUNK && i < a->end; i++) {
        int r = afterseal_read(a, i, &line, &parsed);

        if (r < 0)
            return r;
        if (a->n > 0 && line.segment != a->segment) {
            a->reader = log_reader_free(a->reader); /* it is read again, as the first of its segment */
            return 0;
        }
        r = afterseal_prepare_line(a, &line, &parsed);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Only here the key is open. */
static void afterseal_sign(struct afterseal *a)
{
    size_t from = 0;

    keys_sign_begin(a->keys);
    for (size_t i = 0; i < a->n; from = a->pae_end[i++])
        if (a->pae_end[i] > from)
            keys_sign(a->keys, a->pae.data + from, a->pae_end[i] - from, a->sig[i]);
        else
            memset(a->sig[i], 0, ED25519_SIG_LEN);
    keys_sign_end(a->keys);
}

int afterseal_step(struct afterseal *a, uint64_t n)
{
    while (n > 0 && a->next < a->end) {
        int r = afterseal_prepare(a, n), w;

        afterseal_sign(a);
        w = a->n > 0 ? afterseal_write(a) : 0;
        if (w < 0 || (r < 0 && r != -EBADMSG)) {
            a->reader = log_reader_free(a->reader); /* these lines are read again */
            return w < 0 ? w : r;
        }
        a->next += a->n;
        n -= a->n;
        if (r < 0) {
            log_error("line %" PRIu64 " of the log is not the one that was written: it is not signed",
                      a->next + 1);
            a->next++;
            return r;
        }
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
    buf_init(&a->pae, AFTERSEAL_CHUNK * 2 * DSSE_MATERIAL_MAX);
    r = afterseal_resume(a, size, root);
    if (r < 0) {
        afterseal_free(a);
        return r;
    }
    *ret = a;
    return 0;
}
