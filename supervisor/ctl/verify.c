/* SPDX-License-Identifier: MIT */
/* cellctl verify: checks logs with public keys alone. Everything it reads is foreign; it never writes. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "common/base/io.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/term.h"
#include "supervisor/ctl/verify_report.h"

#define VERIFY_HELP                                                                                          \
    "usage: cellctl verify [DIR] [--key KEY|--keyset FILE] [--checkpoint FILE] [-v]\n\n"                     \
    "Checks a log, or every log below a directory: each line's signature, digests and form, the numbering\n" \
    "of the log and of every run, the tree, and the checkpoint that signs it. Nothing but the public key\n"  \
    "is needed. Without DIR the logs of this user's runs are checked.\n\n"                                   \
    "  --key KEY          public key to trust: a vkey (name+id+base64) or a file with one. Without it the\n" \
    "                     key of this user's state directory, else the key the log itself declares\n"        \
    "  --keyset FILE      keyset to trust (`cellctl key export`), at any version: newer ones that the log "  \
    "has\n"                                                                                                  \
    "                     and that chain from it count too\n"                                                \
    "  --checkpoint FILE  a checkpoint kept elsewhere (cellctl run --checkpoint): only with one can it be\n" \
    "                     seen that a log was rolled back or cut\n"                                          \
    "  -v                 more about each log\n\n"                                                           \
    "Exit status: 0 all good, 4 something is wrong, 2 a log cannot be read, 1 usage.\n"

struct verify_args {
    const char *dir;
    const char *key;
    const char *keyset;
    const char *checkpoint;
    bool verbose;
};

static int verify_parse(int argc, char **argv, struct verify_args *ret)
{
    for (int i = 1; i < argc; i++) {
        const char **value = strcmp(argv[i], "--key") == 0          ? &ret->key
                             : strcmp(argv[i], "--keyset") == 0     ? &ret->keyset
                             : strcmp(argv[i], "--checkpoint") == 0 ? &ret->checkpoint
                                                                    : NULL;
        if (value) {
            if (++i == argc)
                return ctl_fail(CTL_USAGE, "verify", "%s needs a value", argv[i - 1]);
            *value = argv[i];
        } else if (strcmp(argv[i], "-v") == 0) {
            ret->verbose = true;
        } else if (argv[i][0] == '-') {
            return ctl_fail(CTL_USAGE, "verify", "unknown flag %s: see `cellctl verify --help`", argv[i]);
        } else if (ret->dir) {
            return ctl_fail(CTL_USAGE, "verify", "one directory only, %s is a second one", argv[i]);
        } else {
            ret->dir = argv[i];
        }
    }
    return CTL_OK;
}

/* KEY itself or the first line of the file with that name. */
static int verify_read_key(const char *verb, const char *key, struct vkey *ret)
{
    _cleanup_close_ int fd = -EBADF;
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    struct str s;
    int r;

    buf_init(&text, LOG_FILE_MAX);
    if (vkey_parse(str_of(key), ret) == 0)
        return CTL_OK;
    fd = open(key, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    r = fd < 0 ? -errno : io_read_to_end(fd, &text);
    if (r < 0)
        return ctl_fail(CTL_USAGE, verb, "--key %s is neither a vkey nor a file that can be read: %s", key,
                        strerror(-r));
    s = buf_str(&text);
    while (s.len > 0 && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r'))
        s.len--;
    if (vkey_parse(s, ret) < 0)
        return ctl_fail(CTL_USAGE, verb, "%s does not hold a vkey (name+id+base64)", key);
    return CTL_OK;
}

static int verify_read_keyset(const char *verb, const char *path, struct buf *b)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_read_to_end(fd, b);

    if (r < 0)
        return ctl_fail(CTL_FAILED, verb, "cannot read the keyset %s: %s", path, strerror(-r));
    return CTL_OK;
}

void verify_context_done(struct verify_context *c)
{
    buf_done(&c->keyset);
}

int verify_choose_key(const char *verb, const char *key, const char *keyset, struct verify_context *c)
{
    bool one = key != NULL; /* and not a keyset */
    int r = CTL_OK;

    if (digest_init() < 0)
        return ctl_fail(CTL_FAILED, verb, "SHA-256 is not available");
    buf_init(&c->keyset, KEYSET_FILE_MAX);
    if (key && keyset)
        return ctl_fail(CTL_USAGE, verb, "--key or --keyset, not both");
    c->key_from = key || keyset ? VERIFY_KEY_GIVEN : VERIFY_KEY_STATE;
    if (key)
        r = verify_read_key(verb, key, &c->key);
    else if (keyset)
        r = verify_read_keyset(verb, keyset, &c->keyset);
    else if (logdir_state_keyset(&c->keyset) < 0 && logdir_state_key(&c->key) == 0)
        one = true;
    else if (c->keyset.len == 0)
        c->key_from = VERIFY_KEY_LOG;
    if (one)
        c->trust.key = &c->key;
    else if (c->key_from != VERIFY_KEY_LOG)
        c->trust.keyset = (struct str){c->keyset.data ? (const char *)c->keyset.data : "", c->keyset.len};
    return r;
}

static int verify_read_checkpoint(const char *path, struct buf *note)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_read_to_end(fd, note);

    if (r < 0)
        return ctl_fail(CTL_FAILED, "verify", "cannot read the checkpoint %s: %s", path, strerror(-r));
    return CTL_OK;
}

/* The worst of two outcomes: a wrong log outweighs one that cannot be read. */
static int verify_worse(int a, int b)
{
    return a > b ? a : b;
}

static int verify_each(const struct logdir_list *logs, const struct verify_context *c)
{
    int status = CTL_OK;

    for (size_t i = 0; i < logs->n; i++)
        status = verify_worse(status, verify_one(c, logs->path[i]));
    term_status_clear();
    return status;
}

static int verify_run(int argc, char **argv)
{
    _cleanup_(logdir_list_done) struct logdir_list logs = {.n = 0};
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    struct verify_args a = {.dir = NULL};
    _cleanup_(verify_context_done) struct verify_context c = {.color = term_colors(STDOUT_FILENO)};
    int r = verify_parse(argc, argv, &a);

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    if (r == CTL_OK)
        r = verify_choose_key("verify", a.key, a.keyset, &c);
    if (r == CTL_OK && a.checkpoint)
        r = verify_read_checkpoint(a.checkpoint, &note);
    if (r == CTL_OK)
        r = logdir_find("verify", a.dir, &logs);
    if (r != CTL_OK)
        return r;
    c.verbose = a.verbose;
    c.several = logs.n > 1;
    if (a.checkpoint)
        c.outside = buf_str(&note);
    if (a.checkpoint && logs.n > 1)
        logdir_keep_origin(&logs, c.outside);
    if (logs.n == 0)
        return ctl_fail(CTL_TAMPERED, "verify", "no log here is the one %s is a checkpoint of", a.checkpoint);
    r = verify_each(&logs, &c);
    verify_summary(&c, logs.n);
    return r;
}

const struct ctl_verb ctl_verb_verify = {
    "verify",
    "check the signatures, the numbering and the tree of logs",
    VERIFY_HELP,
    verify_run,
};
