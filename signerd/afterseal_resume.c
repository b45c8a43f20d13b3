/* SPDX-License-Identifier: MIT */
/* What an earlier process left unsigned: the lines are found by their signatures' files alone, and their
 * hashes are proven by the checkpoint before any of them is signed. */
#include <inttypes.h>

#include "common/base/log.h"
#include "common/evidence/sidecar.h"
#include "common/evidence/tile_reader.h"
#include "proto/limits.h"
#include "signerd/afterseal_internal.h"

/* ---- which lines ---- */

/* By a key of ours: what anybody else put there is no signature. */
static bool resume_has(const struct afterseal *a, struct sidecar_reader *signatures, uint64_t segment,
                       uint64_t index)
{
    const struct log_line line = {.segment = segment, .index = index};
    const struct keyring_key *key;
    uint8_t sig[ED25519_SIG_LEN];

    return sidecar_read(signatures, &line, keys_ring(a->keys), &key, sig) == 0;
}

/* The first line of [from, end), all of one segment, that has no signature and can get one; end: none. Sealed
 * lines have no place in the files: a log may have been sealed both ways. */
static uint64_t resume_find_in(const struct afterseal *a, struct sidecar_reader *signatures, uint64_t segment,
                               uint64_t from, uint64_t end)
{
    _cleanup_(log_reader_freep) struct log_reader *lines = NULL;
    struct envelope_line parsed;
    struct log_line l;
    uint64_t places = 0;

    if (sidecar_extent(signatures, segment, &places) < 0)
        places = 0;
    for (uint64_t i = from; i < end; i++) {
        if (i < segment + places && resume_has(a, signatures, segment, i))
            continue;
        if (!lines && log_reader_open(a->dirfd, i, &lines) < 0)
            return end;
        do
            if (log_reader_next(lines, &l) != LOG_READ_LINE)
                return end;
        while (l.index < i);
        if (envelope_parse(l.text, &parsed) == ENVELOPE_OK && !parsed.dssematerial.p &&
            afterseal_may_sign(a, &parsed.e))
            return i;
    }
    return end;
}

/* The first line that waits. Signatures are not synced one by one, and a loss of power takes what it likes:
 * so nothing is concluded from one file about another, or from a signature about those before it. Every place
 * of the last LIMIT_UNSIGNED lines is looked at, and one more, which the caller tells. */
static int resume_find(const struct afterseal *a, uint64_t size, uint64_t *ret)
{
    _cleanup_(sidecar_reader_freep) struct sidecar_reader *signatures = NULL;
    _cleanup_free_ uint64_t *segments = NULL;
    uint64_t from = size > LIMIT_UNSIGNED ? size - LIMIT_UNSIGNED - 1 : 0, due = size;
    int n = log_reader_segments(a->dirfd, &segments), r;

    if (n < 0)
        return n;
    r = sidecar_reader_new(a->dirfd, &signatures);
    if (r < 0)
        return r;
    for (int i = 0; i < n && due == size; i++) {
        uint64_t begin = segments[i] > from ? segments[i] : from;
        uint64_t end = i + 1 < n && segments[i + 1] < size ? segments[i + 1] : size;

        if (begin < end) {
            due = resume_find_in(a, signatures, segments[i], begin, end);
            due = due < end ? due : size;
        }
    }
    *ret = due;
    return 0;
}

/* ---- their hashes ---- */

/* Takes in the leaves of [a->next, size), which must lead to the signed root. */
static int resume_restore(struct afterseal *a, uint64_t size, const uint8_t root[static DIGEST_LEN],
                          enum tile_reader_from from)
{
    _cleanup_(tile_reader_freep) struct tile_reader *tiles = NULL;
    _cleanup_(log_reader_freep) struct log_reader *lines = NULL;
    uint8_t leaf[DIGEST_LEN], again[DIGEST_LEN];
    struct proof_source source;
    struct merkle tree;
    struct log_line l;
    int r = tile_reader_open(a->dirfd, size, from, &tiles);

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

int afterseal_resume(struct afterseal *a, uint64_t size, const uint8_t root[static DIGEST_LEN])
{
    uint64_t next = size;
    int r = size > 0 ? resume_find(a, size, &next) : 0;

    if (r < 0)
        return r;
    if (size - next > LIMIT_UNSIGNED) {
        log_warning("%" PRIu64 " lines of the log have no signature of their own and get none: too many",
                    size - next - LIMIT_UNSIGNED);
        next = size - LIMIT_UNSIGNED;
    }
    a->next = a->end = next;
    r = next < size ? resume_restore(a, size, root, TILE_READER_TILES) : 0;
    if (r < 0) { /* tiles are a cache, and not synced */
        a->end = next;
        r = resume_restore(a, size, root, TILE_READER_LINES);
    }
    if (r < 0) {
        log_failed(LOG_WARNING, r,
                   "the last lines of the log are not signed one by one: they do not lead to its checkpoint");
        a->next = a->end = size;
    }
    return 0;
}
