/* SPDX-License-Identifier: MIT */
/* Between stage.c, rootfs.c and places.c. */
#pragma once

#include "supervisor/launch/rootfs.h"

#define PLACES_OWN_MAX 8u

extern const char *const rootfs_system[]; /* names below / of the allow list, NULL-terminated */

/* The root under construction. */
struct places {
    int top;                   /* its directory */
    dev_t own[PLACES_OWN_MAX]; /* file systems that are the cell's alone: mount points may be made there */
    size_t nown;
};

/* Remembers the file system at fd as the cell's own. */
int places_own(struct places *p, int fd) MUST_CHECK;

/* The place below top for a mount at path (absolute): opened O_PATH; made, with its parents, where the file
 * system is the cell's own. Links are followed as the workload would, inside top. -EROFS where it cannot be
 * made. */
int places_make(struct places *p, const char *path, bool directory) MUST_CHECK;
