/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/logwalk.h"

#include <inttypes.h>

#include "common/evidence/log_reader.h"
#include "supervisor/ctl/ctl.h"

#define FAIL(status, verb, ...) ((verb) ? ctl_fail(status, verb, __VA_ARGS__) : (int)(status))

/* Under the log's own keys: whether these are to be trusted is for cellctl verify to say. */
static int head(const char *verb, const char *path, int fd, struct buf *note, struct vkey *ret_key,
                struct checkpoint *ret)
{
    static const struct trust_root nothing;
    const struct keyring_key *signer;
    char why[LOG_CHECK_WHY_MAX];
    struct trust *t = malloc(sizeof(*t));
    int r = t ? trust_open(fd, &nothing, t, why) : -ENOMEM;

    if (r < 0 || log_verify_read_file(fd, "checkpoint", note) < 0)
        r = FAIL(CTL_FAILED, verb, "%s has no key and checkpoint: `cellctl verify` says more", path);
    else if (checkpoint_open_ring(buf_str(note), &t->ring, ret, &signer) != CHECKPOINT_OK)
        r = FAIL(CTL_TAMPERED, verb, "the checkpoint of %s is not signed by its key: see `cellctl verify`",
                 path);
    else
        *ret_key = signer->vkey;
    free(t);
    return r;
}

int logwalk_head(const char *verb, const char *path, struct buf *note, struct vkey *ret_key,
                 struct checkpoint *ret)
{
    _cleanup_close_ int fd = logdir_open(path);

    if (fd < 0)
        return FAIL(CTL_FAILED, verb, "cannot open %s: %s", path, strerror(-fd));
    return head(verb, path, fd, note, ret_key, ret);
}

int logwalk_size(const char *verb, const char *path, int fd, uint64_t *ret)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    struct checkpoint c = {.size = 0};
    struct vkey k;

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    int r = head(verb, path, fd, &note, &k, &c);
    if (r == CTL_OK)
        *ret = c.size;
    return r;
}

static int walk(const char *verb, const char *path, int fd, uint64_t size,
                int (*see)(void *self, const struct log_line *line, const struct envelope_line *l),
                void *self)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    struct envelope_line l;
    struct log_line line = {.index = 0};
    uint64_t first = 0;
    int r = size > 0 ? log_reader_open_oldest(fd, &reader, &first) : 0;

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

int logwalk_lines(const char *verb, const char *path, uint64_t size,
                  int (*see)(void *self, const struct log_line *line, const struct envelope_line *l),
                  void *self)
{
    _cleanup_close_ int fd = logdir_open(path);

    if (fd < 0)
        return FAIL(CTL_FAILED, verb, "cannot open %s: %s", path, strerror(-fd));
    return walk(verb, path, fd, size, see, self);
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
    _cleanup_close_ int fd = logdir_open(path);
    struct plain p = {see, self};
    uint64_t size = 0;

    if (fd < 0)
        return FAIL(CTL_FAILED, verb, "cannot open %s: %s", path, strerror(-fd));
    int r = logwalk_size(verb, path, fd, &size);
    return r == CTL_OK ? walk(verb, path, fd, size, see_plain, &p) : r;
}
