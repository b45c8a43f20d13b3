/* SPDX-License-Identifier: MIT */
/* From the bytes of a document to a checked spec. */
#pragma once

#include "supervisor/spec/spec.h"
#include "supervisor/spec/violation.h"

enum { SPEC_OK = 0, SPEC_INVALID = 1 };

/* Reads and checks a whole document: at most LIMIT_SPEC bytes, UTF-8, no deeper than LIMIT_SPEC_DEPTH, RFC
 * 8259 JSON without duplicate keys, then every rule of vocabulary 1-3. forbidden may be NULL. SPEC_OK with
 * *ret (the caller frees with spec_free); SPEC_INVALID with all violations in out (up to LIMIT_VIOLATIONS,
 * the rest counted by out->more) and *ret untouched; -ENOMEM. out must be zero at the start; the caller
 * releases it. */
int spec_parse(struct str bytes, const struct spec_forbidden *forbidden, struct spec **ret,
               struct violations *out) MUST_CHECK;
