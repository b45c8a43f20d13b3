/* SPDX-License-Identifier: MIT */
#pragma once

#include "signerd/keys.h"

/* The name of the log in dirfd: the one it has, if that is a key of ours with this suffix (a run's id, or
 * NULL), for a log keeps the name of its first key; else that of the key that signs now. */
void origin_find(int dirfd, const struct keys *keys, const char *suffix, char *dst, size_t cap);
