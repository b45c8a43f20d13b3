/* SPDX-License-Identifier: MIT */
/* The socket over which `cellctl policy` reaches the supervisor of one running suite:
 * STATE/run/<run id>/control, 0700 all the way. The directory is locked while its run lives; one that is not
 * is what a killed cellctl left behind. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/uuid.h"

#define RUN_SOCKET_DIR  "run"
#define RUN_SOCKET_NAME "control"

struct run_socket {
    int parent; /* STATE/run */
    int dir;    /* STATE/run/<run id>, locked */
    char run_id[UUID_TEXT_LEN + 1];
};

#define RUN_SOCKET_NONE ((struct run_socket){.parent = -EBADF, .dir = -EBADF})

/* Makes the directory and the listening socket in it, after removing what dead runs left. state: the state
 * directory, which is there. The listening fd, or a negative errno. */
int run_socket_make(const char *state, const char *run_id, struct run_socket *ret) MUST_CHECK;

/* Removes both; harmless on RUN_SOCKET_NONE. */
void run_socket_remove(struct run_socket *s);

/* A connection to the socket in this directory: the fd; -ECONNREFUSED or -ENOENT when no suite listens there;
 * another negative errno. */
int run_socket_connect(int dir) MUST_CHECK;
