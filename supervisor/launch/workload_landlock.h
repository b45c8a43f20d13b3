/* SPDX-License-Identifier: MIT */
/* Landlock for workloads: a second wall behind the mounts, and the first against two things they cannot see:
 * opening the caller's standard files again with more rights than they were passed with, and tracing or
 * signalling PID 1. */
#pragma once

#include "common/base/cleanup.h"
#include "proto/documents.h"

/* Confines the calling process, whose standard fds are the workload's already. The ABI in use; 0: the kernel
 * has none; -errno. */
int workload_landlock(const struct launch *l) MUST_CHECK;
