/* SPDX-License-Identifier: MIT */
/* Where the embedded suite keeps its state: $XDG_STATE_HOME/cellos, else ~/.local/state/cellos (XDG base
 * directories). */
#pragma once

#include <limits.h>

#include "common/base/cleanup.h"

/* The state directory; it need not exist. 0; -ENOENT without a home; -EINVAL when it is not absolute;
 * -ENAMETOOLONG. */
int paths_state(char dst[PATH_MAX]) MUST_CHECK;

/* base/name, made with its parents (mode 0700) where missing. 0 or -errno. */
int paths_make(const char *base, const char *name, char dst[PATH_MAX]) MUST_CHECK;
