/* SPDX-License-Identifier: MIT */
/* cellctl witness: gets a log's checkpoint cosigned by a witness (c2sp.org/tlog-witness) and keeps the
 * cosigned note in the log's witness/ folder, the only thing that anybody but signerd writes there. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/num.h"
#include "common/evidence/proof_text.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/outfile.h"
#include "supervisor/ctl/prover.h"
#include "supervisor/ctl/quorum.h"
#include "supervisor/ctl/witness_way.h"

#define VERB      "witness"
#define EVERY_MAX 86400
#define TRIES     2 /* a 409 says the right size, so the second one fits */

#define WITNESS_HELP                                                                                         \
    "usage: cellctl witness LOG --to unix:PATH|URL|DIR --key VKEY [--every SECONDS]\n\n"                     \
    "Has the newest checkpoint of LOG cosigned by a witness, who remembers what it saw and signs only a\n"   \
    "tree that continues that: so a log that is cut or forked is found out by whoever asks for the\n"        \
    "cosignature (`cellctl verify --witness VKEY`). The cosigned checkpoint is kept in LOG/witness/.\n\n"    \
    "  --to unix:PATH  the witness's Unix socket, HTTP as in c2sp.org/tlog-witness\n"                        \
    "  --to URL        its submission prefix, http://... or https://...\n"                                   \
    "  --to DIR        no connection: the request is put there as HASH.request, and the next call looks "    \
    "for\n"                                                                                                  \
    "                  HASH.cosignature (or HASH.size, what a 409 would say) beside it\n"                    \
    "  --key VKEY      the witness's key: name+id+base64 of signature type 0x04, or a file with it\n"        \
    "  --every SECONDS again and again until interrupted; what fails is told and tried again\n\n"            \
    "Exit status: 0 cosigned, 2 not (the reason is told; with DIR also while it waits), 4 the witness has\n" \
    "seen another or a longer log, or answers with a wrong signature, 1 usage.\n"

struct witness_args {
    const char *log, *to, *key, *every;
    uint64_t seconds;
    struct quorum who; /* exactly one */
};

static volatile sig_atomic_t witness_ended;

static void witness_on_signal(int sig)
{
    (void)sig;
    witness_ended = 1;
}

static int witness_parse(int argc, char **argv, struct witness_args *a)
{
    for (int i = 1; i < argc; i++) {
        const char **value = strcmp(argv[i], "--to") == 0      ? &a->to
                             : strcmp(argv[i], "--key") == 0   ? &a->key
                             : strcmp(argv[i], "--every") == 0 ? &a->every
                                                               : NULL;
        if (value) {
            if (++i == argc)
                return ctl_fail(CTL_USAGE, VERB, "%s needs a value", argv[i - 1]);
            *value = argv[i];
        } else if (argv[i][0] == '-') {
            return ctl_fail(CTL_USAGE, VERB, "unknown flag %s: see `cellctl witness --help`", argv[i]);
        } else if (a->log) {
            return ctl_fail(CTL_USAGE, VERB, "one log only, %s is a second one", argv[i]);
        } else {
            a->log = argv[i];
        }
    }
    if (!a->log || !a->to || !a->key)
        return ctl_fail(CTL_USAGE, VERB, "LOG, --to and --key are needed: see `cellctl witness --help`");
    if (a->every && num_parse_u64(str_of(a->every), 1, EVERY_MAX, &a->seconds) < 0)
        return ctl_fail(CTL_USAGE, VERB, "--every %s: seconds, 1 to %d", a->every, EVERY_MAX);
    return CTL_OK;
}

/* witness/<name>-<id>.note, the name with nothing in it that a file's must not have. */
static void witness_file(const struct cosigner *k, char *dst, size_t cap)
{
    int n = snprintf(dst, cap, "witness/%s-%08" PRIx32 ".note", k->name, k->id);

    for (int i = (int)sizeof("witness/") - 1; i < n && i < (int)cap; i++)
        if (dst[i] == '/')
            dst[i] = '_';
}

/* ---- one round ---- */

struct witness_round {
    const struct witness_args *a;
    struct prover *prover;
    char file[CHECKPOINT_NAME_MAX + 64];
    struct checkpoint old; /* what the witness saw last, as far as known; size 0: nothing */
};

