/* SPDX-License-Identifier: MIT */
/* From the bytes of a document to JSON: what every document of the suite must be before its rules are looked
 * at. */
#pragma once

#include <jansson.h>

#include "common/base/str.h"
#include "supervisor/spec/violation.h"

enum { DOCUMENT_OK = 0, DOCUMENT_INVALID = 1 };

/* At most LIMIT_SPEC bytes, UTF-8, no deeper than LIMIT_SPEC_DEPTH, one RFC 8259 value without duplicate
 * keys. DOCUMENT_OK with *ret (the caller releases it); DOCUMENT_INVALID with the violations in out; a
 * negative errno. */
int document_load(struct str bytes, json_t **ret, struct violations *out) MUST_CHECK;

/* For _cleanup_. */
void document_unref(json_t **j);
