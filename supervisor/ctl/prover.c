/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/prover.h"

#include <inttypes.h>

#include "common/base/encoding.h"
#include "common/evidence/envelope.h"
#include "common/evidence/log_reader.h"
#include "common/evidence/proof_text.h"
#include "common/evidence/sidecar.h"
#include "common/evidence/tile_reader.h"
#include "supervisor/ctl/ctl.h"

struct prover {
    const char *verb, *path;
    struct loghead *head;
    struct sidecar_reader *sidecar;
    struct tile_reader *tiles; /* of the head below */
    struct checkpoint of;
};

struct prover *prover_free(struct prover *p)
{
    if (p) {
        sidecar_reader_free(p->sidecar);
        tile_reader_free(p->tiles);
        loghead_free(p->head);
        free(p);
    }
    return NULL;
}

void prover_freep(struct prover **p)
{
    *p = prover_free(*p);
}

int prover_open(const char *verb, const char *path, struct prover **ret)
{
    struct prover *p = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return ctl_fail(CTL_FAILED, verb, "out of memory");
    p->verb = verb;
    p->path = path;
    r = loghead_open(verb, path, &p->head);
    if (r == CTL_OK)
        *ret = p;
    else
        free(p);
    return r;
}

const struct loghead *prover_head(const struct prover *p)
{
    return p->head;
}

static int prover_wrong(const struct prover *p, int r)
{
    if (r == -ENOENT)
        return ctl_fail(CTL_FAILED, p->verb,
                        "%s does not have all that the proof needs any more: neither tiles nor lines",
                        p->path);
    return ctl_fail(CTL_FAILED, p->verb, "cannot read %s: %s", p->path, strerror(-r));
}

static int prover_unsigned(const struct prover *p, const struct checkpoint *head)
{
    return ctl_fail(CTL_TAMPERED, p->verb,
                    "the lines of %s are not those that its checkpoint of %" PRIu64
                    " lines signs: see `cellctl verify`",
                    p->path, head->size);
}

/* The tree of that head, from tiles or from the lines alone. 0 or -errno. */
static int prover_tree(struct prover *p, uint64_t size, enum tile_reader_from from, struct proof_source *ret)
{
    int r = 0;

    if (!p->tiles || p->of.size != size || from == TILE_READER_LINES) {
        p->tiles = tile_reader_free(p->tiles);
        p->of.size = size;
        r = tile_reader_open(p->head->fd, size, from, &p->tiles);
    }
    if (r == 0)
        *ret = tile_reader_source(p->tiles);
    return r;
}

/* ---- one event ---- */

/* The sealed event and its leaf, which is the line as the log has it. */
static int prover_seal(struct prover *p, const struct log_line *l, struct proof_file *f, uint8_t *leaf)
{
    struct envelope_line parsed;
    int r = p->sidecar ? 0 : sidecar_reader_new(p->head->fd, &p->sidecar);

    if (r < 0)
        return prover_wrong(p, r);
    if (envelope_parse(l->text, &parsed) != ENVELOPE_OK)
        return ctl_fail(CTL_TAMPERED, p->verb, "line %" PRIu64 " of %s is no event: see `cellctl verify`",
                        l->index + 1, p->path);
    f->batch = !parsed.dssematerial.p;
    merkle_leaf(l->text.p, l->text.len, leaf);
    r = sidecar_sealed_line(p->sidecar, l, &p->head->trust.ring, &f->line);
    if (r == -ENODATA)
        return ctl_fail(CTL_FAILED, p->verb,
                        "event %" PRIu64
                        " is not signed by itself yet: signerd does that in idle time (seal: batch)",
                        l->index);
    if (r == -ENOKEY)
        return ctl_fail(CTL_FAILED, p->verb, "event %" PRIu64 " is signed by a key that %s does not declare",
                        l->index, p->path);
    return r < 0 ? prover_wrong(p, r) : CTL_OK;
}

static int prover_line(struct prover *p, uint64_t index, struct proof_file *f, uint8_t *leaf)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    struct log_line l = {.index = 0};
    int r = log_reader_open(p->head->fd, index, &reader);

    if (r == 0)
        r = log_reader_next(reader, &l);
    if (r < 0)
        return prover_wrong(p, r);
    if (r != LOG_READ_LINE || l.index != index)
        return ctl_fail(CTL_TAMPERED, p->verb, "%s ends before line %" PRIu64 ": see `cellctl verify`",
                        p->path, index + 1);
    return prover_seal(p, &l, f, leaf);
}

/* Tiles are a cache that anybody may have damaged: a proof that does not lead to the signed root is made
 * once more from the lines. */
static int prover_inclusion(struct prover *p, const uint8_t *leaf, uint64_t index, const struct checkpoint *c,
                            struct proof *ret)
{
    for (enum tile_reader_from from = TILE_READER_TILES; from <= TILE_READER_LINES; from++) {
        struct proof_source s;
        int r = prover_tree(p, c->size, from, &s);

        if (r == 0)
            r = proof_inclusion(&s, index, c->size, ret);
        if (r < 0)
            return prover_wrong(p, r);
        if (proof_inclusion_check(leaf, index, c->size, c->root, ret))
            return CTL_OK;
    }
    return ctl_fail(CTL_TAMPERED, p->verb,
                    "line %" PRIu64
                    " of %s is not in the tree that the checkpoint signs: see `cellctl verify`",
                    index + 1, p->path);
}

