/* SPDX-License-Identifier: MIT */
/* Denials take effect at once; their events follow as soon as the process behind the connection is known. */
#include "proxyd/denial.h"

#include "proxyd/gate_state.h"
#include "proxyd/l7_event.h"

struct denial {
    struct gate *g;
    struct denial *next, **at;
    struct client *client;
    struct client_wait wait;
    struct judgement j;
    struct endpoint_addr original, dialed;
    bool has_dialed;
};

static void denial_claim(const struct denial *d)
{
    struct ev_process room;
    const struct l7_decision what = {
        .policy = d->g->cfg.policy,
        .j = &d->j,
        .original = &d->original,
        .dialed = d->has_dialed ? &d->dialed : NULL,
        .process = d->client ? client_process(d->client, &room) : NULL,
    };

    l7_claim_deny(d->g->cfg.claims, &what);
}

static void on_known(void *self)
{
    struct denial *d = self;

    denial_claim(d);
    client_unwait(&d->wait);
    client_unref(d->client);
    *d->at = d->next;
    if (d->next)
        d->next->at = d->at;
    d->g->ndenials--;
    free(d);
}

void gate_deny(struct gate *g, const struct judgement *j, const struct endpoint_addr *original,
               const struct endpoint_addr *client, const struct endpoint_addr *dialed)
{
    struct denial now = {.g = g, .j = *j, .original = *original, .has_dialed = dialed != NULL};

    now.j.allow = false;
    if (dialed)
        now.dialed = *dialed;
    now.client = client ? client_find(g, client) : NULL;
    g->denied++;
    struct denial *d = NULL;
    if (now.client && client_waits(now.client) && g->ndenials < DENIALS_WAITING_MAX)
        d = malloc(sizeof(*d));
    if (!d) {
        denial_claim(&now);
        return;
    }
    *d = now;
    client_ref(d->client);
    client_wait(d->client, &d->wait, on_known, d);
    d->next = g->denials;
    d->at = &g->denials;
    if (d->next)
        d->next->at = &d->next;
    g->denials = d;
    g->ndenials++;
}

void gate_denials_flush(struct gate *g)
{
    while (g->denials)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it takes itself off the list */
        on_known(g->denials);
}
