/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/key.h"

#define KEY_ID_SHORT 16

static const char *key_id_digits(const struct keyset_key *k)
{
    return k->k.keyid + sizeof("sha256:") - 1;
}

static bool key_has(int dirfd, const char *name)
{
    return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Where its secret is, as far as the directory says. */
static const char *key_where(int dirfd, const struct keyset_key *k)
{
    char file[KEY_ID_SHORT + 8], uri[KEY_ID_SHORT + 8];

    if (k->state != KEYSET_ACTIVE && k->state != KEYSET_STANDBY)
        return "-"; /* a seed is destroyed, what a token does is its own affair */
    (void)snprintf(file, sizeof(file), "%.*s.key", KEY_ID_SHORT, key_id_digits(k));
    (void)snprintf(uri, sizeof(uri), "%.*s.uri", KEY_ID_SHORT, key_id_digits(k));
    if (key_has(dirfd, k->state == KEYSET_ACTIVE ? "signing.uri" : uri))
        return "token";
    return key_has(dirfd, k->state == KEYSET_ACTIVE ? "signing.key" : file) ? "file" : "elsewhere";
}

static const char *key_time(uint64_t when, const char *none, char dst[CLOCK_RFC3339_LEN + 1])
{
    return when && clock_format_rfc3339(when, dst) == 0 ? dst : none;
}

/* The end that counts: a revocation, or the end of its time. */
static uint64_t key_end(const struct keyset_key *k)
{
    bool revoked = k->k.revoked_s && (!k->k.not_after_s || k->k.revoked_s <= k->k.not_after_s);

    return revoked ? k->k.revoked_s : k->k.not_after_s;
}

void key_print(int dirfd, const struct keyset_key *k)
{
    char from[CLOCK_RFC3339_LEN + 1], until[CLOCK_RFC3339_LEN + 1];
    bool expired = key_end(k) && !k->k.revoked_s && key_end(k) < clock_realtime_ms() / 1000;

    (void)printf("%-30s %.*s  %-8s %-20s %-20s %s%s%s\n", k->k.vkey.name, KEY_ID_SHORT - 4, key_id_digits(k),
                 expired ? "expired" : keyset_state_text(k->state),
                 key_time(k->k.not_before_s, "beginning", from), key_time(key_end(k), "-", until),
                 key_where(dirfd, k), k->reason[0] ? "  " : "", k->reason);
}

static void key_print_time(const char *name, uint64_t when)
{
    char text[CLOCK_RFC3339_LEN + 1];

    if (clock_format_rfc3339(when, text) == 0)
        (void)printf(",\"%s\":\"%s\"", name, text);
}

/* Every text in it is one that needs no escaping (keyset.h). */
static void key_print_json(int dirfd, const struct keyset *k)
{
    (void)printf("[");
    for (size_t i = 0; i < k->n; i++) {
        const struct keyset_key *key = &k->key[i];

        (void)printf("%s{\"name\":\"%s\",\"keyid\":\"%s\",\"state\":\"%s\"", i ? "," : "", key->k.vkey.name,
                     key->k.keyid, keyset_state_text(key->state));
        key_print_time("notBefore", key->k.not_before_s);
        if (key->k.not_after_s)
            key_print_time("notAfter", key->k.not_after_s);
        if (key->k.revoked_s)
            key_print_time("revokedAt", key->k.revoked_s);
        if (key->reason[0])
            (void)printf(",\"revokedReason\":\"%s\"", key->reason);
        (void)printf(",\"where\":\"%s\"}", key_where(dirfd, key));
    }
    (void)printf("]\n");
}

/* The keyset of the state directory, in one allocation. NULL: told. */
static struct keyset_chain *key_load(const struct key_args *a, struct buf *text, int *ret_dir,
                                     int *ret_status)
{
    struct keyset_chain *chain = calloc(1, sizeof(*chain));
    char path[PATH_MAX];
    int dir = key_open_dir(a, false, path, ret_status);

    buf_init(text, KEYSET_FILE_MAX);
    if (dir >= 0 && chain)
        *ret_status = key_read(dir, path, text, chain, /* absent= */ NULL);
    if (dir >= 0)
        *ret_dir = dir;
    if (*ret_status == CTL_OK)
        return chain;
    free(chain);
    return NULL;
}

int key_list(const struct key_args *a)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    _cleanup_close_ int dir = -EBADF;
    int status = CTL_FAILED;
    struct keyset_chain *chain = key_load(a, &text, &dir, &status);

    if (!chain)
        return status;
    if (a->json) {
        key_print_json(dir, &chain->newest);
    } else {
        (void)printf("%-30s %-13s %-8s %-20s %-20s %s\n", "NAME", "KEYID", "STATE", "FROM", "UNTIL", "WHERE");
        for (size_t i = 0; i < chain->newest.n; i++)
            key_print(dir, &chain->newest.key[i]);
    }
    free(chain);
    return CTL_OK;
}

static int key_write(const char *path, struct str bytes)
{
    _cleanup_close_ int fd =
        path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : dup(STDOUT_FILENO);
    int r = fd < 0 ? -errno : io_write_full(fd, bytes.p, bytes.len);

    if (r < 0)
        return ctl_fail(CTL_FAILED, "key", "cannot write %s: %s", path ? path : "the output", strerror(-r));
    return CTL_OK;
}

int key_export(const struct key_args *a)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL}, vkey = {.data = NULL};
    _cleanup_close_ int dir = -EBADF;
    int status = CTL_FAILED;
    struct keyset_chain *chain = key_load(a, &text, &dir, &status);
    const struct keyset_key *active = chain ? keyset_active(&chain->newest) : NULL;

    if (!active) {
        free(chain);
        return status;
    }
    buf_init(&vkey, CHECKPOINT_VKEY_MAX + 1);
    vkey_render(&active->k.vkey, &vkey);
    buf_putc(&vkey, '\n');
    free(chain);
    return key_write(a->output, a->vkey ? buf_str(&vkey) : buf_str(&text));
}
