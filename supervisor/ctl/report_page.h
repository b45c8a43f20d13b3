/* SPDX-License-Identifier: MIT */
/* The page's own sources (report/), built into the program as they are. */
#pragma once

#include "common/base/str.h"

struct str report_page_css(void);
struct str report_page_html(void); /* the body's skeleton */
struct str report_page_js(void);
