/* SPDX-License-Identifier: MIT */
#include "common/evidence/sidecar.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/dir.h"

#define SIDECAR_KEY_LEN 16
#define SIDECAR_CHUNK   64 /* signatures that are read at once */

struct sidecar_file {
    char key[SIDECAR_KEY_LEN];
    int fd;
    uint64_t from; /* of the signatures in buffer */
    size_t have;
    uint8_t buffer[SIDECAR_CHUNK * ED25519_SIG_LEN];
};

struct sidecar_reader {
    int dirfd;
    bool open;
    uint64_t segment; /* whose files are open */
    size_t n;
    struct sidecar_file file[SIDECAR_KEYS_MAX];
};

void sidecar_name(uint64_t first, const char *keyid, char dst[static SIDECAR_NAME_MAX])
{
    (void)snprintf(dst, SIDECAR_NAME_MAX, "%020" PRIu64 "-%.16s.sig", first, keyid + sizeof("sha256:") - 1);
}

bool sidecar_name_of(const char *name, uint64_t first, const char **ret_key)
{
    char want[22];

    (void)snprintf(want, sizeof(want), "%020" PRIu64 "-", first);
    if (strlen(name) != SIDECAR_NAME_MAX - 1 || memcmp(name, want, 21) != 0 ||
        strcmp(name + 21 + SIDECAR_KEY_LEN, ".sig") != 0)
        return false;
    for (size_t i = 0; i < SIDECAR_KEY_LEN; i++)
        if (!strchr("0123456789abcdef", name[21 + i]))
            return false;
    *ret_key = name + 21;
    return true;
}

int sidecar_reader_new(int dirfd, struct sidecar_reader **ret)
{
    struct sidecar_reader *r = malloc(sizeof(*r));

    if (!r)
        return -ENOMEM;
    memset(r, 0, offsetof(struct sidecar_reader, file));
    r->dirfd = dirfd;
    *ret = r;
    return 0;
}

static void sidecar_close(struct sidecar_reader *r)
{
    while (r->n > 0)
        close(r->file[--r->n].fd);
    r->open = false;
}

struct sidecar_reader *sidecar_reader_free(struct sidecar_reader *r)
{
    if (r) {
        sidecar_close(r);
        free(r);
    }
    return NULL;
}

void sidecar_reader_freep(struct sidecar_reader **r)
{
    *r = sidecar_reader_free(*r);
}

static int sidecar_add(struct sidecar_reader *r, const char *name, const char *key)
{
    struct sidecar_file *f = &r->file[r->n];
    struct stat st;

    if (r->n == SIDECAR_KEYS_MAX)
        return -EFBIG;
    f->fd = openat(r->dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (f->fd < 0)
        return errno == ENOENT ? 0 : -errno; /* pruned meanwhile */
    r->n++;
    f->have = 0;
    memcpy(f->key, key, SIDECAR_KEY_LEN);
    return fstat(f->fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EBADMSG;
}

/* Opens what is there for the segment. Files appear while a log grows: nothing found is not remembered. */
static int sidecar_open(struct sidecar_reader *r, uint64_t segment)
{
    _cleanup_(dir_closep) DIR *dir = NULL;
    struct dirent *e;
    const char *key;
    int err;

    if (r->open && r->segment == segment && r->n > 0)
        return 0;
    sidecar_close(r);
    err = dir_open(r->dirfd, ".", &dir);
    while (err == 0 && (e = readdir(dir)))
        if (sidecar_name_of(e->d_name, segment, &key))
            err = sidecar_add(r, e->d_name, key);
    if (err < 0)
        return err;
    r->segment = segment;
    r->open = true;
    return 0;
}

/* 0, or -ENODATA. */
static int sidecar_get(struct sidecar_file *f, uint64_t index, uint8_t ret[static ED25519_SIG_LEN])
{
    static const uint8_t none[ED25519_SIG_LEN];
    uint64_t from = index - index % SIDECAR_CHUNK;
    size_t at = (size_t)(index - from) * ED25519_SIG_LEN;

    if (f->have <= at || f->from != from || memcmp(f->buffer + at, none, sizeof(none)) == 0) {
        ssize_t n = pread(f->fd, f->buffer, sizeof(f->buffer), (off_t)(from * ED25519_SIG_LEN));

        if (n < 0)
            return -errno;
        f->from = from;
        f->have = (size_t)n - (size_t)n % ED25519_SIG_LEN;
    }
    if (f->have <= at || memcmp(f->buffer + at, none, sizeof(none)) == 0)
        return -ENODATA;
    memcpy(ret, f->buffer + at, ED25519_SIG_LEN);
    return 0;
}

static const struct keyring_key *sidecar_key(const struct keyring *ring, const struct sidecar_file *f)
{
    for (size_t i = 0; i < ring->n; i++)
        if (memcmp(ring->key[i].keyid + sizeof("sha256:") - 1, f->key, SIDECAR_KEY_LEN) == 0)
            return &ring->key[i];
    return NULL;
}

int sidecar_read(struct sidecar_reader *r, const struct log_line *line, const struct keyring *ring,
                 const struct keyring_key **ret_key, uint8_t ret_sig[static ED25519_SIG_LEN])
{
    int e = sidecar_open(r, line->segment);
    bool unknown = false;

    if (e < 0)
        return e;
    for (size_t i = 0; i < r->n; i++) {
        e = sidecar_get(&r->file[i], line->index - line->segment, ret_sig);
        if (e == -ENODATA)
            continue;
        if (e < 0)
            return e;
        *ret_key = sidecar_key(ring, &r->file[i]);
        if (*ret_key)
            return 0;
        unknown = true;
    }
    return unknown ? -ENOKEY : -ENODATA;
}

int sidecar_extent(struct sidecar_reader *r, uint64_t segment, uint64_t *ret)
{
    uint64_t most = 0;
    int e = sidecar_open(r, segment);

    if (e < 0)
        return e;
    for (size_t i = 0; i < r->n; i++) {
        struct stat st;

        if (fstat(r->file[i].fd, &st) < 0)
            return -errno;
        if ((uint64_t)st.st_size / ED25519_SIG_LEN > most)
            most = (uint64_t)st.st_size / ED25519_SIG_LEN;
    }
    *ret = most;
    return 0;
}

int sidecar_sealed_line(struct sidecar_reader *r, const struct log_line *line, const struct keyring *ring,
                        struct buf *b)
{
    _cleanup_(buf_done) struct buf material = {.data = NULL};
    const struct keyring_key *key;
    uint8_t sig[ED25519_SIG_LEN];
    struct envelope_line l;
    int e;

    if (envelope_parse(line->text, &l) != ENVELOPE_OK)
        return -EBADMSG;
    if (l.dssematerial.p) {
        buf_put_str(b, line->text);
        return b->err;
    }
    e = sidecar_read(r, line, ring, &key, sig);
    if (e < 0)
        return e;
    buf_init(&material, DSSE_MATERIAL_MAX);
    e = envelope_material(&l.e, &material);
    return e < 0 ? e : envelope_seal(line->text, buf_str(&material), str_of(key->keyid), sig, b);
}
