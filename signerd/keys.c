/* SPDX-License-Identifier: MIT */
#include "signerd/keys.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/encoding.h"
#include "common/base/io.h"
#include "common/base/log.h"

#define KEYS_LINE_LEN 45 /* 44 base64 characters and LF */
#define KEYS_TMP_FILE "signing.vkey.tmp"

struct keys {
    uint8_t *secret; /* sodium_malloc, no access between signatures */
    bool open;       /* between keys_sign_begin() and _end() */
    struct vkey vkey;
    char keyid[ENVELOPE_KEYID_LEN + 1];
    struct keyring ring;
};

struct keys *keys_free(struct keys *k)
{
    if (k) {
        sodium_free(k->secret);
        free(k);
    }
    return NULL;
}

const struct vkey *keys_vkey(const struct keys *k)
{
    return &k->vkey;
}

const char *keys_keyid(const struct keys *k)
{
    return k->keyid;
}

const struct keyring *keys_ring(const struct keys *k)
{
    return &k->ring;
}

/* Without the key the process is useless, and it must not go on in an unknown state. */
void keys_sign_begin(struct keys *k)
{
    if (sodium_mprotect_readonly(k->secret) != 0)
        abort();
    k->open = true;
}

void keys_sign_end(struct keys *k)
{
    k->open = false;
    if (sodium_mprotect_noaccess(k->secret) != 0)
        abort();
}

void keys_sign(struct keys *k, const void *msg, size_t n, uint8_t ret_sig[static ED25519_SIG_LEN])
{
    bool alone = !k->open;

    if (alone)
        keys_sign_begin(k);
    ed25519_sign(k->secret, msg, n, ret_sig);
    if (alone)
        keys_sign_end(k);
}

/* ---- making the key ---- */

/* A file without a name; where the file system has none of these, one with a random name (*ret_name is set).
 */
