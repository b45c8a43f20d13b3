/* SPDX-License-Identifier: MIT */
/* A frame socket on the event loop, with a bounded queue of frames that the peer's socket buffer did not take
 * yet. */
#pragma once

#include <ev.h>

#include "common/ipc/frame.h"

struct channel;

struct channel_ops {
    /* One frame came. It may take fds; the rest is closed afterwards. A negative return cuts the channel:
     * gone() follows. */
    int (*frame)(void *self, struct frame *f);
    /* The channel is dead: err is 0 when the peer closed it, else a negative errno. Called once, from the
     * loop, never from inside channel_send(). The owner may free the channel here. */
    void (*gone)(void *self, int err);
};

/* Takes sock (closes it on failure too). *ret is freed with channel_free. queue_max: most frames waiting to
 * be sent. */
int channel_new(struct ev_loop *loop, int sock, size_t queue_max, const struct channel_ops *ops, void *self,
                struct channel **ret) MUST_CHECK;

/* Sends or queues a copy; fds are duplicated when queued. 0; -EDQUOT when queue_max frames already wait;
 * -EPIPE when the channel is dead (frames the peer had sent are still delivered, then gone() follows);
 * -EMSGSIZE; -errno: only this frame was not sent. */
int channel_send(struct channel *c, const void *p, size_t n, const int *fds, size_t nfds) MUST_CHECK;

size_t channel_queued(const struct channel *c);

/* Closes without gone(); drops what is queued. NULL-safe, also from inside frame() and gone(). Returns NULL.
 */
struct channel *channel_free(struct channel *c);
