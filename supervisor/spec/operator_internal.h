/* SPDX-License-Identifier: MIT */
/* Parts of an operator's configuration that have a file of their own. */
#pragma once

#include "supervisor/spec/operator.h"
#include "supervisor/spec/validate.h"

/* log.redact: a list of names, or "defaults". */
void operator_redact(struct validate *v, const struct doc_at *at, struct redact *ret);

/* log.quota */
void operator_log_quota(struct validate *v, const struct doc_at *at, struct operator_log *l);
