/* SPDX-License-Identifier: MIT */
/* A point in time as people write it. */
#pragma once

#include <stdint.h>

#include "common/base/cleanup.h"

/* "2026-11-29T10:00:00Z" (also with a fraction or an offset), "2026-11-29" and "today", "yesterday"
 * (midnight, local time), "14:30" and "14:30:05" (today, local time), "now", "@1790000000", or that long ago:
 * "10m", "1h30m", "2d" (units ms s m h d w; "ago" may follow). *ret: milliseconds since the epoch; *ret_span:
 * how long that point lasts, which is 999 where whole seconds were written. 0 or -EINVAL. */
int events_time_parse(const char *text, uint64_t now_ms, uint64_t *ret, uint64_t *ret_span) MUST_CHECK;
