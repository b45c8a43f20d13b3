/* SPDX-License-Identifier: MIT */
/* Landlock (landlock(7), Documentation/userspace-api/landlock.rst): the file system but for a few
 * directories, TCP and reaching processes outside are taken away, as far as this kernel's ABI knows how. A
 * second wall: no promise rests on it. */
#pragma once

#include "common/priv/role.h"

/* Rights of later ABIs than the oldest header we build with (ABI 2). */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* ABI 3 */
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#endif

#define LANDLOCK_ABI_USED 7 /* the newest ABI this code was written for */

/* What a process keeps besides paths. */
enum landlock_keep {
    LANDLOCK_KEEP_TCP_BIND = 1 << 0,    /* bind TCP sockets (denied from ABI 4 on) */
    LANDLOCK_KEEP_TCP_CONNECT = 1 << 1, /* connect TCP sockets (from ABI 4 on) */
    LANDLOCK_KEEP_ABSTRACT = 1 << 2,    /* connect to abstract Unix sockets made outside (from ABI 6 on) */
    /* Signal processes outside (from ABI 6 on). Without it not even the parent-death signal of children
     * started before reaches them (tests/unit/test_common_landlock.c). */
    LANDLOCK_KEEP_SIGNAL = 1 << 3,
};

/* The kernel's ABI, 1 or more; 0 when it has none or it is switched off. */
int landlock_abi(void);

/* Denies every file system right except those of paths (directories; rights the ABI does not know are left
 * out), and what keep does not name. The calling (and only) thread and all it starts. no_new_privs must be
 * set. The ABI in use (> 0); 0 when the kernel has none; -errno when it has and it failed: the process must
 * end. */
int landlock_confine(const struct role_path *paths, size_t n, unsigned keep) MUST_CHECK;
