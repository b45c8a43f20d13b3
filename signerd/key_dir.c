/* SPDX-License-Identifier: MIT */
#include "signerd/key_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "common/base/log.h"
#include "common/evidence/log_verify.h"
#include "signerd/replace.h"
#include "signerd/token_uri.h"

#define KEY_DIR_TMP     "new.key.tmp"
#define KEY_DIR_POLL_NS 20000000
#define KEY_DIR_ID_LEN  16 /* hex digits of the key in a file's name */
#define KEY_DIR_NAME    (KEY_DIR_ID_LEN + sizeof(".key"))

/* ---- the directory ---- */

/* Who may write there can put another key, or another public part, in the place of ours. */
static int key_dir_check(int dirfd)
{
    struct stat st;

    if (fstat(dirfd, &st) < 0)
        return -errno;
    return st.st_uid == geteuid() && (st.st_mode & 022) == 0 ? 0 : -EPERM;
}

static int key_dir_lock(int dir)
{
    const struct timespec pause = {.tv_nsec = KEY_DIR_POLL_NS};
    uint64_t until = clock_boottime_us() + KEY_DIR_LOCK_MS * 1000u;

    while (flock(dir, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -errno;
        if (clock_boottime_us() > until)
            return -EWOULDBLOCK;
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

static int key_dir_read(struct key_dir *d)
{
    size_t line = 0;
    int r = log_verify_read_file(d->dir, KEYSET_FILE, &d->text);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return log_errno(r == -ELOOP ? -EPERM : r, "cannot read keys/%s", KEYSET_FILE);
    r = keyset_chain_read(buf_str(&d->text), &d->chain, &line);
    if (r > 0) {
        log_error("keys/%s, line %zu: %s: restore it from a copy", KEYSET_FILE, line, keyset_error_text(r));
        return -EBADMSG;
    }
    return r;
}

int key_dir_open(int dirfd, struct key_dir *ret)
{
    int r = key_dir_check(dirfd);

    if (r < 0)
        return log_errno(r, "keys must be a directory of this user that nobody else may write");
    ret->chain.n = 0;
    buf_init(&ret->text, KEYSET_FILE_MAX);
    ret->dir = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret->dir < 0)
        return log_errno(-errno, "cannot open the directory of the keys");
    r = key_dir_lock(ret->dir);
    if (r < 0)
        (void)log_errno(r, "another process works on the keys and does not end");
    else
        r = key_dir_read(ret);
    if (r < 0)
        key_dir_done(ret);
    return r;
}

void key_dir_done(struct key_dir *d)
{
    cleanup_closep(&d->dir);
    d->dir = -EBADF;
    buf_done(&d->text);
}

/* ---- files ---- */

static void key_dir_name(const char *keyid, const char *suffix, char dst[static KEY_DIR_NAME])
{
    (void)snprintf(dst, KEY_DIR_NAME, "%.*s%s", KEY_DIR_ID_LEN, keyid + sizeof("sha256:") - 1, suffix);
}

static int key_dir_sync(const struct key_dir *d)
{
    return fsync(d->dir) < 0 ? -errno : 0;
}

static int key_dir_open_file(const struct key_dir *d, const char *name, int flags)
{
    int fd = openat(d->dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    return fd < 0 ? (errno == ELOOP ? -EPERM : -errno) : fd;
}

/* Overwrites a seed before its name goes. On a file system that writes elsewhere, or on flash, the old bytes
 * may stay somewhere all the same. */
static int key_dir_wipe(const struct key_dir *d, const char *name)
{
    static const char zeros[KEY_STORE_LINE_LEN];
    _cleanup_close_ int fd = key_dir_open_file(d, name, O_WRONLY);

    if (fd == -ENOENT)
        return 0;
    if (fd >= 0 && (pwrite(fd, zeros, sizeof(zeros), 0) != (ssize_t)sizeof(zeros) || fdatasync(fd) < 0))
        return errno ? -errno : -EIO;
    return unlinkat(d->dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int key_dir_write(const struct key_dir *d, const char *name, struct str bytes)
{
    struct replace once;
    char tmp[64];
    int r;

    (void)snprintf(tmp, sizeof(tmp), "%s.tmp", name);
    replace_init(&once, d->dir, name, tmp);
    r = replace_write(&once, bytes);
    replace_done(&once);
    return r;
}

int key_dir_write_vkey(struct key_dir *d, const struct vkey *k)
{
    _cleanup_(buf_done) struct buf want = {.data = NULL}, have = {.data = NULL};
    int r;

    buf_init(&want, CHECKPOINT_VKEY_MAX + 1);
    buf_init(&have, CHECKPOINT_VKEY_MAX + 1);
    vkey_render(k, &want);
    buf_putc(&want, '\n');
    if (want.err)
        return want.err;
    if (log_verify_read_file(d->dir, KEYS_VKEY_FILE, &have) == 0 && str_eq(buf_str(&want), buf_str(&have)))
        return 0;
    r = key_dir_write(d, KEYS_VKEY_FILE, buf_str(&want));
    return r < 0 ? log_errno(r, "cannot write keys/%s", KEYS_VKEY_FILE) : 0;
}

/* ---- the key in its place ---- */

/* name is one of the active key's files; other is the one it must not stand beside. */
static int key_dir_place(struct key_dir *d, const char *name, const char *place, const char *other)
{
    _cleanup_close_ int fd = key_dir_open_file(d, name, O_RDONLY);
    int r;

    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return fd;
    r = key_dir_wipe(d, other);
    if (r == 0)
        r = key_dir_wipe(d, place);
    if (r == 0 && renameat(d->dir, name, d->dir, place) < 0)
        r = -errno;
    return r < 0 ? r : key_dir_sync(d);
}

int key_dir_finish(struct key_dir *d)
{
    char key[KEY_DIR_NAME], uri[KEY_DIR_NAME];
    const struct keyset_key *active = d->chain.n ? keyset_active(&d->chain.newest) : NULL;
    int r;

    if (!active)
        return 0;
    key_dir_name(active->k.keyid, ".key", key);
    key_dir_name(active->k.keyid, ".uri", uri);
    r = key_dir_place(d, key, KEYS_FILE, KEYS_URI_FILE);
    if (r == 0)
        r = key_dir_place(d, uri, KEYS_URI_FILE, KEYS_FILE);
    return r < 0 ? log_errno(r, "cannot put the active key in its place in keys") : 0;
}

int key_dir_vacate(struct key_dir *d)
{
    int r = key_dir_wipe(d, KEYS_FILE);

    if (r == 0)
        r = key_dir_wipe(d, KEYS_URI_FILE);
    return r < 0 ? log_errno(r, "cannot remove the old key") : key_dir_sync(d);
}

int key_dir_forget(struct key_dir *d, const struct keyset_key *k)
{
    char key[KEY_DIR_NAME], uri[KEY_DIR_NAME];
    int r;

    key_dir_name(k->k.keyid, ".key", key);
    key_dir_name(k->k.keyid, ".uri", uri);
    r = key_dir_wipe(d, key);
    if (r == 0)
        r = key_dir_wipe(d, uri);
    return r < 0 ? r : key_dir_sync(d);
}

/* ---- orphans ---- */

static bool key_dir_is_key_file(const char *name)
{
    size_t n = strspn(name, "0123456789abcdef");

    return n == KEY_DIR_ID_LEN && (strcmp(name + n, ".key") == 0 || strcmp(name + n, ".uri") == 0);
}

static bool key_dir_known(const struct key_dir *d, const char *name)
{
    const struct keyset *k = &d->chain.newest;

    for (size_t i = 0; d->chain.n && i < k->n; i++)
        if ((k->key[i].state == KEYSET_ACTIVE || k->key[i].state == KEYSET_STANDBY) &&
            memcmp(k->key[i].k.keyid + sizeof("sha256:") - 1, name, KEY_DIR_ID_LEN) == 0)
            return true;
    return false;
}

int key_dir_sweep(struct key_dir *d)
{
    int fd = openat(d->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;

    if (!dir) {
        cleanup_closep(&fd);
        return -errno;
    }
    while (r == 0 && (e = readdir(dir)))
        if (strcmp(e->d_name, KEY_DIR_TMP) == 0 ||
            (key_dir_is_key_file(e->d_name) && !key_dir_known(d, e->d_name)))
            r = key_dir_wipe(d, e->d_name);
    closedir(dir);
    return r;
}

/* ---- stores ---- */

static int key_dir_read_seed(const struct key_dir *d, const char *name, struct key_store **ret)
{
    _cleanup_close_ int fd = key_dir_open_file(d, name, O_RDONLY);
    int r = fd < 0 ? fd : key_store_read(fd, ret);

    if (r == -EPERM)
        return log_errno(r, "keys/%s must be a file of this user with mode 0600", name);
    return r < 0 && r != -ENOENT ? log_errno(r, "cannot read keys/%s", name) : r;
}

static int key_dir_read_uri(const struct key_dir *d, const char *name, struct key_store **ret)
{
    _cleanup_close_ int fd = key_dir_open_file(d, name, O_RDONLY);
    char uri[TOKEN_URI_MAX + 2] = "";
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return log_errno(-EPERM, "keys/%s must be a file of this user with mode 0600", name);
    n = read(fd, uri, sizeof(uri) - 1);
    if (n < 1 || uri[n - 1] != '\n' || memchr(uri, '\0', (size_t)n))
        return log_errno(-EBADMSG, "keys/%s does not hold one pkcs11: URI", name);
    uri[n - 1] = '\0';
    return key_store_token(uri, ret);
}

/* The wording of a credential's absence is the caller's: it may be looked for only in case it is there. */
static int key_dir_credential(const char *name, struct key_store **ret)
{
    int r = key_store_credential(name, ret);

    if (r == -EPERM)
        return log_errno(r, "the credential %s may be read by others", name);
    return r < 0 && r != -ENOENT ? log_errno(r, "cannot read the credential %s", name) : r;
}

int key_dir_active(struct key_dir *d, const char *source, struct key_store **ret)
{
    static const char credential[] = "credential:";
    int r;

    if (source && strncmp(source, credential, sizeof(credential) - 1) == 0) {
        const char *name = source + sizeof(credential) - 1;

        if (!*name || strchr(name, '/') || name[0] == '.')
            return log_errno(-EINVAL, "a credential's name is that of a file in $CREDENTIALS_DIRECTORY");
        r = key_dir_credential(name, ret);
        return r == -ENOENT ? log_errno(-ENOKEY, "there is no credential %s (LoadCredentialEncrypted=)", name)
                            : r;
    }
    if (source && token_uri_is(str_of(source)))
        return key_store_token(source, ret);
    if (source)
        return log_errno(-EINVAL, "a key is pkcs11:... or credential:NAME, not %s", source);
    r = key_dir_credential(KEY_STORE_CREDENTIAL, ret);
    if (r == -ENOENT)
        r = key_dir_read_uri(d, KEYS_URI_FILE, ret);
    return r == -ENOENT ? key_dir_read_seed(d, KEYS_FILE, ret) : r;
}

int key_dir_standby(struct key_dir *d, const struct keyset_key *k, struct key_store **ret)
{
    char key[KEY_DIR_NAME], uri[KEY_DIR_NAME];
    int r;

    key_dir_name(k->k.keyid, ".key", key);
    key_dir_name(k->k.keyid, ".uri", uri);
    r = key_dir_read_seed(d, key, ret);
    return r == -ENOENT ? key_dir_read_uri(d, uri, ret) : r;
}

/* Under the lock nobody else makes one; a left-over is of a crash. */
static int key_dir_new(struct key_dir *d, struct key_store **ret)
{
    _cleanup_close_ int fd = -EBADF;
    int r = key_dir_wipe(d, KEY_DIR_TMP);

    if (r < 0)
        return r;
    fd = openat(d->dir, KEY_DIR_TMP, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : key_store_make(fd, ret);
}

int key_dir_make(struct key_dir *d, struct key_store **ret)
{
    char keyid[ENVELOPE_KEYID_LEN + 1], name[KEY_DIR_NAME];
    struct key_store *s = NULL;
    int r = key_dir_new(d, &s);

    if (r == 0) {
        envelope_keyid(key_store_vkey(s)->public, keyid);
        key_dir_name(keyid, ".key", name);
        r = renameat(d->dir, KEY_DIR_TMP, d->dir, name) < 0 ? -errno : key_dir_sync(d);
    }
    if (r < 0) {
        key_store_free(s);
        return log_errno(r, "cannot make a key");
    }
    *ret = s;
    return 0;
}

int key_dir_note_uri(struct key_dir *d, const struct vkey *k, const char *uri)
{
    char keyid[ENVELOPE_KEYID_LEN + 1], name[KEY_DIR_NAME], line[TOKEN_URI_MAX + 2];
    int n = snprintf(line, sizeof(line), "%s\n", uri), r;

    envelope_keyid(k->public, keyid);
    key_dir_name(keyid, ".uri", name);
    r = key_dir_write(d, name, (struct str){line, (size_t)n});
    return r < 0 ? log_errno(r, "cannot write keys/%s", name) : 0;
}

/* ---- the keyset ---- */

void key_dir_next(const struct key_dir *d, struct keyset *ret)
{
    uint64_t now = clock_realtime_ms() / 1000;

    if (d->chain.n == 0) {
        memset(ret, 0, sizeof(*ret));
        ret->version = 1;
        ret->created_s = now;
        return;
    }
    *ret = d->chain.newest;
    ret->version++;
    ret->nsigs = 0;
    memcpy(ret->previous, d->chain.newest.digest, DIGEST_LEN);
    if (now > ret->created_s) /* a clock that was set back does not count back */
        ret->created_s = now;
}

static int key_dir_sign(struct keyset *k, struct key_store *const *by, size_t n)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    int r;

    buf_init(&text, KEYSET_LINE_MAX);
    r = keyset_signed(k, &text);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct keyset_sig *sig = &k->sig[k->nsigs];

        envelope_keyid(key_store_vkey(by[i])->public, sig->keyid);
        r = key_store_sign(by[i], text.data, text.len, sig->sig);
        if (r == 0)
            k->nsigs++;
    }
    return r;
}

/* What a verifier would say of the whole file: nothing is written that it would refuse. */
static int key_dir_check_file(struct key_dir *d, const struct buf *file)
{
    struct keyset_chain *c = malloc(sizeof(*c));
    int r = c ? keyset_chain_read(buf_str(file), c, /* ret_line= */ NULL) : -ENOMEM;

    if (r == KEYSET_OK)
        d->chain = *c;
    free(c);
    if (r > 0) {
        log_error("the new keyset is not one: %s", keyset_error_text(r));
        return -EINVAL;
    }
    return r;
}

int key_dir_append(struct key_dir *d, struct keyset *k, struct key_store *const *by, size_t n)
{
    _cleanup_(buf_done) struct buf file = {.data = NULL};
    struct keyset_chain *before = malloc(sizeof(*before));
    int r = before ? key_dir_sign(k, by, n) : -ENOMEM;

    buf_init(&file, KEYSET_FILE_MAX);
    buf_put_str(&file, buf_str(&d->text));
    if (r == 0)
        r = keyset_render(k, &file);
    buf_putc(&file, '\n');
    if (r == 0)
        r = file.err;
    if (r == 0) {
        *before = d->chain;
        r = key_dir_check_file(d, &file);
    }
    if (r == 0) {
        r = key_dir_write(d, KEYSET_FILE, buf_str(&file));
        if (r < 0)
            d->chain = *before;
    }
    free(before);
    if (r < 0)
        return log_errno(r, "cannot write keys/%s", KEYSET_FILE);
    buf_clear(&d->text);
    buf_put_str(&d->text, buf_str(&file));
    return d->text.err;
}

int key_dir_begin(struct key_dir *d, struct key_store *key, uint64_t not_after_s)
{
    struct keyset *k = malloc(sizeof(*k));
    int r;

    if (!k)
        return -ENOMEM;
    key_dir_next(d, k);
    k->n = 1;
    k->key[0].state = KEYSET_ACTIVE;
    k->key[0].k.vkey = *key_store_vkey(key);
    k->key[0].k.not_after_s = not_after_s;
    envelope_keyid(k->key[0].k.vkey.public, k->key[0].k.keyid);
    r = key_dir_append(d, k, &key, 1);
    free(k);
    return r;
}
