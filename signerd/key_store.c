/* SPDX-License-Identifier: MIT */
#include "signerd/key_store.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "common/base/log.h"
#include "signerd/token.h"

struct key_store {
    uint8_t *secret; /* sodium_malloc, no access between signatures; NULL: a token has it */
    struct token *token;
    bool open; /* between begin and end */
    struct vkey vkey;
};

struct key_store *key_store_free(struct key_store *s)
{
    if (s) {
        sodium_free(s->secret);
        token_free(s->token);
        free(s);
    }
    return NULL;
}

const struct vkey *key_store_vkey(const struct key_store *s)
{
    return &s->vkey;
}

int key_store_fd(const struct key_store *s)
{
    return s->token ? token_fd(s->token) : -EBADF;
}

/* ---- signing ---- */

/* Without the key the process is useless, and it must not go on in an unknown state. */
void key_store_begin(struct key_store *s)
{
    if (s->secret && sodium_mprotect_readonly(s->secret) != 0)
        abort();
    s->open = true;
}

void key_store_end(struct key_store *s)
{
    s->open = false;
    if (s->secret && sodium_mprotect_noaccess(s->secret) != 0)
        abort();
}

int key_store_sign(struct key_store *s, const void *msg, size_t n, uint8_t ret_sig[static ED25519_SIG_LEN])
{
    bool alone = !s->open;

    if (s->token)
        return token_sign(s->token, msg, n, ret_sig);
    if (alone)
        key_store_begin(s);
    ed25519_sign(s->secret, msg, n, ret_sig);
    if (alone)
        key_store_end(s);
    return 0;
}

/* ---- seeds ---- */

/* sodium_malloc() locks as far as it can and does not say whether it could. And a child is forked for a
 * token's foreign code: no secret may be in it. */
static int key_store_guard(uint8_t *secret)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)secret / page * page,
              to = ((uintptr_t)secret + ED25519_SECRET_LEN + page - 1) / page * page;

    if (mlock(secret, ED25519_SECRET_LEN) < 0)
        return log_errno(-errno, "the memory of the signing key cannot be locked (see ulimit -l)");
    return madvise((void *)from, to - from, MADV_DONTFORK) < 0 ? -errno : 0;
}

static int key_store_seed(const uint8_t *seed, struct key_store **ret)
{
    struct key_store *s = calloc(1, sizeof(*s));
    uint8_t public[ED25519_PUBLIC_LEN];
    int r = -ENOMEM;

    if (s)
        s->secret = sodium_malloc(ED25519_SECRET_LEN);
    if (s && s->secret)
        r = key_store_guard(s->secret);
    if (r < 0) {
        key_store_free(s);
        return r;
    }
    ed25519_from_seed(seed, public, s->secret);
    vkey_from_public(public, &s->vkey);
    key_store_end(s);
    *ret = s;
    return 0;
}

static int key_store_check_file(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return -EPERM;
    return st.st_size == KEY_STORE_LINE_LEN ? 0 : -EBADMSG;
}

/* The bytes go from the kernel into locked memory and nowhere else. */
static int key_store_read_line(int fd, char *line)
{
    size_t n = 0;

    while (n < KEY_STORE_LINE_LEN) {
        ssize_t r = read(fd, line + n, KEY_STORE_LINE_LEN - n);

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EBADMSG;
        n += (size_t)r;
    }
    return line[KEY_STORE_LINE_LEN - 1] == '\n' ? 0 : -EBADMSG;
}

static int key_store_take(int fd, struct key_store **ret)
{
    _cleanup_sodium_ char *line = sodium_malloc(KEY_STORE_LINE_LEN);
    _cleanup_sodium_ uint8_t *seed = sodium_malloc(ED25519_SEED_LEN);
    size_t got = 0;
    int r = seed && line ? key_store_read_line(fd, line) : -ENOMEM;

    if (r < 0)
        return r;
    if (sodium_base642bin(seed, ED25519_SEED_LEN, line, KEY_STORE_LINE_LEN - 1, /* ignore= */ NULL, &got,
                          /* b64_end= */ NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        got != ED25519_SEED_LEN)
        return -EBADMSG;
    return key_store_seed(seed, ret);
}

int key_store_read(int fd, struct key_store **ret)
{
    int r = key_store_check_file(fd);

    return r < 0 ? r : key_store_take(fd, ret);
}

int key_store_credential(const char *name, struct key_store **ret)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    _cleanup_close_ int dirfd = -EBADF, fd = -EBADF;
    struct stat st;

    if (!dir || dir[0] != '/')
        return -ENOENT;
    dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return -errno;
    fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ELOOP ? -EPERM : -errno;
    /* systemd: 0400 of root with an ACL for the service's user, whose mask shows as the group's bits. */
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 037) != 0)
        return -EPERM;
    return st.st_size == KEY_STORE_LINE_LEN ? key_store_take(fd, ret) : -EBADMSG;
}

int key_store_make(int fd, struct key_store **ret)
{
    _cleanup_sodium_ uint8_t *seed = sodium_malloc(ED25519_SEED_LEN);
    _cleanup_sodium_ char *line = sodium_malloc(KEY_STORE_LINE_LEN + 1);
    int r;

    if (!seed || !line)
        return -ENOMEM;
    randombytes_buf(seed, ED25519_SEED_LEN);
    sodium_bin2base64(line, KEY_STORE_LINE_LEN + 1, seed, ED25519_SEED_LEN, sodium_base64_VARIANT_ORIGINAL);
    line[KEY_STORE_LINE_LEN - 1] = '\n';
    r = io_write_full(fd, line, KEY_STORE_LINE_LEN);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r < 0 ? r : key_store_seed(seed, ret);
}

/* ---- tokens ---- */

int key_store_token(const char *uri, struct key_store **ret)
{
    struct key_store *s = calloc(1, sizeof(*s));
    uint8_t public[ED25519_PUBLIC_LEN];
    int r = s ? token_open(uri, public, &s->token) : -ENOMEM;

    if (r < 0) {
        key_store_free(s);
        return r;
    }
    vkey_from_public(public, &s->vkey);
    *ret = s;
    return 0;
}
