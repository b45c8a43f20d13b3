/* SPDX-License-Identifier: MIT */
/* proxyd's line to netd: one verb. */
#pragma once

#include "netd/netd.h"

/* Serves proxyd on this line, which is taken, also on failure. Its end is proxyd's business: nothing that is
 * pinned changes. 0 or -errno. */
int pin_line_new(struct netd *n, int proxyd) MUST_CHECK;
