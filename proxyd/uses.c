/* SPDX-License-Identifier: MIT */
#include "proxyd/uses.h"

static bool rule_eq(const struct allow_rule *a, const struct allow_rule *b)
{
    if (a->is_addr != b->is_addr || a->port_lo != b->port_lo || a->port_hi != b->port_hi ||
        a->protocol != b->protocol)
        return false;
    return a->is_addr ? a->prefix.bits == b->prefix.bits && addr_eq(&a->prefix.addr, &b->prefix.addr)
                      : str_eq(name_str(&a->name), name_str(&b->name));
}

/* Index of the rule in the union; added when it is new and there is room. Equal rules of one list share one
 * place, but the first one always matches, so only it counts. */
static size_t place_of(struct uses *u, const struct allow_rule *rule, size_t known)
{
    for (size_t i = 0; i < known; i++)
        if (rule_eq(&u->rules[i], rule))
            return i;
    if (u->n >= LIMIT_USES_RULES)
        return SIZE_MAX;
    u->rules[u->n] = *rule;
    u->counts[u->n] = 0;
    return u->n++;
}

int uses_set(struct uses *u, const struct allow_list *list)
{
    size_t room = u->n + list->n < LIMIT_USES_RULES ? u->n + list->n : LIMIT_USES_RULES;
    size_t *map = calloc(list->n + 1, sizeof(*map));
    struct allow_rule *rules = map ? reallocarray(u->rules, room + 1, sizeof(*rules)) : NULL;

    if (rules)
        u->rules = rules;
    uint64_t *counts = rules ? reallocarray(u->counts, room + 1, sizeof(*counts)) : NULL;
    if (!counts) {
        free(map);
        u->nmap = 0;
        return -ENOMEM;
    }
    u->counts = counts;
    for (size_t i = 0, known = u->n; i < list->n; i++)
        map[i] = place_of(u, &list->rules[i], known);
    free(u->map);
    u->map = map;
    u->nmap = list->n;
    return 0;
}

void uses_done(struct uses *u)
{
    free(u->rules);
    free(u->counts);
    free(u->map);
    *u = (struct uses){0};
}

void uses_add(struct uses *u, ssize_t index)
{
    if (index >= 0 && (size_t)index < u->nmap && u->map[index] != SIZE_MAX)
        u->counts[u->map[index]]++;
}

uint64_t uses_of(const struct uses *u, size_t index)
{
    return index < u->nmap && u->map[index] != SIZE_MAX ? u->counts[u->map[index]] : 0;
}
