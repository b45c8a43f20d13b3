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

/* What a run came to, and what is to be said of it. */
struct session_end {
    struct suite_outcome outcome;
    struct buf violations; /* of a refused spec: lines, escaped */
    int signal;            /* the last one that was sent to us while it ran; 0: none */
};

/* Takes l->control. Always fills *ret: a suite that fails is an outcome. While it runs stderr gets nothing
 * that could wait for a reader. Afterwards signals have their default action again. */
void session_run(struct launcher *l, const struct session_request *req, struct follow *f,
                 struct session_end *ret);
void session_end_done(struct session_end *e);
