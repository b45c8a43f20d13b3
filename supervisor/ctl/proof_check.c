/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/proof_check.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/encoding.h"
#include "common/evidence/log_check.h"
#include "common/evidence/proof_text.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/term.h"

#define CHECK_SHOWN 1024

static int check_bad(const struct proof_check *c, const char *why)
{
    char safe[CHECK_SHOWN];

    (void)printf("%s\n", str_escape(safe, sizeof(safe), c->path, strlen(c->path)));
    (void)printf("  %sBAD%s   %s\n", term_code(c->color, TERM_RED), term_code(c->color, TERM_PLAIN), why);
    return CTL_TAMPERED;
}

static void check_print_root(const char *what, const uint8_t *root)
{
    _cleanup_(buf_done) struct buf hex = {.data = NULL};

    buf_init(&hex, 2 * DIGEST_LEN);
    encoding_hex_put(&hex, root, DIGEST_LEN);
    (void)printf("        %s sha256:%.*s\n", what, (int)hex.len, hex.data ? (const char *)hex.data : "");
}

static void check_print_key(const struct proof_check *c, const struct keyring_key *signer)
{
    char when[CLOCK_RFC3339_LEN + 1];

    (void)printf("        key %s%s\n", signer->vkey.name, key_choice_text(c->keys->from));
    if (signer->revoked_s && clock_format_rfc3339(signer->revoked_s, when) == 0)
        (void)printf(
            "  %snote%s  this key was revoked as of %s: a checkpoint says not when it was signed, and who "
            "has the key since can sign one\n",
            term_code(c->color, TERM_YELLOW), term_code(c->color, TERM_PLAIN), when);
    if (c->keys->from == KEY_SELF)
        (void)printf(
            "  %snote%s  self-declared key: the proof shows only that one key signed all of it; trust "
            "needs --key\n",
            term_code(c->color, TERM_YELLOW), term_code(c->color, TERM_PLAIN));
}

/* ---- one event ---- */

/* What one event and its proof say. */
struct check_event {
    struct log_check_line line;
    struct proof_text text;
    struct checkpoint head;
    const struct keyring_key *signer; /* of the checkpoint */
};

int proof_check_bare_leaf(struct str line, const struct envelope_line *l, uint8_t ret[static DIGEST_LEN])
{
    const size_t key = sizeof(",\"dssematerial\":\"") - 1;
    _cleanup_(buf_done) struct buf bare = {.data = NULL};

    buf_init(&bare, ENVELOPE_LINE_MAX);
    buf_put(&bare, line.p, (size_t)(l->dssematerial.p - line.p) - key);
    buf_putc(&bare, '}');
    if (bare.err)
        return bare.err;
    merkle_leaf(bare.data, bare.len, ret);
    return 0;
}

/* The event alone: its form, digests and signature. */
static int check_line(const struct proof_check *c, struct str line, bool batch, struct log_check_line *ret)
{
    int r = 0;

    log_check_alone(line, &c->trust->ring, NULL, ret);
    if (ret->error == ENVELOPE_OK && !ret->parsed.dssematerial.p)
        ret->error = ENVELOPE_E_UNSIGNED;
    if (ret->error == ENVELOPE_OK && batch)
        r = proof_check_bare_leaf(line, &ret->parsed, ret->leaf);
    if (ret->error < 0 || r < 0)
        return ctl_fail(CTL_FAILED, c->verb, "out of memory");
    return ret->error == ENVELOPE_OK ? CTL_OK : check_bad(c, envelope_error_text(ret->error));
}

