/* SPDX-License-Identifier: MIT */
/* A file that is there whole or not at all, and text in the places of a page. */
#pragma once

#include <jansson.h>
#include <limits.h>
#include <stdio.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

struct report_out {
    FILE *file;
    char path[PATH_MAX]; /* "" = standard output */
    char temporary[PATH_MAX + 16];
};

/* path: "-" = standard output. 0 or -errno. */
int report_out_open(struct report_out *o, const char *path) MUST_CHECK;
/* Puts the file in its place. 0 or -errno (nothing was written then). */
int report_out_close(struct report_out *o) MUST_CHECK;
/* Gives up; nothing after report_out_close. */
void report_out_done(struct report_out *o);

/* Element content: markup characters and control characters as references. */
void report_put_text(FILE *f, const char *text);
/* The inside of a JSON string in a script element: neither "</script" nor "<!--" can come out of it. */
void report_put_quoted(FILE *f, struct str text);
/* A JSON value in a script element. -ENOMEM. */
int report_put_json(FILE *f, const json_t *v) MUST_CHECK;
