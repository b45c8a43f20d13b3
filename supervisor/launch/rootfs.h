/* SPDX-License-Identifier: MIT */
/* The files of a cell (decisions 20, 21): an allow list of the host's system folders, read-only; /etc under a
 * layer of ours; fresh /proc, /sys, /dev; private tmpfs; and what the spec brings in. Everything nosuid,
 * nothing of the suite.
 *
 * What is the same for every cell of a suite is prepared once, in the zygote's mount namespace, on a stage: a
 * tmpfs over /sys, which no cell gets from the host anyway. A cell's child starts with a copy of that
 * namespace. */
#pragma once

#include "proto/documents.h"
#include "supervisor/launch/binds.h"
#include "supervisor/launch/userns.h"

#define ROOTFS_STAGE     "/sys"
#define ROOTFS_TOP_BYTES (4u << 20) /* the cell's root itself: directories, mount points, two small files */

/* In the zygote, root of U1: a mount namespace of its own with the stage in it. ids: what workloads see
 * themselves as. */
int rootfs_prepare(const struct userns_workload *ids, struct fault *f) MUST_CHECK;

struct rootfs {
    const struct launch *launch;
    const char *hostname;
    struct userns_workload ids;
    const struct file_id *forbidden;
    size_t nforbidden;
};

/* In a cell's child, PID 1 of its pid namespace, with a private copy of the zygote's mount namespace: builds
 * the cell's root and makes it the only one there is. The working directory is / afterwards. */
int rootfs_build(const struct rootfs *r, struct fault *f) MUST_CHECK;
