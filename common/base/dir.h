/* SPDX-License-Identifier: MIT */
/* Directories to be read with readdir(3). */
#pragma once

#include <dirent.h>

#include "common/base/cleanup.h"

/* Opens the directory name below dirfd ("." for dirfd itself), if it is no link. 0 or -errno. */
int dir_open(int dirfd, const char *name, DIR **ret) MUST_CHECK;

/* The same of an open fd, which is taken: closed on failure too. */
int dir_take(int fd, DIR **ret) MUST_CHECK;

void dir_closep(DIR **d);
