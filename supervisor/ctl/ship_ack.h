/* SPDX-License-Identifier: MIT */
/* The answer of JetStream to a message: {"stream":...,"seq":...,"duplicate"?} or {"error":{"err_code",...}}.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHIP_ACK_MAX      65536
#define SHIP_ACK_TEXT_MAX 160

struct ship_ack {
    bool stored;
    uint64_t sequence; /* where it is stored */
    int code;          /* err_code of the refusal; 0: the answer is none */
    char text[SHIP_ACK_TEXT_MAX];
};

/* Reads untrusted bytes; what is not an answer is a refusal. */
void ship_ack_read(const char *data, size_t len, struct ship_ack *ret);
