/* SPDX-License-Identifier: MIT */
/* The page of a run: one file without anything from outside, which draws itself from the exact lines it holds
 * and checks them in the browser (report/). */
#pragma once

#include <stdio.h>

#include "supervisor/ctl/report_data.h"

#define REPORT_ROWS_PRINTED 2000u /* rows of the table for readers without a script */

/* 0 or a negative errno; what stdio could not write is seen when the file is closed. */
int report_html(FILE *f, const struct report *r) MUST_CHECK;
