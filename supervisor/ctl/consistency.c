/* SPDX-License-Identifier: MIT */
/* cellctl consistency: that a newer checkpoint of a log continues an older one, from the log's tiles or from
 * a proof made earlier. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/encoding.h"
#include "common/base/io.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/outfile.h"
#include "supervisor/ctl/proof_check.h"
#include "supervisor/ctl/prover.h"
#include "supervisor/ctl/term.h"

#define VERB "consistency"
#define CONSISTENCY_HELP                                                                                     \
    "usage: cellctl consistency OLD [NEW] [DIR] [--key KEY|--keyset FILE] [-o FILE]\n"                       \
    "       cellctl consistency --proof FILE [--key KEY|--keyset FILE]\n\n"                                  \
    "Shows that a log only grew: the tree that the checkpoint NEW signs begins with the one that OLD "       \
    "signs.\n"                                                                                               \
    "OLD and NEW are checkpoint files; without NEW it is the log's own. DIR is the log, or a directory "     \
    "with\n"                                                                                                 \
    "logs below, of which the one that OLD is of is taken; without it the logs of this user's runs.\n\n"     \
    "  --key KEY     public key to trust: a vkey or a file with one. Without it the key of this user's "     \
    "state\n"                                                                                                \
    "                directory, else the one the log (or the proof) declares\n"                              \
    "  --keyset FILE a trust keyset instead: its keys, and what newer versions of it say\n"                  \
    "  -o FILE       write the proof as a file that --proof and `cellctl verify` take without the log\n"     \
    "  --proof FILE  check such a file\n\n"                                                                  \
    "Exit status: 0 NEW continues OLD, 4 it does not (a fork, or the log was cut), 2 cannot be read, 1\n"    \
    "usage.\n"

struct consistency_args {
    const char *old, *new, *dir, *key, *keyset, *out, *proof;
};

static bool consistency_is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int consistency_operand(struct consistency_args *a, const char *word)
{
    const char **place = !a->old ? &a->old : consistency_is_dir(word) ? &a->dir : &a->new;

    if (*place)
        return ctl_fail(CTL_USAGE, VERB, "two checkpoints and one directory at most, %s is too much", word);
    *place = word;
    return CTL_OK;
}

static int consistency_parse(int argc, char **argv, struct consistency_args *a)
{
    for (int i = 1; i < argc; i++) {
        const char **value = strcmp(argv[i], "--key") == 0      ? &a->key
                             : strcmp(argv[i], "--keyset") == 0 ? &a->keyset
                             : strcmp(argv[i], "-o") == 0       ? &a->out
                             : strcmp(argv[i], "--proof") == 0  ? &a->proof
                                                                : NULL;
        int r = CTL_OK;

        if (value) {
            if (++i == argc)
                return ctl_fail(CTL_USAGE, VERB, "%s needs a value", argv[i - 1]);
            *value = argv[i];
        } else if (argv[i][0] == '-') {
            return ctl_fail(CTL_USAGE, VERB, "unknown flag %s: see `cellctl consistency --help`", argv[i]);
        } else {
            r = consistency_operand(a, argv[i]);
        }
        if (r != CTL_OK)
            return r;
    }
    if (a->proof ? a->old || a->out : !a->old)
        return ctl_fail(CTL_USAGE, VERB, "%s: see `cellctl consistency --help`",
                        a->proof ? "--proof goes with --key or --keyset alone"
                                 : "which checkpoint is the older one?");
    return CTL_OK;
}

static int consistency_read(const char *path, struct buf *b)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_read_to_end(fd, b);

    return r < 0 ? ctl_fail(CTL_FAILED, VERB, "cannot read %s: %s", path, strerror(-r)) : CTL_OK;
}

/* ---- from a file ---- */

static int consistency_of_text(const struct consistency_args *a, struct proof_check *c)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    struct proof_file f;
    int r;

    buf_init(&text, PROOF_FILE_MAX);
    r = consistency_read(a->proof, &text);
    if (r != CTL_OK)
        return r;
    if (proof_file_get(buf_str(&text), &f) < 0)
        return ctl_fail(CTL_TAMPERED, VERB, "%s is not a proof that `cellctl consistency -o` wrote",
                        a->proof);
    if (f.kind == PROOF_FILE_CONSISTENCY)
        r = proof_check(c, &f);
    else
        r = ctl_fail(CTL_USAGE, VERB, "%s is the proof of one event: `cellctl verify %s` checks it", a->proof,
                     a->proof);
    proof_file_done(&f);
    return r;
}

static int consistency_of_proof(const struct consistency_args *a)
{
    static const struct quorum none = {.n = 0};
    struct proof_check c = {
        .verb = VERB, .path = a->proof, .quorum = &none, .color = term_colors(STDOUT_FILENO)};
    struct key_choice keys;
    int r = key_choice_find(VERB, a->key, a->keyset, &keys);

    if (r != CTL_OK)
        return r;
    c.keys = &keys;
    r = consistency_of_text(a, &c);
    key_choice_done(&keys);
    return r;
}

/* ---- from a log ---- */

static int consistency_open(const struct trust *t, const char *path, struct str note, const char *origin,
                            struct checkpoint *ret, const struct keyring_key **ret_signer)
{
    int r = checkpoint_open_ring(note, &t->ring, ret, ret_signer);