static void check_print_event(const struct proof_check *c, const struct envelope *e,
                              const struct checkpoint *head)
{
    char safe[CHECK_SHOWN], type[CHECK_SHOWN];

    (void)printf("%s\n", str_escape(safe, sizeof(safe), c->path, strlen(c->path)));
    (void)printf("  %sok%s    event %" PRIu64 " of %" PRIu64 " in the log %s\n",
                 term_code(c->color, TERM_GREEN), term_code(c->color, TERM_PLAIN), e->sequence, head->size,
                 head->origin);
    (void)printf("        %.*s  %s  %.*s\n", (int)e->time.len, e->time.p,
                 str_escape(type, sizeof(type), e->type.p, e->type.len), (int)e->id.len, e->id.p);
    check_print_root("root", head->root);
}

/* The checkpoint and the path to it. */
static int check_inclusion(const struct proof_check *c, struct check_event *e)
{
    int r = checkpoint_open_ring(e->text.note, &c->trust->ring, &e->head, &e->signer);
    char why[LOG_CHECK_WHY_MAX];

    if (r != CHECKPOINT_OK) {
        (void)snprintf(why, sizeof(why), "the checkpoint: %s", checkpoint_error_text(r));
        return check_bad(c, why);
    }
    if (trust_check_signer(e->signer, &e->line.parsed.e, why) < 0)
        return check_bad(c, why);
    if (e->line.parsed.e.sequence != e->text.at)
        return check_bad(c, "the proof is for another place in the log than the event's own sequence");
    if (!proof_inclusion_check(e->line.leaf, e->text.at, e->head.size, e->head.root, &e->text.proof))
        return check_bad(c, "the path does not lead from this event to the root that the checkpoint signs");
    return CTL_OK;
}

static int check_event(const struct proof_check *c, struct str line, bool batch, struct str text)
{
    struct quorum_seen seen = {.when = {0}};
    struct check_event e;
    int r;

    if (proof_text_get(text, &e.text) < 0)
        return check_bad(c, "its proof is not in the form of c2sp.org/tlog-proof");
    r = check_line(c, line, batch, &e.line);
    if (r == CTL_OK)
        r = check_inclusion(c, &e);
    if (r != CTL_OK)
        return r;
    if (quorum_look(c->quorum, e.text.note, e.head.size, &seen) < 0)
        return ctl_fail(CTL_FAILED, c->verb, "out of memory");
    check_print_event(c, &e.line.parsed.e, &e.head);
    check_print_key(c, e.signer);
    return quorum_print(c->quorum, &seen, c->color) ? CTL_OK : CTL_TAMPERED;
}

/* ---- two heads ---- */

struct check_heads {
    struct proof_text text;
    struct checkpoint old, new;
    const struct keyring_key *signer; /* of the newer one */
};

static int check_open_heads(const struct proof_check *c, const struct proof_file *f, struct check_heads *h)
{
    char why[256];
    int r = proof_text_get_old(buf_str(&f->proof), &h->text) < 0 ? CHECKPOINT_E_FORM : CHECKPOINT_OK;

    if (r == CHECKPOINT_OK)
        r = checkpoint_open_ring(buf_str(&f->line), &c->trust->ring, &h->old, &h->signer);
    if (r == CHECKPOINT_OK)
        r = checkpoint_open_ring(h->text.note, &c->trust->ring, &h->new, &h->signer);
    if (r != CHECKPOINT_OK) {
        (void)snprintf(why, sizeof(why), "a checkpoint of the proof: %s", checkpoint_error_text(r));
        return check_bad(c, why);
    }
    if (strcmp(h->old.origin, h->new.origin) != 0)
        return check_bad(c, "the checkpoints are of two logs");
    return CTL_OK;
}

