/* SPDX-License-Identifier: MIT */
#include "proxyd/pipes.h"

#include <fcntl.h>

int pipes_init(struct pipes *p, size_t max)
{
    *p = (struct pipes){.idle = calloc(max, sizeof(*p->idle)), .max = max};
    return p->idle || max == 0 ? 0 : -ENOMEM;
}

static void pair_close(struct pipe_pair *pair)
{
    cleanup_closep(&pair->r);
    cleanup_closep(&pair->w);
    *pair = PIPE_NONE;
}

void pipes_done(struct pipes *p)
{
    while (p->nidle > 0)
        pair_close(&p->idle[--p->nidle]);
    free(p->idle);
    *p = (struct pipes){0};
}

bool pipes_get(struct pipes *p, struct pipe_pair *ret)
{
    int fds[2];

    if (p->nidle > 0) {
        *ret = p->idle[--p->nidle];
        return true;
    }
    if (p->open >= p->max || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return false;
    p->open++;
    *ret = (struct pipe_pair){fds[0], fds[1]};
    return true;
}

void pipes_put(struct pipes *p, struct pipe_pair *pair, bool empty)
{
    if (pair->r < 0)
        return;
    if (empty) {
        p->idle[p->nidle++] = *pair;
        *pair = PIPE_NONE;
        return;
    }
    pair_close(pair);
    p->open--;
}
