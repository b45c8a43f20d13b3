/* SPDX-License-Identifier: MIT */
/* UUID version 7 (RFC 9562 section 5.7): 48 bits of milliseconds, the rest from the kernel's random
 * generator. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define UUID_TEXT_LEN 36

/* Lower-case text form into dst (UUID_TEXT_LEN + 1 bytes). Within one process the results never go backwards
 * (RFC 9562 section 6.2, method 3), unless the clock is set back by more than 10 s. */
void uuid_v7(char *dst);

/* True for the lower-case text form of a version 7, variant 10 UUID. */
bool uuid_v7_valid(struct str s);

/* The time in it: its first 12 hex digits, milliseconds since the epoch. Of anything but such a UUID some
 * number. */
uint64_t uuid_v7_ms(struct str s);
