/* SPDX-License-Identifier: MIT */
/* cellctl key: which keys sign the logs of this user. */
#include "supervisor/ctl/key.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "common/evidence/log_verify.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/paths.h"

#define KEY_HELP                                                                                             \
    "usage: cellctl key new [--standby] [--valid-for TIME] [--new-key SOURCE]\n"                             \
    "       cellctl key list [--json]\n"                                                                     \
    "       cellctl key rotate [--valid-for TIME] [--grace TIME] [--new-key SOURCE]\n"                       \
    "       cellctl key revoke KEY [--at WHEN] [--reason TEXT]\n"                                            \
    "       cellctl key export [--keyset|--vkey] [-o FILE]\n\n"                                              \
    "The keys that sign the logs, and the keyset that says from when to when each of them counts. The\n"     \
    "keyset is signed and chained: who trusts one version can follow to any later one (`cellctl verify\n"    \
    "--keyset FILE`). The first run makes a first key by itself.\n\n"                                        \
    "  new       makes the first key, or with --standby one that waits: kept elsewhere, it can take over\n"  \
    "            when the active one is lost or stolen\n"                                                    \
    "  list      all keys, also those that do not sign any more\n"                                           \
    "  rotate    the standby key, or a new one, becomes active; the old one signs that and its secret is\n"  \
    "            destroyed. Runs that go on meanwhile sign with the old key to their end\n"                  \
    "  revoke    what KEY signs as of WHEN (default: now) is void; what it signed before stays good. If "    \
    "it\n"                                                                                                   \
    "            is the active key, the standby key or a new one takes over in the same step\n"              \
    "  export    the keyset for verifiers (default), or the active public key\n\n"                           \
    "  KEY               the first 4 or more digits of its id, or its name\n"                                \
    "  --valid-for TIME  the new key signs nothing after that: 90d, 12h, 30m, 45s, 2w, 1y\n"                 \
    "  --grace TIME      the old key counts only so much longer (default: without end)\n"                    \
    "  --at WHEN         2026-11-29T12:00:00Z; not in the future\n"                                          \
    "  --new-key SOURCE  the new key exists already: a PKCS#11 URI (pkcs11:token=T;object=O?module-path=\n"  \
    "                    /module.so&pin-source=file:/pin&x-token-dir=/dir) or credential:NAME (of "          \
    "systemd)\n"                                                                                             \
    "  --key SOURCE      where the active key is, if not in the directory or a credential\n"                 \
    "  --state DIR       another state directory (keys are in DIR/keys)\n"                                   \
    "  -o FILE           write there instead of to stdout\n\n"                                               \
    "Exit status: 0, 1 usage, 2 it cannot be done, 4 the keyset is not one.\n"

int key_open_dir(const struct key_args *a, bool make, char path[PATH_MAX], int *ret_status)
{
    char state[PATH_MAX];
    int r = a->state ? 0 : paths_state(state), fd;

    *ret_status = CTL_FAILED;
    if (r < 0) {
        (void)ctl_fail(CTL_FAILED, "key", "no state directory is known (%s): give one with --state",
                       strerror(-r));
        return -1;
    }
    if (snprintf(path, PATH_MAX, "%s/keys", a->state ? a->state : state) >= PATH_MAX) {
        (void)ctl_fail(CTL_FAILED, "key", "the state directory's path is too long");
        return -1;
    }
    r = make ? paths_make(a->state ? a->state : state, "keys", path) : 0;
    fd = r < 0 ? r : open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (r == 0 && fd < 0)
        r = -errno;
    if (r == -ENOENT)
        (void)ctl_fail(CTL_FAILED, "key", "%s does not exist: the first run, or `cellctl key new`, makes it",
                       path);
    else if (r < 0)
        (void)ctl_fail(CTL_FAILED, "key", "cannot open %s: %s", path, strerror(-r));
    return r < 0 ? -1 : fd;
}

int key_read(int dirfd, const char *path, struct buf *text, struct keyset_chain *chain, bool *absent)
{
    size_t line = 0;
    int r = log_verify_read_file(dirfd, KEYSET_FILE, text);

    if (absent)
        *absent = r == -ENOENT;
    if (r == -ENOENT && absent)
        return CTL_OK;
    if (r == -ENOENT)
        return ctl_fail(CTL_FAILED, "key",
                        "there is no keyset in %s yet: the first run, or `cellctl key new`, makes it", path);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "key", "cannot read %s/%s: %s", path, KEYSET_FILE, strerror(-r));
    r = keyset_chain_read(buf_str(text), chain, &line);
    if (r != KEYSET_OK)
        return ctl_fail(CTL_TAMPERED, "key", "%s/%s, line %zu: %s", path, KEYSET_FILE, line,
                        keyset_error_text(r));
    return CTL_OK;
}

