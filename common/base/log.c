/* SPDX-License-Identifier: MIT */
/* After the sandbox is up only clock_gettime, getpid, poll and write on stderr remain, so that is all this
 * file uses: when stderr is the journal's stream, "<N>" before the line sets its priority (sd-daemon(3)); no
 * fd of its own is needed. */
#include "common/base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/num.h"

#define LOG_TEXT_MAX  1024u /* one message, escaped, with its NUL */
#define LOG_ROLE_MAX  32u   /* with NUL */
#define LOG_LINE_MAX  (LOG_TEXT_MAX + 128u)
#define LOG_BURST     200u   /* lines at once */
#define LOG_REFILL_US 20000u /* then one line each 20 ms: 50 a second */
#define LOG_ERRORS    50u    /* of the burst, kept for LOG_ERR and worse */

static struct {
    char role[LOG_ROLE_MAX];
    int max_level;
    bool journal;
    bool colour;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t refilled_us; /* when the bucket was last filled; 0 = never */
    uint64_t tokens;
    uint64_t left_out;
} state = {.role = "?", .max_level = LOG_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

/* JOURNAL_STREAM is "device:inode" of the stream the service manager connected; stderr may since be something
 * else. */
static bool stderr_is_journal(void)
{
    struct str env = str_of(getenv("JOURNAL_STREAM"));
    const char *colon = env.p ? memchr(env.p, ':', env.len) : NULL;
    if (!colon)
        return false;
    struct str dev = {env.p, (size_t)(colon - env.p)};
    struct str ino = {colon + 1, env.len - dev.len - 1};
    uint64_t d, i;
    struct stat st;
    return num_parse_u64(dev, 0, UINT64_MAX, &d) == 0 && num_parse_u64(ino, 0, UINT64_MAX, &i) == 0 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == d && st.st_ino == i;
}

void log_init(const char *role, int max_level)
{
    int saved = errno;
    str_escape(state.role, sizeof(state.role), role, strlen(role));
    state.max_level = max_level;
    state.journal = stderr_is_journal();
    const char *no_color = getenv("NO_COLOR");
    state.colour = !state.journal && (!no_color || !no_color[0]) && isatty(STDERR_FILENO) == 1;
    errno = saved;
}

static const char *level_name(int level)
{
    static const char *const names[] = {"emergency", "alert",  "critical", "error",
                                        "warning",   "notice", "info",     "debug"};
    return level >= 0 && level < (int)ARRAY_LEN(names) ? names[level] : "error";
}

static const char *level_colour(int level)
{
    return level <= LOG_ERR       ? "\033[31m"
           : level == LOG_WARNING ? "\033[33m"
           : level == LOG_DEBUG   ? "\033[2m"
                                  : "";
}

/* One write, so that lines of several processes do not mix. False when the line was not taken: stderr is the
 * workload's too, which can fill a pipe or stop a terminal, and nobody may be stopped by that. It may do so
 * between the look and the write: a daemon has made its stderr one that does not wait (io_never_wait()). */
static bool write_line(int level, const char *text)
{
    char line[LOG_LINE_MAX];
    int n;
    if (state.journal) {
        n = snprintf(line, sizeof(line), "<%d>%s: %s\n", level, state.role, text);
    } else {
        const char *on = state.colour ? level_colour(level) : "";
        n = snprintf(line, sizeof(line), "cellos-%s[%ld]: %s%s%s: %s\n", state.role, (long)getpid(), on,
                     level_name(level), on[0] ? "\033[0m" : "", text);
    }
    if (n < 0)
        return false;
    size_t len = (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1;
    ssize_t done;
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&p, 1, 0) == 0)
        return false;
    do {
        done = write(STDERR_FILENO, line, len);
    } while (done < 0 && errno == EINTR);
    return done > 0;
}

static bool take_token(int level)
{
    uint64_t now = clock_boottime_us();
    if (state.refilled_us == 0) {
        state.tokens = LOG_BURST;
        state.refilled_us = now;
    }
    uint64_t fresh = now > state.refilled_us ? (now - state.refilled_us) / LOG_REFILL_US : 0;
    state.refilled_us += fresh * LOG_REFILL_US;
    state.tokens = fresh >= LOG_BURST - state.tokens ? LOG_BURST : state.tokens + fresh;
    if (state.tokens == 0 || (level > LOG_ERR && state.tokens <= LOG_ERRORS))
        return false;
    state.tokens--;
    return true;
}

static void emit(int level, const char *text)
{
    pthread_mutex_lock(&state.lock);
    if (!take_token(level)) {
        state.left_out++;
        pthread_mutex_unlock(&state.lock);
        return;
    }
    if (state.left_out > 0) {
        char note[64];
        snprintf(note, sizeof(note), "%llu messages left out", (unsigned long long)state.left_out);
        if (write_line(LOG_WARNING, note))
            state.left_out = 0;
    }
    if (!write_line(level, text))
        state.left_out++;
    pthread_mutex_unlock(&state.lock);
}

/* Formats and escapes into text, leaving room for tail bytes more. The raw buffer is larger than what the
 * escaped text can hold, so a message cut here is always shown as cut there. */
__attribute__((format(printf, 3, 0))) static void format_text(char text[LOG_TEXT_MAX], size_t tail,
                                                              const char *fmt, va_list ap)
{
    char raw[LOG_TEXT_MAX + 1];
    int n = vsnprintf(raw, sizeof(raw), fmt, ap);
    if (n < 0)
        n = snprintf(raw, sizeof(raw), "(unprintable message)");
    size_t len = (size_t)n < sizeof(raw) ? (size_t)n : sizeof(raw) - 1;
    str_escape(text, LOG_TEXT_MAX - tail, raw, len);
}

void log_at(int level, const char *fmt, ...)
{
    if (level > state.max_level)
        return;
    int saved = errno;
    char text[LOG_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    format_text(text, 0, fmt, ap);
    va_end(ap);
    emit(level, text);
    errno = saved;
}

int log_failed(int level, int err, const char *fmt, ...)
{
    if (level > state.max_level)
        return err;
    int saved = errno;
    char tail[128];
    int n = snprintf(tail, sizeof(tail), ": %s", strerror(err < 0 && err > -4096 ? -err : err));
    char text[LOG_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    format_text(text, sizeof(tail), fmt, ap);
    va_end(ap);
    if (n > 0)
        memcpy(text + strlen(text), tail, strlen(tail) + 1); /* format_text left room for all of tail */
    emit(level, text);
    errno = saved;
    return err;
}
