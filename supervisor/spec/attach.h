/* SPDX-License-Identifier: MIT */
/* The files that a spec names (trustAnchorsPath). The supervisor has no file system: who hands a document in
 * reads them with its own rights and sends them along (proto/documents.h, attachments). */
#pragma once

#include "proto/documents.h"
#include "supervisor/spec/spec.h"
#include "supervisor/spec/violation.h"

/* The paths of these files, each once, in the spec's arena. At most LIMIT_ATTACHMENTS. 0 or -ENOMEM. */
int spec_attachment_paths(struct spec *s, struct strs *ret) MUST_CHECK;

/* Puts what was sent where the spec names it (copied). A file that is missing, or is no list of trust anchors
 * (DS or DNSKEY records as text), is a violation; what the spec does not name is not looked at. 0 or -ENOMEM.
 */
int spec_attach(struct spec *s, const struct attachments *files, struct violations *out) MUST_CHECK;
