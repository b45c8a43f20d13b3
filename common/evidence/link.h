/* SPDX-License-Identifier: MIT */
/* What ties a line to the lines before it, so that lines which no checkpoint covers yet can be told from
 * those of another log of the same key: the 62 random bits at the end of an event's id (UUIDv7, RFC 9562)
 * are, from the second line of a log on, the first ones of a digest over the size of the tree before the line
 * and the root of the smallest perfect subtree at its right edge, which holds the line before. The id is
 * signed. */
#pragma once

#include "common/base/uuid.h"
#include "common/evidence/merkle.h"

/* Makes the end of the id that of the next line behind this tree. Needs digest_init(). */
void link_id(const struct merkle *before, char id[static UUID_TEXT_LEN + 1]);

/* Whether a valid id has that end. */
bool link_id_ok(const struct merkle *before, struct str id);
