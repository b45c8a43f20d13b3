/* SPDX-License-Identifier: MIT */
/* The supervisor's own command line, behind what every daemon takes. */
#pragma once

#include <linux/landlock.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "supervisor/spec/operator.h"

#define OPTIONS_PRIVATE_MAX 8

#define SUPERVISOR_IDS_ACCESS                                                                                \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |            \
     LANDLOCK_ACCESS_FS_REMOVE_FILE)
#define SUPERVISOR_CGROUP_ACCESS                                                                             \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_DIR |            \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR)

struct options {
    struct operator_config *config;                 /* the defaults when none was given; owned */
    const char *private_paths[OPTIONS_PRIVATE_MAX]; /* borrowed from argv */
    size_t nprivate;
};

/* 0 or a negative errno (logged). */
int options_parse(int argc, char **argv, struct options *ret) MUST_CHECK;
void options_done(struct options *o);
