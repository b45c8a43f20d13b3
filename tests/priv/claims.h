/* SPDX-License-Identifier: MIT */
/* Every event type, claimed by every role in every state of a cell. */
#pragma once

#include <stddef.h>

/* One JSON object a claim: {"role", "type", "state", "answer"}; the log stays in DIR/signerd-0/log. 0, or the
 * exit status. */
int claims(const char *bin_dir, const char *dir);

/* One cell with count events of proxyd between its beginning and its end; the log as above. */
int claims_many(size_t count, const char *bin_dir, const char *dir);