    if (r == CHECKPOINT_E_UNSIGNED)
        return ctl_fail(CTL_TAMPERED, VERB, "%s is not signed by a key that is trusted here: see --key",
                        path);
    if (r != CHECKPOINT_OK)
        return ctl_fail(CTL_TAMPERED, VERB, "%s: %s", path, checkpoint_error_text(r));
    if (strcmp(ret->origin, origin) != 0)
        return ctl_fail(CTL_TAMPERED, VERB, "%s is of the log %s, not of %s", path, ret->origin, origin);
    return CTL_OK;
}

static int consistency_trust(const struct consistency_args *a, int fd, struct trust *t,
                             enum key_from *ret_from)
{
    char why[LOG_CHECK_WHY_MAX] = "";
    struct key_choice keys;
    struct trust_root root;
    int r = key_choice_find(VERB, a->key, a->keyset, &keys);

    if (r != CTL_OK)
        return r;
    root = key_choice_root(&keys);
    r = trust_open(fd, &root, t, why);
    *ret_from = keys.from;
    key_choice_done(&keys);
    if (r == -EBADMSG)
        return ctl_fail(CTL_TAMPERED, VERB, "%s", why);
    return r < 0 ? ctl_fail(CTL_FAILED, VERB, "cannot read the log's keys: %s", strerror(-r)) : CTL_OK;
}

static void consistency_print(const char *what, const struct checkpoint *c)
{
    _cleanup_(buf_done) struct buf hex = {.data = NULL};

    buf_init(&hex, 2 * DIGEST_LEN);
    encoding_hex_put(&hex, c->root, DIGEST_LEN);
    (void)printf("        %s %" PRIu64 " event%s, root sha256:%.*s\n", what, c->size, c->size == 1 ? "" : "s",
                 (int)hex.len, hex.data ? (const char *)hex.data : "");
}

static void consistency_print_key(const struct keyring_key *signer, enum key_from from, bool color)
{
    (void)printf("        key %s%s\n", signer->vkey.name, key_choice_text(from));
    if (from == KEY_SELF)
        (void)printf(
            "  %snote%s  self-declared key: this shows only that one key signed both; trust needs --key\n",
            term_code(color, TERM_YELLOW), term_code(color, TERM_PLAIN));
}

static int consistency_tell(const struct consistency_args *a, struct prover *p, const struct proof_heads *h,
                            const struct keyring_key *signer, enum key_from from)
{
    _cleanup_(buf_done) struct buf json = {.data = NULL};
    bool color = term_colors(STDOUT_FILENO);
    struct proof_file f;
    int r = prover_consistency(p, h, &f);

    if (r != CTL_OK)
        return r;
    buf_init(&json, PROOF_FILE_MAX);
    if (a->out)
        r = proof_file_put(&f, &json) < 0 ? ctl_fail(CTL_FAILED, VERB, "out of memory")
                                          : outfile_write(VERB, a->out, 0644, buf_str(&json));
    proof_file_done(&f);
    if (r != CTL_OK || (a->out && strcmp(a->out, "-") == 0))
        return r;
    (void)printf("%s\n  %sok%s    the newer checkpoint continues the older one\n", h->new.origin,
                 term_code(color, TERM_GREEN), term_code(color, TERM_PLAIN));
    consistency_print("older:", &h->old);
    consistency_print("newer:", &h->new);
    consistency_print_key(signer, from, color);
    return r;
}

static int consistency_of_log(const struct consistency_args *a, const char *path, struct str old_note)
{
    _cleanup_(buf_done) struct buf new_note = {.data = NULL};
    _cleanup_(prover_freep) struct prover *p = NULL;
    struct proof_heads h = {.old_note = old_note};
    const struct loghead *head;
    const struct keyring_key *signer = NULL;
    enum key_from from = KEY_SELF;
    struct trust trust;
    int r = prover_open(VERB, path, &p);

    buf_init(&new_note, CHECKPOINT_NOTE_MAX);
    if (r == CTL_OK)
        r = consistency_trust(a, prover_head(p)->fd, &trust, &from);
    if (r == CTL_OK && a->new)
        r = consistency_read(a->new, &new_note);
    if (r != CTL_OK)
        return r;
    head = prover_head(p);
    h.new_note = a->new ? buf_str(&new_note) : buf_str(&head->note);
    r = consistency_open(&trust, a->old, old_note, head->checkpoint.origin, &h.old, &signer);
    if (r == CTL_OK)
        r = consistency_open(&trust, a->new ? a->new : path, h.new_note, head->checkpoint.origin, &h.new,
                             &signer);
    return r == CTL_OK ? consistency_tell(a, p, &h, signer, from) : r;
}

static int consistency_run(int argc, char **argv)
{
    _cleanup_(logdir_list_done) struct logdir_list logs = {.n = 0};
    _cleanup_(buf_done) struct buf old = {.data = NULL};
    struct consistency_args a = {.old = NULL};
    int r = consistency_parse(argc, argv, &a);

    buf_init(&old, CHECKPOINT_NOTE_MAX);
    if (r == CTL_OK && a.proof)
        return consistency_of_proof(&a);
    if (r == CTL_OK && a.old)
        r = consistency_read(a.old, &old);
    if (r == CTL_OK)
        r = logdir_find(VERB, a.dir, &logs);
    if (r != CTL_OK)
        return r;
    if (logs.n > 1)
        logdir_keep_origin(&logs, buf_str(&old));
    if (logs.n != 1)
        return ctl_fail(CTL_TAMPERED, VERB, "no log here is the one %s is a checkpoint of", a.old);
    return consistency_of_log(&a, logs.path[0], buf_str(&old));
}

const struct ctl_verb ctl_verb_consistency = {
    VERB,
    "show that a newer checkpoint of a log continues an older one",
    CONSISTENCY_HELP,
    consistency_run,
};
