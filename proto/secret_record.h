/* SPDX-License-Identifier: MIT */
/* Values of secrets in the record of an event: signerd looks for them, the supervisor takes them out. */
#pragma once

#include "proto/redact.h"
#include "proto/secret_mark.h"

#define SECRET_PATH_MAX 128u

/* The name of a secret whose value one of the record's texts holds, and where ("data.argv[2]"); NULL: none.
 * What redact leaves out is not looked at (redact may be NULL). */
const char *secret_record_find(const struct secret_marks *m, const struct redact *redact,
                               const struct schema *s, const void *rec, char path[static SECRET_PATH_MAX]);

/* Puts REDACT_SHOWN (or nothing, where that is too long) in the place of every text with a value. The record
 * and its lists must be writable: decoded into an arena. True when there was one. */
bool secret_record_mask(const struct secret_marks *m, const struct schema *s, void *rec);
