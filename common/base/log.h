/* SPDX-License-Identifier: MIT */
/* Structured log of a daemon: one line an event, to the journal when stderr is the journal (JOURNAL_STREAM),
 * else to stderr. Foreign text is escaped, lines are capped, and a burst is cut off with a count of what was
 * left out. */
#pragma once

#include <syslog.h> /* LOG_ERR ... LOG_DEBUG */

#include "common/base/str.h"

/* role names the process in every line. Call once, first thing in main. max_level: LOG_INFO unless -v. */
void log_init(const char *role, int max_level);

void log_at(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Logs with the text of err (a negative errno) appended and returns err: return log_errno(r, "cannot open
 * %s", x); */
int log_failed(int level, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_error(...)      log_at(LOG_ERR, __VA_ARGS__)
#define log_warning(...)    log_at(LOG_WARNING, __VA_ARGS__)
#define log_info(...)       log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...)      log_at(LOG_DEBUG, __VA_ARGS__)
#define log_errno(err, ...) log_failed(LOG_ERR, (err), __VA_ARGS__)
