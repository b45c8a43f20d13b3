/* SPDX-License-Identifier: MIT */
/* No capability, no network, no process of its own: three sockets it is given, one directory it writes, one
 * thread that waits for the disk, one that compresses and prunes what is closed. The keys' directory is read
 * before the sandbox closes and is not needed after. */
#include "signerd/role.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "common/priv/seccomp.h"
#include "signerd/options.h"

static const struct role_fd signerd_fds[_SIGNERD_FD_MAX] = {
    [SIGNERD_FD_SUPERVISOR] = {"supervisor", ROLE_FD_CHANNEL},
    [SIGNERD_FD_NETD] = {"netd", ROLE_FD_CHANNEL},
    [SIGNERD_FD_PROXYD] = {"proxyd", ROLE_FD_CHANNEL},
    [SIGNERD_FD_KEYS] = {"keys", ROLE_FD_DIR},
    [SIGNERD_FD_LOG] = {"log", ROLE_FD_DIR},
};

static const struct role_syscall signerd_syscalls[] = {
    SECCOMP_ROWS_THREADS, /* the disk thread */
    SECCOMP_ROW(openat, "segments, checkpoint, tiles (Landlock: below the log's directory only)"),
    SECCOMP_ROW(openat2, "tile_reader: tiles at a start with unsigned lines (Landlock as above)"),
    SECCOMP_ROW(getdents64, "log_reader_segments"),
    SECCOMP_ROW1(flock, "disk_open: one signer a log", SECCOMP_IS(1, LOCK_EX | LOCK_NB)),
    SECCOMP_ROW(pwrite64, "disk_append, disk_checkpoint_spare"),
    SECCOMP_ROW(fdatasync, "disk_append"),
    SECCOMP_ROW(fsync, "disk_write_file, compress_segment, prune_make_durable"),
    SECCOMP_ROW(ftruncate, "disk_undo, disk_trim, recover_tear"),
    SECCOMP_ROW1(fallocate, "disk_allocate: the reserve for the end events",
                 SECCOMP_IS(1, FALLOC_FL_KEEP_SIZE)),
    SECCOMP_ROW(renameat, "disk_write_file, disk_write_tile, compress_segment"),
    SECCOMP_ROW1(renameat2,
                 "disk_checkpoint_spare (RENAME_EXCHANGE); renameat() where it does not exist as a call",
                 SECCOMP_BITS(4, ~(scmp_datum_t)2, 0)),
    SECCOMP_ROW1(unlinkat,
                 "leftovers of an unfinished write, segments that retention lets go; never a directory",
                 SECCOMP_IS(2, 0)),
    SECCOMP_ROW2(setpriority, "keeper_thread: its own priority, downwards only", SECCOMP_IS(0, PRIO_PROCESS),
                 SECCOMP_IS(1, 0)),
    SECCOMP_ROW(mkdirat, "tile and torn directories"),
};

const struct role signerd_role = {
    .name = "signerd",
    .fds = signerd_fds,
    .nfds = _SIGNERD_FD_MAX,
    .syscalls = signerd_syscalls,
    .nsyscalls = sizeof(signerd_syscalls) / sizeof(signerd_syscalls[0]),
    .nofile = 256,
    .may_fork = false,
    .help = signerd_options_help,
};
