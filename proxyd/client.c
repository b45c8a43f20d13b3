/* SPDX-License-Identifier: MIT */
#include "proxyd/client.h"

#include "proxyd/gate_state.h"

struct client {
    struct gate *g;
    struct client *next, **at;
    unsigned refs;
    struct endpoint_addr addr;
    struct process_ask *ask;
    uint64_t pid;
    char *exe; /* NULL: unknown */
    struct client_wait *waits;
};

static struct client **bucket(struct gate *g, const struct endpoint_addr *addr)
{
    return &g->clients[addr->port % ARRAY_LEN(g->clients)];
}

struct client *client_find(struct gate *g, const struct endpoint_addr *addr)
{
    for (struct client *c = *bucket(g, addr); c; c = c->next)
        if (c->addr.port == addr->port && addr_eq(&c->addr.addr, &addr->addr))
            return c;
    return NULL;
}

struct client *client_new(struct gate *g, const struct endpoint_addr *addr)
{
    struct client **at = bucket(g, addr);
    struct client *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    *c = (struct client){.g = g, .next = *at, .at = at, .refs = 1, .addr = *addr};
    if (c->next)
        c->next->at = &c->next;
    *at = c;
    return c;
}

struct client *client_ref(struct client *c)
{
    c->refs++;
    return c;
}

struct client *client_unref(struct client *c)
{
    if (!c || --c->refs > 0)
        return NULL;
    process_cancel(c->ask);
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    free(c->exe);
    free(c);
    return NULL;
}

void client_give_up(struct client *c)
{
    process_cancel(c->ask);
    c->ask = NULL;
    client_ref(c); /* who is told may drop its own */
    while (c->waits) {
        struct client_wait *w = c->waits;
        client_unwait(w);
        w->done(w->self);
    }
    client_unref(c);
}

static void on_process(void *self, const struct ev_process *process)
{
    struct client *c = self;

    c->ask = NULL;
    if (process) {
        c->pid = process->pid;
        c->exe = strndup(process->exe.p, process->exe.len); /* without memory: unknown */
    }
    client_give_up(c);
}

void client_ask(struct client *c, const struct endpoint_addr *original)
{
    if (c->g->cfg.who &&
        process_ask(c->g->cfg.who, TRANSPORT_TCP, &c->addr, original, on_process, c, &c->ask) < 0)
        c->ask = NULL;
}

bool client_waits(const struct client *c)
{
    return c->ask != NULL;
}

const struct ev_process *client_process(const struct client *c, struct ev_process *room)
{
    if (!c->exe)
        return NULL;
    *room = (struct ev_process){c->pid, str_of(c->exe)};
    return room;
}

void client_wait(struct client *c, struct client_wait *w, void (*done)(void *self), void *self)
{
    *w = (struct client_wait){.next = c->waits, .at = &c->waits, .done = done, .self = self};
    if (w->next)
        w->next->at = &w->next;
    c->waits = w;
}

void client_unwait(struct client_wait *w)
{
    if (!w->at)
        return;
    *w->at = w->next;
    if (w->next)
        w->next->at = w->at;
    w->at = NULL;
}
