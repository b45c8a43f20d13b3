/* SPDX-License-Identifier: MIT */
/* From the bytes of a document to a checked spec. */
#pragma once

#include "supervisor/spec/spec.h"
#include "supervisor/spec/violation.h"

enum { SPEC_OK = 0, SPEC_INVALID = 1 };

/* Reads and checks a whole document: at most LIMIT_SPEC bytes, UTF-8, no deeper than LIMIT_SPEC_DEPTH, RFC
 * 8259 JSON without duplicate keys, then every rule of vocabulary 1-3. op may be NULL. SPEC_OK with
 * *ret (the caller frees with spec_free); SPEC_INVALID with all violations in out (up to LIMIT_VIOLATIONS,
 * the rest counted by out->more) and *ret untouched; -ENOMEM. out must be zero at the start; the caller
 * releases it. */
int spec_parse(struct str bytes, const struct spec_operator *op, struct spec **ret,
               struct violations *out) MUST_CHECK;

/* One egress rule in the words of --allow, checked like one of a document; "any" is taken for "no protocol",
 * as events write it. SPEC_OK with *ret in the arena, SPEC_INVALID with violations in out (zero at the
 * start), or a negative errno. */
int spec_parse_rule(struct str words, const struct spec_operator *op, struct arena *a,
                    struct spec_egress *ret, struct violations *out) MUST_CHECK;
