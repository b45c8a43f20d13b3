/* SPDX-License-Identifier: MIT */
/* events -f: what becomes durable from now on, in the logs there are and in new ones below a directory. */
#pragma once

#include "common/evidence/envelope.h"
#include "supervisor/ctl/logdir.h"

#define EVENTS_WATCH_MAX 1024u /* logs watched at the same time: the newest */

struct events_follow {
    int inotify, signals;
    int parent_wd;
    char *parent; /* NULL: only the logs that were added */
    struct {
        char *path;
        uint64_t next; /* the line that is due */
        int wd;
        bool told; /* that it is wrong */
    } log[EVENTS_WATCH_MAX];
    size_t n;
    int status; /* the exit status so far */
};

/* Catches SIGINT and SIGTERM from here on. parent: a directory whose new logs are followed too, or NULL. 0 or
 * -errno. */
int events_follow_open(struct events_follow *f, const char *parent) MUST_CHECK;
void events_follow_done(struct events_follow *f);

/* Follows this log from that line on. Before it is read for the first time, so that nothing falls between. 0
 * or -errno. */
int events_follow_add(struct events_follow *f, const char *path, uint64_t next) MUST_CHECK;

/* Where to go on with a log that was added. */
void events_follow_set(struct events_follow *f, const char *path, uint64_t next);

/* Calls see as events_merge does, until it answers LOGWALK_STOP or a signal asks for the end. flush: after
 * every batch; false ends it too. An exit status. */
int events_follow_run(struct events_follow *f,
                      int (*see)(void *self, struct str line, const struct envelope_line *l),
                      bool (*flush)(void *self), void *self) MUST_CHECK;
