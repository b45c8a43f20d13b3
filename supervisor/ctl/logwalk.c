/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/logwalk.h"

#include <inttypes.h>

#include "common/evidence/log_reader.h"
#include "supervisor/ctl/ctl.h"

#define FAIL(status, verb, ...) ((verb) ? ctl_fail(status, verb, __VA_ARGS__) : (int)(status))

int logwalk_lines(const char *verb, const char *path, const struct loghead *h,
                  int (*see)(void *self, const struct log_line *line, const struct envelope_line *l),
                  void *self)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    struct envelope_line l;
    struct log_line line = {.index = 0};
    uint64_t first = 0, size = h->checkpoint.size;
    int r = size > 0 ? log_reader_open_oldest(h->fd, &reader, &first) : 0;

    if (r < 0)
        return FAIL(CTL_FAILED, verb, "cannot read %s: %s", path, strerror(-r));
    for (uint64_t i = first; i < size; i++) {
        if (log_reader_next(reader, &line) != LOG_READ_LINE)
            return FAIL(CTL_TAMPERED, verb,
                        "%s ends after %" PRIu64 " of %" PRIu64 " lines: see `cellctl verify`", path, i,
                        size);
        if (envelope_parse(line.text, &l) != ENVELOPE_OK)
            return FAIL(CTL_TAMPERED, verb, "line %" PRIu64 " of %s is no event: see `cellctl verify`", i + 1,
                        path);
        if (see(self, &line, &l) == LOGWALK_STOP)
            break;
    }
    return CTL_OK;
}

struct plain {
    int (*see)(void *self, const struct envelope *e);
    void *self;
};

static int see_plain(void *self, const struct log_line *line, const struct envelope_line *l)
{
    const struct plain *p = self;

    (void)line;
    return p->see(p->self, &l->e);
}

int logwalk(const char *verb, const char *path, int (*see)(void *self, const struct envelope *e), void *self)
{
    _cleanup_(loghead_freep) struct loghead *h = NULL;
    struct plain p = {see, self};
    int r = loghead_open(verb, path, &h);

    return r == CTL_OK ? logwalk_lines(verb, path, h, see_plain, &p) : r;
}
