/* SPDX-License-Identifier: MIT */
/* Limits, measures and the end of a cell by cgroup v2 (Documentation/admin-guide/cgroup-v2.rst). All by
 * directory fds opened at start, so a supervisor that can open no path any more still works. On hybrid hosts
 * the v2 tree has cgroup.kill but no controllers: such a tree is used, and limits are refused by name. */
#pragma once

#include "proto/events.h"
#include "supervisor/launch/fault.h"

#define CGROUP_CPU_PERIOD_MIN 1000u /* microseconds; the kernel's own bounds (cpu.max) */
#define CGROUP_CPU_PERIOD_MAX 1000000u

struct cgroup;      /* the directory of this suite */
struct cgroup_cell; /* one cell's leaf in it */

/* Absent = no such limit. */
struct cgroup_limits {
    struct opt_uint memory_max_bytes; /* also forbids swap */
    struct opt_uint cpu_quota_us;     /* per period */
    uint64_t cpu_period_us;
    struct opt_uint pids_max;
};

/* Makes this suite's directory in the v2 tree with every controller it gets: below the caller's own
 * directory; as root, when that one is not delegated, below the top of the tree. Both times in a directory
 * "cellos"
 * ("cellos-<uid>"), which stays. The caller's own directory must be empty to hand controllers on: when it is
 * marked as delegated (systemd's Delegate=yes), or an ordinary user's and only this suite is in it, the
 * processes in it move into its "cellos-callers". launcher: the pid of cellctl in an embedded suite, else 0.
 * 0; -EOPNOTSUPP when no directory may be made, with the reason in f; -errno. Needs the file system; call
 * before confining. */
int cgroup_open(pid_t launcher, struct cgroup **ret, struct fault *f) MUST_CHECK;

/* A controller ("cpu", "memory", "pids") that is in no v2 tree of this host, or NULL: what nobody could hand
 * on. */
const char *cgroup_missing_on_host(void);

/* Removes what killed suites of this user left in the same place, and kills what still runs there. What
 * cannot be removed is logged by name. Call before confining. */
void cgroup_sweep(struct cgroup *c);

/* The next thing that cgroup_sweep() removed ("12-0a1b2c3d/<run id>"), each once; then NULL. NULL-safe.
 */
const char *cgroup_next_residue(struct cgroup *c);

/* Removes the suite's directory; cells must be gone. NULL-safe; returns NULL. */
struct cgroup *cgroup_free(struct cgroup *c);

/* The suite's directory and the one above it, which all suites share; borrowed: what a Landlock rule set must
 * leave. */
int cgroup_dirfd(const struct cgroup *c);
int cgroup_parent_dirfd(const struct cgroup *c);

/* For lifecycle.started: "none" for NULL, else "v2" with the controllers, e.g. "v2: cpu memory pids". */
const char *cgroup_describe(const struct cgroup *c);

/* The controller these limits need and c does not have ("memory", "cpu", "pids"), or NULL. c may be NULL. */
const char *cgroup_missing(const struct cgroup *c, const struct cgroup_limits *l);

/* A leaf with the limits written. name: letters, digits, '.', '_', '-' (a run id). -EOPNOTSUPP when
 * cgroup_missing() names a controller; -EEXIST; -errno. */
int cgroup_cell_new(struct cgroup *c, const char *name, const struct cgroup_limits *l,
                    struct cgroup_cell **ret) MUST_CHECK;

int cgroup_cell_dirfd(const struct cgroup_cell *c); /* borrowed; for CLONE_INTO_CGROUP */

/* Kills every process in it (cgroup.kill). 0; -EOPNOTSUPP before Linux 5.14; -errno. */
int cgroup_cell_kill(struct cgroup_cell *c) MUST_CHECK;

/* 1 while processes are in it, else 0; -errno. */
int cgroup_cell_populated(const struct cgroup_cell *c) MUST_CHECK;

/* What was used so far. What the kernel does not measure here stays absent. */
void cgroup_cell_usage(const struct cgroup_cell *c, struct ev_usage *ret);

/* How many of its processes the kernel ended for want of memory (memory.events), and whether the leaf's own
 * limit was the reason or the host's memory. 0 where that is not measured. */
uint64_t cgroup_cell_oom_kills(const struct cgroup_cell *c, bool *ret_own_limit);

/* Removes the leaf: 0, -EBUSY while processes are in it, -errno. Harmless when it is gone already. */
int cgroup_cell_remove(struct cgroup_cell *c) MUST_CHECK;

/* Frees the object, having tried to remove the leaf. NULL-safe; returns NULL. */
struct cgroup_cell *cgroup_cell_free(struct cgroup_cell *c);
