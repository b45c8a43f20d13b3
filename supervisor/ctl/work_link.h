/* SPDX-License-Identifier: MIT */
/* The line of `cellctl work` to a JetStream work queue: asks for single jobs, one question a slot, renews and
 * answers them, publishes. Nothing here waits: libnats's threads put what comes into a list, and the handlers
 * are called from the event loop.
 *
 * A job that comes for a question belongs to exactly that question, so that its lease can be counted from
 * when it was asked: each question of a slot that was given up gets a new inbox, and what still comes to the
 * old one is dropped - the queue gives it to somebody else when its lease is over. */
#pragma once

#include <ev.h>
#include <pthread.h>

#include "supervisor/ctl/jetstream.h"
#include "supervisor/ctl/work_message.h"

#define LINK_SLOTS_MAX 256u
#define LINK_NAME_MAX  64u

struct link_inbox;
struct link_event;

struct link_slot {
    struct link_inbox *inbox; /* where its questions are answered; NULL: none made */
    uint64_t asked_us;        /* 0: nothing is asked */
    uint64_t give_up_us;      /* nobody will answer any more */
};

enum link_reply {
    LINK_OK,     /* a confirmation, or an answer with a body */
    LINK_NOBODY, /* nobody takes this subject */
};

struct link_ops {
    /* A job for this slot, which asked at asked_us; takes msg. */
    void (*job)(void *self, unsigned slot, uint64_t asked_us, natsMsg *msg);
    /* No job: none there, or, with a text, the server's reason why there will be none. */
    void (*none)(void *self, unsigned slot, const char *text);
    /* The answer to link_request(). */
    void (*reply)(void *self, uint64_t id, enum link_reply r, struct str body);
};

struct link {
    struct ev_loop *loop;
    struct jetstream *js; /* borrowed */
    const struct link_ops *ops;
    void *self;
    char next[2 * LINK_NAME_MAX + 64]; /* the subject that asks this consumer for a job */
    char replies[64];                  /* our inbox; requests are answered below it */
    natsSubscription *reply_sub;
    uint64_t last_id;
    struct link_slot slots[LINK_SLOTS_MAX];
    unsigned nslots;
    ev_async wake;
    pthread_mutex_t lock; /* guards the list between libnats's threads and ours */
    struct link_event *first, **last;
};

/* 0 or a negative errno, with a sentence in why. ret stays where it is until the process ends: libnats's
 * threads know it. */
int link_open(struct ev_loop *loop, struct jetstream *js, const char *stream, const char *consumer,
              unsigned nslots, const struct link_ops *ops, void *self, struct link *ret,
              char why[static JETSTREAM_WHY_MAX]) MUST_CHECK;

bool link_is_up(const struct link *l);

/* Asks for one job; the server waits up to wait_ms for one. 0 or a negative errno. */
int link_ask(struct link *l, unsigned slot, unsigned wait_ms) MUST_CHECK;

/* Questions that were not answered in time are given up; call now and then. */
void link_tick(struct link *l, uint64_t now_us);

/* Nothing is asked any more; what was asked is answered to nobody. */
void link_stop_asking(struct link *l);

/* Publishes with an answer wanted. msg_id (NULL: none) makes a repeat harmless. Its number (> 0), which
 * reply() names; 0 when it could not be sent. */
uint64_t link_publish(struct link *l, const char *subject, const char *msg_id, struct str body) MUST_CHECK;

/* Says something about a job: "+ACK", "+WPI", ... The number as above. */
uint64_t link_request(struct link *l, const char *subject, const char *text) MUST_CHECK;

void link_close(struct link *l);
