/* SPDX-License-Identifier: MIT */
/* Time. Durations and deadlines use CLOCK_BOOTTIME (goes on in suspend); only events show wall-clock time. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

uint64_t clock_boottime_us(void); /* microseconds since boot */
uint64_t clock_realtime_ms(void); /* milliseconds since the epoch */

#define CLOCK_RFC3339_LEN 20 /* "2026-11-23T05:10:00Z" */

/* Whole seconds, UTC, "Z" (RFC 3339). dst has room for CLOCK_RFC3339_LEN + 1; NUL-terminated.
 * -ERANGE outside the years 0000..9999. */
int clock_format_rfc3339(uint64_t epoch_s, char *dst) MUST_CHECK;

/* The exact inverse: accepts only the form above and only dates that exist. 0 or -EBADMSG. */
int clock_parse_rfc3339(struct str s, uint64_t *ret_epoch_s) MUST_CHECK;
