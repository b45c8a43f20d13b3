/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "supervisor/ctl/term.h"

#define STATUS_MAX 512

static bool status_shown;

static bool smart_terminal(int fd)
{
    const char *kind = getenv("TERM");
    return isatty(fd) && kind && strcmp(kind, "dumb") != 0;
}

bool term_colors(int fd)
{
    const char *no = getenv("NO_COLOR");
    return !(no && *no) && smart_terminal(fd);
}

const char *term_code(bool on, enum term_color c)
{
    static const char *const codes[] = {
        [TERM_PLAIN] = "\x1b[0m", [TERM_BOLD] = "\x1b[1m",   [TERM_DIM] = "\x1b[2m",
        [TERM_RED] = "\x1b[31m",  [TERM_GREEN] = "\x1b[32m", [TERM_YELLOW] = "\x1b[33m",
        [TERM_CYAN] = "\x1b[36m",
    };
    return on ? codes[c] : "";
}

unsigned term_width(int fd)
{
    struct winsize w;
    if (ioctl(fd, TIOCGWINSZ, &w) < 0 || w.ws_col == 0)
        return 80;
    return w.ws_col;
}

void term_status(const char *fmt, ...)
{
    char text[STATUS_MAX], safe[STATUS_MAX];
    if (!smart_terminal(STDERR_FILENO))
        return;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    size_t width = term_width(STDERR_FILENO);
    if (width < 5)
        return;
    (void)str_escape(safe, width < sizeof(safe) ? width : sizeof(safe), text, strlen(text));
    (void)fprintf(stderr, "\r\x1b[K%s", safe);
    (void)fflush(stderr);
    status_shown = true;
}

void term_status_clear(void)
{
    if (!status_shown)
        return;
    (void)fputs("\r\x1b[K", stderr);
    (void)fflush(stderr);
    status_shown = false;
}
