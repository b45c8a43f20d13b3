/* SPDX-License-Identifier: MIT */
/* A bounded look at JSON text (RFC 8259) without building anything: is it one compact object, and where is a
 * member. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define JSON_CHECK_DEPTH 16

/* True when s is exactly one JSON object: no blank between tokens, valid UTF-8 without NUL, no control
 * character inside strings, nor another one that signerd escapes (docs/evidence.md, "Line"), integers only as
 * numbers (no fraction, no exponent: none of our events has them), depth <= JSON_CHECK_DEPTH. */
bool json_check_object(struct str s);

/* The raw text of a top-level member of an object that json_check_object() accepts (a string keeps its quotes
 * and escapes; of a repeated name the first). 0 or -ENOENT. */
int json_check_member(struct str object, const char *name, struct str *ret) MUST_CHECK;