static bool witness_is_url(const char *to)
{
    return strncmp(to, "unix:", 5) == 0 || strncmp(to, "http://", 7) == 0 || strncmp(to, "https://", 8) == 0;
}

/* The note that this witness cosigned last. */
static int witness_last(struct witness_round *w)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    const struct loghead *head = prover_head(w->prover);
    uint64_t when;
    int r;

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    w->old = (struct checkpoint){.size = 0};
    r = log_verify_read_file(head->fd, w->file, &note);
    if (r == -ENOENT)
        return CTL_OK;
    if (r < 0)
        return ctl_fail(CTL_FAILED, VERB, "cannot read %s/%s: %s", w->a->log, w->file, strerror(-r));
    if (cosign_check(buf_str(&note), &w->a->who.key[0], &when) != COSIGN_OK ||
        !loghead_is_ours(head, buf_str(&note), &w->old))
        w->old = (struct checkpoint){.size = 0}; /* the witness says itself what it saw */
    return CTL_OK;
}

/* The request from the old size to the log's head. */
static int witness_request(struct witness_round *w, uint64_t old, struct buf *request)
{
    const struct loghead *head = prover_head(w->prover);
    struct proof_text t = {.at = old, .note = buf_str(&head->note)};
    int r = prover_path(w->prover, old, &head->checkpoint, &t.proof);

    if (r != CTL_OK)
        return r;
    proof_text_put_old(&t, request);
    return request->err ? ctl_fail(CTL_FAILED, VERB, "out of memory") : CTL_OK;
}

static int witness_store(struct witness_round *w, const struct witness_reply *reply)
{
    const struct loghead *head = prover_head(w->prover);
    struct outfile_at o = {.dirfd = head->fd, .mode = 0600, .dir_mode = 0700, .sync = true};
    struct str note = reply->note.len ? buf_str(&reply->note) : buf_str(&head->note);
    _cleanup_(buf_done) struct buf cosigned = {.data = NULL};
    struct checkpoint c;
    int r;

    buf_init(&cosigned, CHECKPOINT_NOTE_MAX);
    if (!loghead_is_ours(head, note, &c))
        return ctl_fail(CTL_TAMPERED, VERB, "the answer in %s is about a note that is not of this log",
                        w->a->to);
    r = cosign_add(note, buf_str(&reply->body), &w->a->who.key[0], &cosigned);
    if (r != COSIGN_OK)
        return ctl_fail(r < 0 ? CTL_FAILED : CTL_TAMPERED, VERB, "%s's answer: %s", w->a->who.key[0].name,
                        r < 0 ? strerror(-r) : cosign_error_text(r));
    r = outfile_replace_at(&o, w->file, buf_str(&cosigned));
    if (r < 0)
        return ctl_fail(CTL_FAILED, VERB, "cannot write %s/%s: %s", w->a->log, w->file, strerror(-r));
    (void)printf("%s: %" PRIu64 " events cosigned by %s\n", w->a->log, c.size, w->a->who.key[0].name);
    (void)fflush(stdout);
    return CTL_OK;
}

static int witness_told(const struct witness_round *w, const struct witness_reply *reply)
{
    const struct checkpoint *c = &prover_head(w->prover)->checkpoint;
    const char *name = w->a->who.key[0].name;

    switch (reply->answer) {
    case WITNESS_WAITING:
        return ctl_fail(CTL_FAILED, VERB, "the request of %" PRIu64 " events waits in %s for %s", c->size,
                        w->a->to, name);
    case WITNESS_UNKNOWN_LOG:
        return ctl_fail(CTL_FAILED, VERB,
                        "%s does not know the log %s: its operator must add it with the key in %s/vkey", name,
                        c->origin, w->a->log);
    case WITNESS_FORBIDDEN:
        return ctl_fail(CTL_FAILED, VERB, "%s knows the log %s, but not the key that signs it", name,
                        c->origin);
    case WITNESS_INCONSISTENT:
        return ctl_fail(CTL_TAMPERED, VERB,
                        "%s refuses: this log of %" PRIu64 " events does not continue what it has seen of %s",
                        name, c->size, c->origin);
    case WITNESS_CONFLICT:
        if (reply->size > c->size)
            return ctl_fail(CTL_TAMPERED, VERB,
                            "%s has seen %" PRIu64 " events of %s, this log has %" PRIu64 ": it was cut",
                            name, reply->size, c->origin, c->size);
        return ctl_fail(CTL_FAILED, VERB, "%s changes its mind about the size it has seen", name);
    default:
        return ctl_fail(CTL_FAILED, VERB, "%s answers with HTTP status %u", name, reply->status);
    }
}

