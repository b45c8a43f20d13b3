/* SPDX-License-Identifier: MIT */
/* Strict numbers: the whole string is the number, or it is an error. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* Decimal digits only: no sign, no blank, no leading zero (but "0" itself), nothing left over.
 * 0 and *ret on success; -EINVAL when it is not such a number; -ERANGE outside min...max. *ret untouched on
 * failure. */
int num_parse_u64(struct str s, uint64_t min, uint64_t max, uint64_t *ret) MUST_CHECK;