static int keys_open_new(int dirfd, char ret_name[static 32], int *ret_fd)
{
    int fd = openat(dirfd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);

    ret_name[0] = '\0';
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
        (void)snprintf(ret_name, 32, ".key-%08x%08x", randombytes_random(), randombytes_random());
        fd = openat(dirfd, ret_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

static int keys_write_seed(int fd)
{
    _cleanup_sodium_ uint8_t *seed = sodium_malloc(ED25519_SEED_LEN);
    _cleanup_sodium_ char *line = sodium_malloc(KEYS_LINE_LEN + 1);
    int r;

    if (!seed || !line)
        return -ENOMEM;
    randombytes_buf(seed, ED25519_SEED_LEN);
    sodium_bin2base64(line, KEYS_LINE_LEN + 1, seed, ED25519_SEED_LEN, sodium_base64_VARIANT_ORIGINAL);
    line[KEYS_LINE_LEN - 1] = '\n';
    r = fchmod(fd, 0600) < 0 ? -errno : 0;
    if (r == 0)
        r = io_write_full(fd, line, KEYS_LINE_LEN);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r;
}

/* Gives the finished file its name. A link never replaces: of two makers one wins, and both then read the
 * winner's. */
static int keys_publish(int dirfd, int fd, const char *name)
{
    char path[64];
    int r = 0;

    if (*name) {
        if (linkat(dirfd, name, dirfd, KEYS_FILE, 0) < 0)
            r = -errno;
        if (unlinkat(dirfd, name, 0) < 0 && r == 0)
            r = -errno;
    } else {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (linkat(AT_FDCWD, path, dirfd, KEYS_FILE, AT_SYMLINK_FOLLOW) < 0)
            r = -errno;
    }
    if (r == 0 || r == -EEXIST)
        r = fsync(dirfd) < 0 ? -errno : 0;
    return r;
}

static int keys_make(int dirfd)
{
    _cleanup_close_ int fd = -EBADF;
    char name[32];
    int r = keys_open_new(dirfd, name, &fd);

    if (r < 0)
        return r;
    r = keys_write_seed(fd);
    if (r < 0) {
        if (*name)
            (void)unlinkat(dirfd, name, 0);
        return r;
    }
    return keys_publish(dirfd, fd, name);
}

/* ---- reading it ---- */

static int keys_check_file(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return -EPERM;
    return st.st_size == KEYS_LINE_LEN ? 0 : -EBADMSG;
}

static int keys_read_seed(int fd, uint8_t *seed)
{
    _cleanup_sodium_ char *line = sodium_malloc(KEYS_LINE_LEN);
    size_t got = 0, n = 0;

    if (!line)
        return -ENOMEM;
    while (n < KEYS_LINE_LEN) {
        ssize_t r = read(fd, line + n, KEYS_LINE_LEN - n);

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EBADMSG;
        n += (size_t)r;
    }
    if (line[KEYS_LINE_LEN - 1] != '\n' ||
        sodium_base642bin(seed, ED25519_SEED_LEN, line, KEYS_LINE_LEN - 1, /* ignore= */ NULL, &got,
                          /* b64_end= */ NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        got != ED25519_SEED_LEN)
        return -EBADMSG;
    return 0;
}

static int keys_load(int dirfd, struct keys *k)
{
    _cleanup_close_ int fd = openat(dirfd, KEYS_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    _cleanup_sodium_ uint8_t *seed = NULL;
    uint8_t public[ED25519_PUBLIC_LEN];
    int r;

    if (fd < 0)
        return errno == ELOOP ? -EPERM : -errno;
    r = keys_check_file(fd);
    if (r < 0)
        return r;
    seed = sodium_malloc(ED25519_SEED_LEN);
    k->secret = sodium_malloc(ED25519_SECRET_LEN);
    if (!seed || !k->secret)
        return -ENOMEM;
    r = keys_read_seed(fd, seed);
    if (r < 0)
        return r;
    ed25519_from_seed(seed, public, k->secret);
    vkey_from_public(public, &k->vkey);
    envelope_keyid(public, k->keyid);
    keyring_one(&k->ring, &k->vkey);
    return sodium_mprotect_noaccess(k->secret) == 0 ? 0 : -errno;
}

/* The public part beside the key, so that a verifier need not read the secret. Replaced as a whole. */
static int keys_write_vkey(int dirfd, const struct vkey *vkey)
{
    _cleanup_close_ int fd = -EBADF;
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    int r;

    buf_init(&text, CHECKPOINT_VKEY_MAX + 1);
    vkey_render(vkey, &text);
    buf_putc(&text, '\n');
    if (text.err)
        return text.err;
    (void)unlinkat(dirfd, KEYS_TMP_FILE, 0);
    fd = openat(dirfd, KEYS_TMP_FILE, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? 0 : -errno; /* another signer writes the same text just now */
    r = io_write_full(fd, text.data, text.len);
    if (r == 0 && renameat(dirfd, KEYS_TMP_FILE, dirfd, KEYS_VKEY_FILE) < 0 && errno != ENOENT)
        r = -errno;
    return r;
}

static int keys_has_vkey(int dirfd)
{
    return faccessat(dirfd, KEYS_VKEY_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Who may write there can put another key, or another public part, in the place of ours. */
static int keys_check_dir(int dirfd)
{
    struct stat st;

    if (fstat(dirfd, &st) < 0)
        return -errno;
    return st.st_uid == geteuid() && (st.st_mode & 022) == 0 ? 0 : -EPERM;
}

static int keys_fill(int dirfd, struct keys *k)
{
    bool made = false;
    int r = keys_check_dir(dirfd);

    if (r < 0)
        return log_errno(r, "keys must be a directory of this user that nobody else may write");
    r = keys_load(dirfd, k);
    if (r == -ENOENT) {
        made = true;
        r = keys_make(dirfd);
        if (r < 0)
            return log_errno(r, "cannot make the signing key");
        r = keys_load(dirfd, k);
    }
    if (r == -EPERM)
        return log_errno(r, "keys/%s must be a file of this user with mode 0600", KEYS_FILE);
    if (r < 0)
        return log_errno(r, "cannot read keys/%s", KEYS_FILE);
    r = made || !keys_has_vkey(dirfd) ? keys_write_vkey(dirfd, &k->vkey) : 0;
    return r < 0 ? log_errno(r, "cannot write keys/%s", KEYS_VKEY_FILE) : 0;
}

int keys_open(int dirfd, struct keys **ret)
{
    struct keys *k = calloc(1, sizeof(*k));
    int r = k ? keys_fill(dirfd, k) : -ENOMEM;

    if (r < 0) {
        keys_free(k);
        return r;
    }
    *ret = k;
    return 0;
}