/* *ret_again: the witness named another size, w->old.size now. */
static int witness_ask(struct witness_round *w, bool *ret_again)
{
    const struct checkpoint *c = &prover_head(w->prover)->checkpoint;
    _cleanup_(witness_reply_done) struct witness_reply reply = {.status = 0};
    _cleanup_(buf_done) struct buf request = {.data = NULL};
    int r;

    witness_reply_init(&reply);
    buf_init(&request, PROOF_TEXT_MAX);
    r = witness_request(w, w->old.size, &request);
    if (r != CTL_OK)
        return r;
    r = witness_is_url(w->a->to) ? witness_post(w->a->to, buf_str(&request), &reply)
                                 : witness_drop(w->a->to, c->origin, buf_str(&request), &reply);
    if (r < 0)
        return ctl_fail(CTL_FAILED, VERB, "no answer from %s: %s", w->a->to, reply.why);
    if (reply.answer == WITNESS_COSIGNED)
        return witness_store(w, &reply);
    if (reply.answer == WITNESS_CONFLICT && reply.size <= c->size && reply.size != w->old.size) {
        w->old.size = reply.size;
        *ret_again = true;
        return CTL_OK;
    }
    return witness_told(w, &reply);
}

static int witness_round(struct witness_round *w)
{
    const struct loghead *head;
    struct proof proof;
    int r = prover_open(VERB, w->a->log, &w->prover);

    if (r != CTL_OK)
        return r;
    head = prover_head(w->prover);
    witness_file(&w->a->who.key[0], w->file, sizeof(w->file));
    r = witness_last(w);
    if (r == CTL_OK && w->old.size > 0) /* who was shown something else must hear of it here first */
        r = prover_extends(w->prover, &w->old, &head->checkpoint, &proof);
    for (int i = 0; r == CTL_OK && i < TRIES; i++) {
        bool again = false;

        r = witness_ask(w, &again);
        if (!again)
            return r;
    }
    return r == CTL_OK ? ctl_fail(CTL_FAILED, VERB, "%s does not come to a size", w->a->who.key[0].name) : r;
}

static int witness_once(const struct witness_args *a)
{
    struct witness_round w = {.a = a};
    int r = witness_round(&w);

    prover_free(w.prover);
    return r;
}

static void witness_sleep(uint64_t seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds};

    (void)nanosleep(&left, NULL); /* a signal ends it */
}

static int witness_every(const struct witness_args *a)
{
    struct sigaction sa = {.sa_handler = witness_on_signal};
    int r;

    if (sigaction(SIGINT, &sa, NULL) < 0 || sigaction(SIGTERM, &sa, NULL) < 0)
        return ctl_fail(CTL_FAILED, VERB, "cannot watch for signals: %s", strerror(errno));
    for (;;) {
        r = witness_once(a);
        if (r == CTL_TAMPERED || witness_ended)
            return r;
        witness_sleep(a->seconds);
        if (witness_ended)
            return CTL_OK;
    }
}

static int witness_run(int argc, char **argv)
{
    struct witness_args a = {.log = NULL};
    int r = witness_parse(argc, argv, &a);

    if (r == CTL_OK)
        r = digest_init() < 0 || ed25519_init() < 0
                ? ctl_fail(CTL_FAILED, VERB, "libsodium or libcrypto cannot start")
                : CTL_OK;
    if (r == CTL_OK)
        r = quorum_add(VERB, &a.who, a.key);
    if (r != CTL_OK)
        return r;
    return a.every ? witness_every(&a) : witness_once(&a);
}

const struct ctl_verb ctl_verb_witness = {
    VERB,
    "have a log's checkpoint cosigned by a witness",
    WITNESS_HELP,
    witness_run,
};
