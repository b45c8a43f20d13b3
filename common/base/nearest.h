/* SPDX-License-Identifier: MIT */
/* "Did you mean": the nearest known word by edit distance, on short words only. */
#pragma once

#include <stddef.h>

/* The word in the list nearest to s (edit distance at most 2, and less than half of its length), or NULL. */
const char *nearest_word(const char *s, const char *const *words, size_t n);
