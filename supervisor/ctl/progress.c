/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "supervisor/ctl/term.h"

#define PROGRESS_FIRST_US (500 * 1000u)
#define PROGRESS_EVERY_US (100 * 1000u)
#define PROGRESS_BAR      24
#define EXIT_INTERRUPTED  130 /* 128 + SIGINT, as a shell says it */

void progress_start(struct progress *p, const char *what, const char *unit)
{
    *p = (struct progress){.what = what, .unit = unit, .start_us = clock_boottime_us()};
}

static void progress_bar(uint64_t done, uint64_t total, char dst[static PROGRESS_BAR + 1])
{
    size_t full = total ? (size_t)((double)done / (double)total * PROGRESS_BAR) : 0;

    for (size_t i = 0; i < PROGRESS_BAR; i++)
        dst[i] = i < full ? '#' : '.';
    dst[PROGRESS_BAR] = '\0';
}

void progress_show(struct progress *p, uint64_t done, uint64_t total)
{
    uint64_t now = clock_boottime_us(), spent = now - p->start_us;
    char bar[PROGRESS_BAR + 1];
    double rate;
    uint64_t left;

    if (spent < PROGRESS_FIRST_US || now - p->shown_us < PROGRESS_EVERY_US)
        return;
    p->shown_us = now;
    rate = (double)done * 1e6 / (double)spent;
    if (total == 0 || done > total) {
        term_status("%s: %" PRIu64 " %s, %.0f/s", p->what, done, p->unit, rate);
        return;
    }
    progress_bar(done, total, bar);
    left = rate > 0 ? (uint64_t)((double)(total - done) / rate + 0.5) : 0;
    term_status("[%s] %3u%%  %" PRIu64 " of %" PRIu64 " %s, %.0f/s, %" PRIu64 ":%02" PRIu64 " left  %s", bar,
                (unsigned)((double)done / (double)total * 100), done, total, p->unit, rate, left / 60,
                left % 60, p->what);
}

static void progress_on_interrupt(int sig)
{
    static const char clear[] = "\r\x1b[K";

    (void)sig;
    if (isatty(STDERR_FILENO))
        (void)!write(STDERR_FILENO, clear, sizeof(clear) - 1);
    _exit(EXIT_INTERRUPTED);
}

void progress_interruptible(void)
{
    struct sigaction sa = {.sa_handler = progress_on_interrupt};

    (void)sigaction(SIGINT, &sa, NULL);
}
