/* SPDX-License-Identifier: MIT */
/* One daemon of the suite, started alone: everything around it is played by this program. */
#pragma once

#include <sys/types.h>

#include "tests/priv/hostile.h"

#define SUSPECT_LINES 4

struct suspect_kind {
    const char *name;
    const char *binary;
    size_t nlines;
    struct hostile_line line[SUSPECT_LINES]; /* our ends */
    const char *line_names[SUSPECT_LINES];
    const char *dirs[3];  /* of LISTEN_FDNAMES, behind the lines */
    const char *listener; /* behind these; NULL = none. Who connects to it: test_operators.py */
};

struct suspect {
    const struct suspect_kind *kind;
    pid_t pid;
    int line[SUSPECT_LINES]; /* -EBADF once closed */
    char dir[256];           /* its own: state, and the file "stderr" */
};

const struct suspect_kind *suspect_kind(const char *name);

/* Options for all that are started from now on, behind their own: pairs, at most SUSPECT_OPTIONS strings. */
#define SUSPECT_OPTIONS 8
void suspect_options(char *const *options, size_t n);

/* Starts it with fresh directories below base; ends the program when that fails. */
void suspect_start(const struct suspect_kind *k, const char *bin_dir, const char *base, struct suspect *ret);

/* Our hello on a line. */
void suspect_hello(const struct suspect *s, size_t line);

/* Sends raw bytes with nfds copies of /dev/null. */
void suspect_send(const struct suspect *s, size_t line, const void *p, size_t n, size_t nfds);

/* Waits for the next frame on a line: 1 and the frame; 0 at its end; -1 when time is up. */
int suspect_recv(const struct suspect *s, size_t line, struct frame *f, int timeout_ms);

/* Reads on until the line ends. Whether it did in time. */
bool suspect_is_cut(struct suspect *s, size_t line, int timeout_ms);

/* A request that gets some answer from an honest daemon in any state. Whether it came. */
bool suspect_answers(const struct suspect *s, size_t line, int timeout_ms);

void suspect_close(struct suspect *s, size_t line);

/* Waits for its end, kills it after timeout_ms (*ret_late). The wait status. */
int suspect_end(struct suspect *s, int timeout_ms, bool *ret_late);

/* What it wrote to standard error, as a JSON string on stdout. */
void suspect_print_log(const struct suspect *s);
