/* SPDX-License-Identifier: MIT */
/* The process behind one connection of the cell: asked for once, as soon as the connection is there, and
 * known to every decision about it. Shared by the connection, the ways out of it and the events that wait for
 * it. */
#pragma once

#include "proxyd/process.h"

struct gate;
struct client;

/* Somebody who waits for the answer. */
struct client_wait {
    struct client_wait *next, **at; /* at == NULL: not waiting */
    void (*done)(void *self);       /* once; the answer, or that there is none, is known */
    void *self;
};

/* addr: the client's own end. The caller holds one reference. NULL: no memory. */
struct client *client_new(struct gate *g, const struct endpoint_addr *addr);
struct client *client_ref(struct client *c);
/* NULL-safe; returns NULL. With the last reference the question is taken back. */
struct client *client_unref(struct client *c);

/* The one with this end, or NULL; borrowed. */
struct client *client_find(struct gate *g, const struct endpoint_addr *addr);

/* Asks, once; original: where the client connected to. */
void client_ask(struct client *c, const struct endpoint_addr *original);

/* An answer is still to come. */
bool client_waits(const struct client *c);
/* The process, or NULL: unknown. Borrowed from *room and c. */
const struct ev_process *client_process(const struct client *c, struct ev_process *room);

/* While client_waits: done comes, never from inside. */
void client_wait(struct client *c, struct client_wait *w, void (*done)(void *self), void *self);
void client_unwait(struct client_wait *w);

/* Nobody waits any longer: all are told now, from inside. */
void client_give_up(struct client *c);
