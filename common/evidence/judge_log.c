/* SPDX-License-Identifier: MIT */
#include "common/evidence/envelope.h"
#include "common/evidence/judge.h"
#include "common/evidence/sidecar.h"

struct judge_log {
    struct log_reader *reader;
    struct sidecar_reader *sidecar;
    const struct keyring *ring; /* borrowed */
};

int judge_log_open(int dirfd, uint64_t from, const struct keyring *ring, struct judge_log **ret)
{
    _cleanup_(judge_log_freep) struct judge_log *l = calloc(1, sizeof(*l));
    int r = l ? log_reader_open(dirfd, from, &l->reader) : -ENOMEM;

    if (r == 0)
        r = sidecar_reader_new(dirfd, &l->sidecar);
    if (r < 0)
        return r;
    l->ring = ring;
    *ret = TAKE_PTR(l);
    return 0;
}

struct judge_log *judge_log_free(struct judge_log *l)
{
    if (l) {
        log_reader_free(l->reader);
        sidecar_reader_free(l->sidecar);
        free(l);
    }
    return NULL;
}

void judge_log_freep(struct judge_log **l)
{
    *l = judge_log_free(*l);
}

static int judge_log_next(void *arg, struct log_line *ret)
{
    return log_reader_next(((struct judge_log *)arg)->reader, ret);
}

static int judge_log_sig(void *arg, const struct log_line *line, struct log_check_sig *ret)
{
    struct judge_log *l = arg;

    return sidecar_read(l->sidecar, line, l->ring, &ret->key, ret->sig);
}

struct judge_source judge_log_source(struct judge_log *l)
{
    return (struct judge_source){.next = judge_log_next, .sig = judge_log_sig, .arg = l};
}
