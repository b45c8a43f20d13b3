/* SPDX-License-Identifier: MIT */
/* audit.json: what the page says, for machines. Its form is docs/audit.schema.json. */
#pragma once

#include <stdio.h>

#include "supervisor/ctl/report_data.h"

#define REPORT_GROUPS_MAX 10000u /* different decisions; more are counted in groupsLeftOut */

/* 0 or a negative errno. */
int report_audit(FILE *f, const struct report *r) MUST_CHECK;
