/* SPDX-License-Identifier: MIT */
/* The operator's side of `cellctl run`: /etc/cellos/cellos.json or --config FILE, and the flags that say the
 * same for one run. In an embedded suite the caller is the operator, so it is read with the caller's rights.
 */
#pragma once

#include "supervisor/ctl/run_flags.h"
#include "supervisor/spec/operator.h"

#define RUN_OPERATOR_FILE "/etc/cellos/cellos.json"

struct run_operator {
    struct operator_config *config; /* what holds for this run */
    char *json; /* the same as a document, for the supervisor; NULL: nothing but defaults */
};

/* A file that is not there is only an error when --config names it. On failure everything that is wrong has
 * been written to stderr. 0 or a negative errno; release with run_operator_done in any case. */
int run_operator_load(const struct run_flags *f, struct run_operator *ret) MUST_CHECK;
void run_operator_done(struct run_operator *o);

/* "http://HOST:PORT" or "socks5://HOST:PORT" into a proxy's kind and address; a name is resolved here. 0; 1
 * with a clause in why; a negative errno. */
int run_operator_proxy(const char *text, uint32_t *ret_kind, char endpoint[ADDR_ENDPOINT_MAX], char *why,
                       size_t cap) MUST_CHECK;
