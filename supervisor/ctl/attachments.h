/* SPDX-License-Identifier: MIT */
/* The files that a spec document names, read with the caller's rights and handed in with it. */
#pragma once

#include "supervisor/spec/attach.h"
#include "supervisor/spec/operator.h"

/* Reads them. A document that breaks a rule names no files: its violations are the supervisor's to tell. A
 * file that cannot be read, is no regular file or too big is told on stderr under this verb and left out,
 * which makes the document invalid. Everything lives in a. 0 or -ENOMEM. */
int attachments_read(const char *verb, struct str document, const struct spec_operator *op, struct arena *a,
                     struct attachments *ret) MUST_CHECK;
