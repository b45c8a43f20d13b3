/* SPDX-License-Identifier: MIT */
/* The files of keys: made, put in their place, removed. */
#include <fcntl.h>
#include <stdio.h>

#include "common/base/dir.h"
#include "common/base/log.h"
#include "common/evidence/log_verify.h"
#include "signerd/key_dir_internal.h"
#include "signerd/token_uri.h"

/* ---- new ---- */

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

/* ---- the active one, in its place ---- */

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

/* ---- gone ---- */

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

/* ---- what a crash left ---- */

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
    _cleanup_(dir_closep) DIR *dir = NULL;
    struct dirent *e;
    int r = dir_open(d->dir, ".", &dir);

    while (r == 0 && (e = readdir(dir)))
        if (strcmp(e->d_name, KEY_DIR_TMP) == 0 ||
            (key_dir_is_key_file(e->d_name) && !key_dir_known(d, e->d_name)))
            r = key_dir_wipe(d, e->d_name);
    return r;
}
