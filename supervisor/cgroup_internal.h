/* SPDX-License-Identifier: MIT */
/* Between cgroup_file.c (reading the kernel's files), cgroup_place.c (where the suite's directory goes),
 * cgroup.c (that directory), cgroup_residue.c (what dead suites left) and cgroup_cell.c (a cell's leaf). */
#pragma once

#include "common/base/buf.h"
#include "supervisor/cgroup.h"

#define CGROUP_CALLERS     "cellos-callers" /* where the processes of a delegated directory are moved */
#define CGROUP_NAME_MAX    63               /* of a suite's directory, of a leaf */
#define CGROUP_MOVE_MAX    256              /* processes moved down in a delegated directory */
#define CGROUP_MOVE_PASSES 8                /* each finds those that were forked during the one before */
#define CGROUP_RESIDUE_MAX 32               /* names of one sweep; what is more is left to the next start */
#define CGROUP_DEATH_MS    1000             /* how long the processes of a leftover may take to die */

enum { CGROUP_CPU, CGROUP_MEMORY, CGROUP_PIDS, _CGROUP_CONTROLLERS };
#define CGROUP_EVERY_CONTROLLER ((1u << _CGROUP_CONTROLLERS) - 1)
extern const char *const cgroup_controllers[_CGROUP_CONTROLLERS];

struct cgroup {
    int parent; /* the directory of this user's suites */
    int dir;    /* this suite's own, locked as long as the process lives */
    char name[CGROUP_NAME_MAX + 1];
    unsigned controllers; /* bits in the order of cgroup_controllers */
    char text[32];        /* cgroup_describe() */
    char residue[CGROUP_RESIDUE_MAX][2 * CGROUP_NAME_MAX + 2];
    unsigned nresidue, told;
};

/* ---- cgroup_file.c ---- */

/* The next run of characters that are not in seps; empty at the end. */
struct str cgroup_word(struct str *rest, const char *seps);

/* b is initialised here, also on failure. */
int cgroup_read(int dirfd, const char *file, struct buf *b) MUST_CHECK;
int cgroup_write(int dirfd, const char *file, const char *text) MUST_CHECK;

/* The file is a list of words and this is one of them. */
bool cgroup_lists(int dirfd, const char *file, const char *word);

/* The number after key and a blank in a file of such lines, or the one of the file itself (key NULL). 0,
 * -ENOENT without such a line, -errno. */
int cgroup_number(int dirfd, const char *file, const char *key, uint64_t *ret) MUST_CHECK;

/* Where the top of the cgroup2 tree is mounted, by the text of proc_pid_mountinfo(5), and the path of this
 * process in it, by that of proc_pid_cgroup(5). 0 or -EOPNOTSUPP. */
int cgroup_find_mount(struct str mountinfo, char *ret, size_t cap) MUST_CHECK;
int cgroup_find_own(struct str text, char *ret, size_t cap) MUST_CHECK;

/* ---- cgroup_place.c ---- */

struct cgroup_caller {
    pid_t launcher;      /* of cgroup_open() */
    bool only_delegated; /* leave every other directory alone */
};

/* Opens the directory of this user's suites below base, making it where it is missing, with every controller
 * that base may hand on. The fd; -EPERM when base is not delegated and the caller wants that; -errno. */
int cgroup_place_open(const char *base, const struct cgroup_caller *caller) MUST_CHECK;

/* Hands the controller from dir to its children; true when they have it. Never from a directory with
 * processes in it: the kernel refuses some controllers there, and others turn it into a threaded one, in
 * which no process can be started any more (cgroup-v2.rst, "No Internal Process Constraint"). */
bool cgroup_hand_on(int dir, const char *controller);
