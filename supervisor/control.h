/* SPDX-License-Identifier: MIT */
/* The operator's line (cellctl): runs and signals. An operator that breaks the protocol loses its line; in an
 * embedded suite that line is the suite's reason to be, so its end ends the cells. */
#pragma once

#include "supervisor/manager.h"

int control_open(struct manager *m, int sock) MUST_CHECK;
