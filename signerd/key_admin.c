/* SPDX-License-Identifier: MIT */
#include "signerd/key_admin.h"

#include <linux/landlock.h>
#include <sys/stat.h>

#include "common/base/log.h"
#include "common/daemon/daemon.h"
#include "common/priv/landlock.h"
#include "common/priv/seccomp.h"
#include "signerd/key_admin_internal.h"

#define KEYS_ACCESS                                                                                          \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE |            \
     LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE)

static const struct role_fd key_admin_fds[] = {{"keys", ROLE_FD_DIR}};

static const struct role_syscall key_admin_syscalls[] = {
    SECCOMP_ROW(openat, "keys and keyset (Landlock: below the keys' directory only)"),
    SECCOMP_ROW(getdents64, "key_dir_sweep"),
    SECCOMP_ROW(pwrite64, "replace_write, key_dir_wipe"),
    SECCOMP_ROW(fdatasync, "replace_write, key_dir_wipe"),
    SECCOMP_ROW(fsync, "key_store_make, key_dir_sync"),
    SECCOMP_ROW(ftruncate, "replace_write"),
    SECCOMP_ROW(renameat, "replace_write, key_dir_place"),
    SECCOMP_ROW1(renameat2, "renameat() where it does not exist as a call", SECCOMP_IS(4, 0)),
    SECCOMP_ROW1(unlinkat, "key_dir_wipe; never a directory", SECCOMP_IS(2, 0)),
};

const struct role key_admin_role = {
    .name = "signerd",
    .fds = key_admin_fds,
    .nfds = ARRAY_LEN(key_admin_fds),
    .syscalls = key_admin_syscalls,
    .nsyscalls = ARRAY_LEN(key_admin_syscalls),
    .nofile = 64,
    .may_fork = false,
    .help = "  --keys new [--standby] [--valid-for SECONDS] [--key SOURCE] [--new-key SOURCE]\n"
            "  --keys rotate [--valid-for SECONDS] [--grace SECONDS] [--key SOURCE] [--new-key SOURCE]\n"
            "  --keys revoke --id HEX [--at SECONDS] [--reason TEXT] [--key SOURCE]\n"
            "               `cellctl key` starts it like that, with the keys' directory\n",
};

static int key_admin_confine(const struct key_admin *a, const struct daemon *d)
{
    int keep[3] = {a->dir.dir}, fd;
    size_t n = 1;

    if (a->old && (fd = key_store_fd(a->old)) >= 0)
        keep[n++] = fd;
    if (a->fresh && (fd = key_store_fd(a->fresh)) >= 0)
        keep[n++] = fd;
    return daemon_confine(d, keep, n, &(struct role_path){d->fds[0], KEYS_ACCESS}, 1);
}

static int key_admin_run(struct key_admin *a, struct daemon *d)
{
    int r = key_dir_open(d->fds[0], &a->dir);

    if (r < 0)
        return r;
    r = key_admin_prepare(a);
    if (r == 0)
        r = key_admin_confine(a, d);
    if (r == 0)
        r = key_admin_do(a);
    key_store_free(a->old);
    key_store_free(a->fresh);
    key_dir_done(&a->dir);
    return r;
}

int key_admin_main(int argc, char **argv)
{
    static struct key_admin a;
    struct daemon d;
    int r = daemon_begin(&key_admin_role, &argc, argv, &d);

    umask(077);
    if (r == 0)
        r = key_admin_parse(argc, argv, &a.o);
    if (r == 0)
        r = ed25519_init();
    if (r == 0)
        r = digest_init();
    if (r == 0)
        r = key_admin_run(&a, &d);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
