/* SPDX-License-Identifier: MIT */
/* libunbound's pluggable event base (unbound-event.h) on a libev loop. */
#pragma once

#include <ev.h>
#include <sys/queue.h>
#include <unbound.h>

#include <unbound-event.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

struct ubevent;

struct ubevent_base {
    struct ub_event_base super; /* first: libunbound knows only this */
    struct ev_loop *loop;
    LIST_HEAD(ubevents, ubevent) events; /* all that libunbound has, armed or not */
};

/* Must outlive the context that is made with &b->super. */
void ubevent_base_init(struct ubevent_base *b, struct ev_loop *loop);

/* Calls fn for the fd of every event until it says true. */
bool ubevent_any_fd(const struct ubevent_base *b, bool (*fn)(void *data, int fd), void *data);