static int prover_common(const struct prover *p, struct proof_file *f)
{
    buf_put_str(&f->vkey, buf_str(&p->head->vkey));
    buf_put_str(&f->keyset, buf_str(&p->head->keyset));
    if (f->vkey.err || f->keyset.err || f->proof.err || f->line.err)
        return ctl_fail(CTL_FAILED, p->verb, "the proof is too big");
    return CTL_OK;
}

static int prover_make(struct prover *p, uint64_t index, struct proof_file *f)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    struct proof_text t = {.at = index};
    uint8_t leaf[DIGEST_LEN];
    struct checkpoint c;
    int r;

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    if (index >= p->head->checkpoint.size)
        return ctl_fail(CTL_FAILED, p->verb, "%s has %" PRIu64 " durable events: there is no event %" PRIu64,
                        p->path, p->head->checkpoint.size, index);
    r = loghead_best(p->head, index, &note, &c);
    if (r < 0)
        return prover_wrong(p, r);
    r = prover_line(p, index, f, leaf);
    if (r == CTL_OK)
        r = prover_inclusion(p, leaf, index, &c, &t.proof);
    if (r != CTL_OK)
        return r;
    t.note = buf_str(&note);
    proof_text_put(&t, &f->proof);
    return prover_common(p, f);
}

int prover_event(struct prover *p, uint64_t index, struct proof_file *ret)
{
    struct proof_file f;
    int r;

    proof_file_init(&f, PROOF_FILE_EVENT);
    r = prover_make(p, index, &f);
    if (r == CTL_OK)
        *ret = f;
    else
        proof_file_done(&f);
    return r;
}

/* ---- two heads ---- */

/* Which of the two is not of this log; told by roots, which a fork differs in. */
static int prover_fork(struct prover *p, const struct proof_source *s, const struct checkpoint *old,
                       const struct checkpoint *head)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    uint8_t root[DIGEST_LEN];
    int r = proof_root(s, head->size, root);

    buf_init(&text, 512);
    if (r == 0 && memcmp(root, head->root, DIGEST_LEN) != 0)
        return prover_unsigned(p, head);
    if (r == 0)
        r = proof_root(s, old->size, root);
    if (r < 0)
        return prover_wrong(p, r);
    buf_printf(&text,
               "a fork: the older checkpoint signs %" PRIu64 " lines with the root sha256:", old->size);
    encoding_hex_put(&text, old->root, DIGEST_LEN);
    buf_printf(&text, ", the log of %" PRIu64 " lines has sha256:", head->size);
    encoding_hex_put(&text, root, DIGEST_LEN);
    buf_printf(&text, " there and ends in sha256:");
    encoding_hex_put(&text, head->root, DIGEST_LEN);
    return ctl_fail(CTL_TAMPERED, p->verb, "%s", buf_cstr(&text) ? (const char *)text.data : "a fork");
}

/* The path from the first old lines to head, checked with the old root, which is the log's own for root NULL;
 * as in prover_inclusion. 1; 0 when it does not lead to the signed root, with the tree of the lines in
 * *ret_s; -errno. */
static int prover_grown(struct prover *p, uint64_t old, const uint8_t *root, const struct checkpoint *head,
                        struct proof_source *ret_s, struct proof *ret)
{
    uint8_t own[DIGEST_LEN];

    for (enum tile_reader_from from = TILE_READER_TILES; from <= TILE_READER_LINES; from++) {
        int r = prover_tree(p, head->size, from, ret_s);

        if (r == 0 && !root)
            r = proof_root(ret_s, old, own);
        if (r == 0)
            r = proof_consistency(ret_s, old, head->size, ret);
        if (r < 0)
            return r;
        if (proof_consistency_check(old, root ? root : own, head->size, head->root, ret))
            return 1;
    }
    return 0;
}

int prover_path(struct prover *p, uint64_t old, const struct checkpoint *head, struct proof *ret)
{
    struct proof_source s;
    int r = prover_grown(p, old, /* root= */ NULL, head, &s, ret);

    if (r < 0)
        return prover_wrong(p, r);
    return r > 0 ? CTL_OK : prover_unsigned(p, head);
}

int prover_extends(struct prover *p, const struct checkpoint *old, const struct checkpoint *head,
                   struct proof *ret)
{
    struct proof_source s;
    int r;

    if (old->size > head->size)
        return ctl_fail(CTL_TAMPERED, p->verb,
                        "the log was cut: the older checkpoint signs %" PRIu64
                        " lines, the newer one %" PRIu64,
                        old->size, head->size);
    r = prover_grown(p, old->size, old->root, head, &s, ret);
    if (r < 0)
        return prover_wrong(p, r);
    return r > 0 ? CTL_OK : prover_fork(p, &s, old, head);
}

int prover_consistency(struct prover *p, const struct proof_heads *h, struct proof_file *ret)
{
    struct proof_text t = {.at = h->old.size, .note = h->new_note};
    struct proof_file f;
    int r = prover_extends(p, &h->old, &h->new, &t.proof);

    if (r != CTL_OK)
        return r;
    proof_file_init(&f, PROOF_FILE_CONSISTENCY);
    buf_put_str(&f.line, h->old_note);
    proof_text_put_old(&t, &f.proof);
    r = prover_common(p, &f);
    if (r == CTL_OK)
        *ret = f;
    else
        proof_file_done(&f);
    return r;
}
