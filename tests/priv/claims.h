/* SPDX-License-Identifier: MIT */
/* Every event type, claimed by every role in every state of a cell. */
#pragma once

/* One JSON object a claim: {"role", "type", "state", "answer"}; the log stays in DIR/signerd-0/log. 0, or the
 * exit status. */
int claims(const char *bin_dir, const char *dir);
