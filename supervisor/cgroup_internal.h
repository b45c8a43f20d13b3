/* SPDX-License-Identifier: MIT */
/* Between cgroup.c (the suite's directory) and cgroup_cell.c (a cell's leaf); tests look at the readers. */
#pragma once

#include "common/base/buf.h"
#include "supervisor/cgroup.h"

#define CGROUP_SHARED "cellos" /* of all suites in one place; stays */

struct cgroup {
    int parent; /* CGROUP_SHARED */
    int dir;    /* holds the lock */
    unsigned swept;
    char name[32];
    unsigned controllers; /* bits in the order of cgroup.c's list: cpu, memory, pids */
    char text[32];        /* cgroup_describe() */
};

/* The next run of characters that are not in seps; empty at the end. */
struct str cgroup_word(struct str *rest, const char *seps);

/* b is initialised here, also on failure. */
int cgroup_read(int dirfd, const char *file, struct buf *b) MUST_CHECK;
int cgroup_write(int dirfd, const char *file, const char *text) MUST_CHECK;

/* Removes the directories of suites that are gone; at most CGROUP_SWEEP_MAX. How many it removed. */
unsigned cgroup_sweep(int shared);

/* Mount point of the tree and the process's own directory in it; both buffers have cap bytes. */
int cgroup_find(char *mount, char *own, size_t cap) MUST_CHECK;
int cgroup_find_mount(struct str mountinfo, char *ret, size_t cap) MUST_CHECK;
int cgroup_find_own(struct str text, char *ret, size_t cap) MUST_CHECK;
