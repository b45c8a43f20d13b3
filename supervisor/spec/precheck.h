/* SPDX-License-Identifier: MIT */
/* What must hold of the bytes before a recursive JSON parser may see them. */
#pragma once

#include "supervisor/spec/violation.h"

/* Size, UTF-8, NUL and nesting. True when the parser may run; else one violation was added. Linear, no
 * recursion. */
bool precheck_document(struct str bytes, struct violations *out);