/* ---- arguments ---- */

static const struct key_flag {
    const char *name;
    size_t value;     /* offset of a const char *, or */
    size_t set;       /* of a bool */
    const char *with; /* the actions it belongs to */
} key_flags[] = {
#define VALUE(name, member, with)                                                                            \
    {                                                                                                        \
        name, offsetof(struct key_args, member), 0, with                                                     \
    }
#define SET(name, member, with)                                                                              \
    {                                                                                                        \
        name, 0, offsetof(struct key_args, member), with                                                     \
    }
    VALUE("--state", state, "new list rotate revoke export"),
    VALUE("--key", key, "new rotate revoke"),
    VALUE("--new-key", new_key, "new rotate revoke"),
    VALUE("--valid-for", valid_for, "new rotate"),
    VALUE("--grace", grace, "rotate"),
    VALUE("--at", at, "revoke"),
    VALUE("--reason", reason, "revoke"),
    VALUE("-o", output, "export"),
    SET("--standby", standby, "new"),
    SET("--json", json, "list"),
    SET("--vkey", vkey, "export"),
    SET("--keyset", keyset, "export"),
#undef VALUE
#undef SET
};

static bool key_in_words(const char *words, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = words; (p = strstr(p, word)); p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
            return true;
    return false;
}

static const struct key_flag *key_find_flag(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(key_flags); i++)
        if (strcmp(key_flags[i].name, name) == 0)
            return &key_flags[i];
    return NULL;
}

static int key_take(struct key_args *a, int argc, char **argv, int *i)
{
    const struct key_flag *f = key_find_flag(argv[*i]);
    char *base = (char *)a;

    if (!f)
        return ctl_fail(CTL_USAGE, "key", "unknown flag %s: see `cellctl key --help`", argv[*i]);
    if (!key_in_words(f->with, a->action))
        return ctl_fail(CTL_USAGE, "key", "%s is not for `key %s`: see `cellctl key --help`", f->name,
                        a->action);
    if (f->set) {
        *(bool *)(base + f->set) = true;
        return CTL_OK;
    }
    if (++*i == argc)
        return ctl_fail(CTL_USAGE, "key", "%s needs a value", f->name);
    *(const char **)(void *)(base + f->value) = argv[*i];
    return CTL_OK;
}

static int key_parse(int argc, char **argv, struct key_args *ret)
{
    struct key_args a = {.action = argc > 1 ? argv[1] : ""};
    int r = CTL_OK;

    if (!a.action[0] || !key_in_words("new list rotate revoke export", a.action))
        return ctl_fail(CTL_USAGE, "key", "%s: new, list, rotate, revoke or export; see `cellctl key --help`",
                        a.action[0] ? "unknown action" : "an action is missing");
    for (int i = 2; r == CTL_OK && i < argc; i++) {
        if (argv[i][0] == '-')
            r = key_take(&a, argc, argv, &i);
        else if (strcmp(a.action, "revoke") == 0 && !a.id)
            a.id = argv[i];
        else
            r = ctl_fail(CTL_USAGE, "key", "%s is one argument too many", argv[i]);
    }
    if (r == CTL_OK && strcmp(a.action, "revoke") == 0 && !a.id)
        r = ctl_fail(CTL_USAGE, "key", "which key? `cellctl key list` shows them");
    if (r == CTL_OK && a.vkey && a.keyset)
        r = ctl_fail(CTL_USAGE, "key", "--keyset or --vkey, not both");
    if (r == CTL_OK)
        *ret = a;
    return r;
}

static int key_run(int argc, char **argv)
{
    struct key_args a = {.action = ""};
    int r = key_parse(argc, argv, &a);

    if (r != CTL_OK)
        return r;
    if (digest_init() < 0 || ed25519_init() < 0)
        return ctl_fail(CTL_FAILED, "key", "SHA-256 or Ed25519 is not available");
    if (strcmp(a.action, "list") == 0)
        return key_list(&a);
    return strcmp(a.action, "export") == 0 ? key_export(&a) : key_change(&a);
}

const struct ctl_verb ctl_verb_key = {
    "key",
    "the keys that sign logs: make, list, rotate, revoke, export",
    KEY_HELP,
    key_run,
};
