/* SPDX-License-Identifier: MIT */
#include "signerd/refused.h"

#include <stdio.h>

#define REFUSED_ROLES  3
#define REFUSED_PLACES (LIMIT_REFUSAL_KINDS / REFUSED_ROLES) /* of each role: it takes none of another's */

static const char refused_various[] = "various";

static struct refused_kind *refused_find(struct refused *r, uint32_t role, uint64_t type, const char *reason,
                                         const char *run_id)
{
    for (size_t i = 0; i < r->n; i++) {
        struct refused_kind *k = &r->kind[i];

        if (k->role == role && k->type == type && strcmp(k->reason, reason) == 0 &&
            strcmp(k->run_id, run_id) == 0)
            return k;
    }
    return NULL;
}

static size_t refused_of_role(const struct refused *r, uint32_t role)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++)
        n += r->kind[i].role == role;
    return n;
}

/* The kind it is counted under, with count 0 where there was none yet: the last place of a role is kept for
 * everything that finds no place of its own. */
static struct refused_kind *refused_place(struct refused *r, uint32_t role, uint64_t type, const char *reason,
                                          const char *run_id, uint64_t now_us)
{
    struct refused_kind *k = refused_find(r, role, type, reason, run_id);

    if (!k && refused_of_role(r, role) >= REFUSED_PLACES - 1) {
        type = 0;
        reason = refused_various;
        run_id = "";
        k = refused_find(r, role, type, reason, run_id);
    }
    if (k)
        return k;
    k = &r->kind[r->n++];
    *k = (struct refused_kind){.role = role, .type = type, .until_us = now_us + LIMIT_REFUSAL_WINDOW_US};
    (void)snprintf(k->reason, sizeof(k->reason), "%s", reason);
    (void)snprintf(k->run_id, sizeof(k->run_id), "%s", run_id);
    return k;
}

struct refused_kind *refused_add(struct refused *r, uint32_t role, uint64_t type, const char *reason,
                                 const char *run_id, uint64_t now_us)
{
    size_t before = r->n;
    struct refused_kind *k = refused_place(r, role, type, reason, run_id ? run_id : "", now_us);

    k->count++;
    return r->n > before ? k : NULL;
}

void refused_again(struct refused *r, const struct refused_kind *lost, uint64_t now_us)
{
    refused_place(r, lost->role, lost->type, lost->reason, lost->run_id, now_us)->count += lost->count;
}

struct refused_kind *refused_due(struct refused *r, uint64_t now_us, bool flush)
{
    for (size_t i = 0; i < r->n; i++) {
        struct refused_kind *k = &r->kind[i];

        if (k->count > 0 && (flush || k->until_us <= now_us)) {
            k->until_us = now_us + LIMIT_REFUSAL_WINDOW_US;
            return k;
        }
        if (k->count == 0 && k->until_us <= now_us) {
            *k = r->kind[--r->n];
            i--;
        }
    }
    return NULL;
}

struct refused_kind *refused_of_run(struct refused *r, const char *run_id)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->kind[i].count > 0 && strcmp(r->kind[i].run_id, run_id) == 0)
            return &r->kind[i];
    return NULL;
}

const char *refused_type_text(const struct refused_kind *k)
{
    const struct event_row *row = event_row(k->type);

    return row ? row->suffix : strcmp(k->reason, refused_various) == 0 ? refused_various : "unknown";
}
