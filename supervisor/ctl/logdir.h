/* SPDX-License-Identifier: MIT */
/* Finding logs: one log's directory, or the directory that holds the logs of many runs. */
#pragma once

#include <limits.h>

#include "common/evidence/log_verify.h"

struct logdir_list {
    char **path; /* ascending by name, which for runs is ascending by time */
    size_t n;
};

void logdir_list_done(struct logdir_list *l);

/* dir: a log, or a directory with logs directly below; NULL: the state directory's logs. An exit status
 * (ctl.h); a failure has been told under this verb. On success there is at least one log. */
int logdir_find(const char *verb, const char *dir, struct logdir_list *ret) MUST_CHECK;

/* The same; empty says that it will do when there is no log yet (the directory must exist). ret_parent
 * becomes the directory that was looked into, or "" when dir is a log itself. */
int logdir_find_below(const char *verb, const char *dir, bool empty, struct logdir_list *ret,
                      char ret_parent[PATH_MAX]) MUST_CHECK;

/* Drops all but this one. */
void logdir_keep_one(struct logdir_list *l, size_t i);

/* Whether the open directory is a log. */
bool logdir_is_log(int dirfd);

/* Opens it for reading: the fd or -errno. */
int logdir_open(const char *path) MUST_CHECK;

/* Keeps only the log whose origin is the first line of this note. */
void logdir_keep_origin(struct logdir_list *l, struct str note);

/* The public key beside this user's signing key. 0, or a negative errno when there is none. */
int logdir_state_key(struct vkey *ret) MUST_CHECK;
/* The keyset there. Appends to b. The same. */
int logdir_state_keyset(struct buf *b) MUST_CHECK;
