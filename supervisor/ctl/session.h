/* SPDX-License-Identifier: MIT */
/* One run over the control line: sends the document and the workload's stdio, shows steps, forwards signals,
 * watches the daemons, and waits for the outcome. */
#pragma once

#include "proto/messages.h"
#include "supervisor/ctl/follow.h"
#include "supervisor/ctl/launcher.h"

struct session_request {
    struct str document;
    const char *name;               /* the cell's id in events when the document has no usable one */
    struct attachments attachments; /* the files that the document names */
    bool verbose;
};

struct session_outcome {
    uint32_t result; /* enum run_result */
    unsigned exit_code, signal;
    char text[LIMIT_ERROR_TEXT + 1]; /* one sentence, "" = nothing to say */
    uint64_t l7_denied, dns_denied;
    char checkpoint[1025]; /* "" = none came */
};

/* Takes l->control. Always fills *ret: a suite that fails is an outcome. */
void session_run(struct launcher *l, const struct session_request *req, struct follow *f,
                 struct session_outcome *ret);
