/* SPDX-License-Identifier: MIT */
/* How long to wait before the next try: 100 ms x 2^n up to three minutes, with full jitter, so that many
 * clients of a server that comes back do not come back at the same moment. */
#pragma once

#include <stdint.h>

#define BACKOFF_FIRST_MS 100u
#define BACKOFF_MAX_MS   180000u

/* The longest wait after `failures` failures in a row (0: none yet): doubles from BACKOFF_FIRST_MS to
 * BACKOFF_MAX_MS. */
uint32_t backoff_ceiling_ms(unsigned failures);

/* A random wait from BACKOFF_FIRST_MS / 2 up to that ceiling. */
uint32_t backoff_ms(unsigned failures);
