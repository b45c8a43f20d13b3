/* SPDX-License-Identifier: MIT */
/* What went wrong while a cell was made, as a sentence for the operator: "mounting /proc: Operation not
 * permitted". */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "proto/limits.h"

struct fault {
    char text[LIMIT_ERROR_TEXT + 1]; /* valid UTF-8, never longer than a message may carry; "" = none */
};

/* Writes the sentence, with the text of err appended, and returns err: return fault_set(f, -errno, "opening
 * %s", p); f may be NULL. Arguments may be foreign text: it is escaped. */
int fault_set(struct fault *f, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