static int check_consistency(const struct proof_check *c, const struct proof_file *f)
{
    struct quorum_seen seen = {.when = {0}};
    struct check_heads h;
    char safe[CHECK_SHOWN];
    int r = check_open_heads(c, f, &h);

    if (r != CTL_OK)
        return r;
    if (h.text.at != h.old.size ||
        !proof_consistency_check(h.old.size, h.old.root, h.new.size, h.new.root, &h.text.proof)) {
        (void)check_bad(c, "a fork: the newer tree does not begin with the older one");
        (void)printf("        %" PRIu64 " and %" PRIu64 " lines\n", h.old.size, h.new.size);
        check_print_root("older root", h.old.root);
        check_print_root("newer root", h.new.root);
        return CTL_TAMPERED;
    }
    if (quorum_look(c->quorum, h.text.note, h.new.size, &seen) < 0)
        return ctl_fail(CTL_FAILED, c->verb, "out of memory");
    (void)printf("%s\n", str_escape(safe, sizeof(safe), c->path, strlen(c->path)));
    (void)printf("  %sok%s    the log %s of %" PRIu64 " events continues that of %" PRIu64 "\n",
                 term_code(c->color, TERM_GREEN), term_code(c->color, TERM_PLAIN), h.new.origin, h.new.size,
                 h.old.size);
    check_print_root("older root", h.old.root);
    check_print_root("newer root", h.new.root);
    check_print_key(c, h.signer);
    return quorum_print(c->quorum, &seen, c->color) ? CTL_OK : CTL_TAMPERED;
}

/* A proof of another machine under this user's key: say whose it claims to be. */
static void check_print_foreign(const struct proof_check *c, struct str vkey)
{
    struct vkey own;

    if (c->keys->from == KEY_STATE && vkey_parse(vkey, &own) == 0 &&
        (!c->trust || !keyring_find_public(&c->trust->ring, own.public)))
        (void)printf("        it declares the key %s; if you trust that key: --key %.*s\n", own.name,
                     (int)vkey.len, vkey.p);
}

static int check_trusted(const struct proof_check *c, struct str vkey, struct str keyset, struct trust *ret)
{
    struct trust_root root = key_choice_root(c->keys);
    char why[LOG_CHECK_WHY_MAX] = "";
    int r = trust_open_texts(vkey, keyset, &root, ret, why);

    if (r == -EBADMSG) {
        (void)check_bad(c, why);
        check_print_foreign(c, vkey);
        return CTL_TAMPERED;
    }
    return r < 0 ? ctl_fail(CTL_FAILED, c->verb, "%s", strerror(-r)) : CTL_OK;
}

int proof_check(const struct proof_check *c, const struct proof_file *f)
{
    struct proof_check with = *c;
    struct trust trust;
    int r = check_trusted(c, buf_str(&f->vkey), buf_str(&f->keyset), &trust);

    if (r != CTL_OK)
        return r;
    with.trust = &trust;
    r = f->kind == PROOF_FILE_EVENT ? check_event(&with, buf_str(&f->line), f->batch, buf_str(&f->proof))
                                    : check_consistency(&with, f);
    if (r == CTL_TAMPERED)
        check_print_foreign(&with, buf_str(&f->vkey));
    return r;
}

/* Which of both forms the log holds is not in a tlog-proof: the one that fits is taken. */
static bool check_is_batch(const struct proof_check *c, struct str text, struct str line)
{
    const struct keyring_key *signer;
    struct proof_text t;
    struct checkpoint head;
    uint8_t leaf[DIGEST_LEN];

    merkle_leaf(line.p, line.len, leaf);
    return proof_text_get(text, &t) == 0 &&
           checkpoint_open_ring(t.note, &c->trust->ring, &head, &signer) == CHECKPOINT_OK &&
           !proof_inclusion_check(leaf, t.at, head.size, head.root, &t.proof);
}

int proof_check_text(const struct proof_check *c, struct str text, struct str line)
{
    struct proof_check with = *c;
    struct trust trust;
    int r;

    if (c->keys->from == KEY_SELF)
        return ctl_fail(CTL_USAGE, c->verb, "a tlog-proof brings no key along: give one with --key");
    r = check_trusted(c, STR_NONE, STR_NONE, &trust);
    if (r != CTL_OK)
        return r;
    with.trust = &trust;
    return check_event(&with, line, check_is_batch(&with, text, line), text);
}
