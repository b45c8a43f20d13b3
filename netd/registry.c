/* SPDX-License-Identifier: MIT */
#include "netd/registry.h"

#include "common/base/uuid.h"

_Static_assert(LIMIT_RUN_ID == UUID_TEXT_LEN, "a runId is a UUID");

struct registry_cell *registry_find(const struct registry *r, struct str run_id)
{
    for (struct registry_cell *c = r->cells; c != NULL; c = c->next)
        if (str_is(run_id, c->run_id))
            return c;
    return NULL;
}

int registry_add(struct registry *r, struct str run_id, struct registry_cell **ret)
{
    if (!uuid_v7_valid(run_id))
        return -EINVAL;
    if (registry_find(r, run_id) != NULL)
        return -EEXIST;
    if (r->n >= LIMIT_CELLS)
        return -EDQUOT;
    struct registry_cell *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    memcpy(c->run_id, run_id.p, run_id.len);
    c->userns = -EBADF;
    c->counter_sock = -EBADF;
    for (size_t i = 0; i < _SOCKETS_MAX; i++)
        c->sockets[i] = -EBADF;
    c->next = r->cells;
    r->cells = c;
    r->n++;
    *ret = c;
    return 0;
}

void registry_close_sockets(struct registry_cell *cell)
{
    for (size_t i = 0; i < _SOCKETS_MAX; i++) {
        cleanup_closep(&cell->sockets[i]);
        cell->sockets[i] = -EBADF;
    }
}

void registry_remove(struct registry *r, struct registry_cell *cell)
{
    for (struct registry_cell **at = &r->cells; *at != NULL; at = &(*at)->next) {
        if (*at != cell)
            continue;
        *at = cell->next;
        r->n--;
        worker_free(cell->worker);
        flowlog_free(cell->flowlog);
        routed_cell_free(cell->routed);
        registry_close_sockets(cell);
        cleanup_closep(&cell->userns);
        cleanup_closep(&cell->counter_sock);
        free(cell);
        return;
    }
}
