/* SPDX-License-Identifier: MIT */
/* What the zygote knows of itself after its re-execution: handed over as arguments, since its environment is
 * empty and its memory new. Fds stand at fixed numbers. */
#pragma once

#include "supervisor/launch/binds.h"
#include "supervisor/launch/userns.h"

#define ZYGOTE_FD_LINE 3
#define ZYGOTE_FD_SLOT 4 /* the lock of the id range; only when count > 0 */
#define ZYGOTE_ARGS                                                                                          \
    (9 + BINDS_FORBIDDEN_MAX) /* program, ZYGOTE_ARG, parent, 5 of the plan, forbidden, NULL */

struct zygote_boot {
    pid_t parent;
    struct userns_plan plan; /* slot_fd not set */
    struct file_id forbidden[BINDS_FORBIDDEN_MAX];
    size_t nforbidden;
};

/* The arguments as text; argv points into text. */
struct zygote_args {
    char text[ZYGOTE_ARGS][48];
    char *argv[ZYGOTE_ARGS];
};

void zygote_boot_write(const struct zygote_boot *b, struct zygote_args *ret);
/* 0 or -EINVAL. */
int zygote_boot_read(int argc, char **argv, struct zygote_boot *ret) MUST_CHECK;
