/* SPDX-License-Identifier: MIT */
/* Colours and a live status line: only on a terminal, never when NO_COLOR is set (https://no-color.org) or
 * TERM is dumb. */
#pragma once

#include "common/base/str.h"

enum term_color {
    TERM_PLAIN,
    TERM_BOLD,
    TERM_DIM,
    TERM_RED,
    TERM_GREEN,
    TERM_YELLOW,
    TERM_CYAN,
    _TERM_COLOR_MAX
};

bool term_colors(int fd);

/* The escape sequence, or "" when on is false. */
const char *term_code(bool on, enum term_color c);

/* Columns of the terminal behind fd, or 80. */
unsigned term_width(int fd);

/* One line at the bottom of stderr that the next call replaces; nothing is shown unless stderr is a terminal.
 * The text is escaped and cut to the width. */
void term_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Removes the line: before any other output to the terminal, and at the end. */
void term_status_clear(void);
