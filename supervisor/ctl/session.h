/* SPDX-License-Identifier: MIT */
/* One run over the control line: sends the document and the workload's stdio, shows steps, forwards signals,
 * watches the daemons, and waits for the outcome. */
#pragma once

#include "proto/messages.h"
#include "supervisor/ctl/follow.h"
#include "supervisor/ctl/suite.h"

struct session_request {
    struct str document;
    const char *name;               /* the cell's id in events when the document has no usable one */
    struct attachments attachments; /* the files that the document names */
    bool verbose;
};

/* Takes l->control. Always fills *ret: a suite that fails is an outcome. */
void session_run(struct launcher *l, const struct session_request *req, struct follow *f,
                 struct suite_outcome *ret);
