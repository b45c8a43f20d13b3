/* SPDX-License-Identifier: MIT */
/* The one TLS record that proxyd ever writes: a fatal alert in plain text, in answer to a ClientHello (RFC
 * 8446 section 6), so that a refused client fails at once and knows why. */
#pragma once

#include <stdint.h>

#define ALERT_LEN 7

enum alert_code {
    ALERT_ACCESS_DENIED = 49,
    ALERT_INTERNAL_ERROR = 80,
    ALERT_UNRECOGNIZED_NAME = 112,
};

void alert_record(enum alert_code code, uint8_t ret[ALERT_LEN]);
