/* SPDX-License-Identifier: MIT */
/* What a session needs, from the gate. */
#include "proxyd/denial.h"
#include "proxyd/gate_state.h"
#include "proxyd/http/session_state.h"

/* A literal in Host is the original address or nothing; another port than the connection's is another server
 * (decisions 25). */
static void env_judge(struct gate *g, const struct endpoint_addr *original, const struct http_host *host,
                      uint32_t protocol, struct judgement *ret)
{
    const struct allow_list *allow = &g->cfg.policy->allow;
    enum allow_protocol proven = protocol == L7_H2C ? ALLOW_H2C : ALLOW_HTTP;
    ssize_t rule = -1;

    *ret = (struct judgement){.protocol = protocol, .rule = -1, .name = host->name};
    ret->literal = host->literal.family != AF_UNSPEC;
    if (host->port != 0 && host->port != original->port) {
        ret->reason = L7_NAME_CONFLICT;
        return;
    }
    if (!ret->literal)
        rule = allow_find_name(allow, &host->name, original->port, proven);
    else if (addr_eq(&host->literal, &original->addr))
        rule = allow_find_addr(allow, &original->addr, original->port, proven);
    ret->allow = rule >= 0;
    ret->rule = rule;
    ret->reason = rule < 0             ? judge_miss(protocol)
                  : protocol == L7_H2C ? L7_H2_AUTHORITY_ALLOWLIST_MATCH
                                       : L7_HTTP_HOST_ALLOWLIST_MATCH;
}

static void env_deny(struct gate *g, const struct upstream_want *want, const struct upstream_result *result)
{
    gate_deny(g, &want->j, &want->original, &want->client,
              result && result->has_dialed ? &result->dialed : NULL);
}

static bool env_count(struct gate *g, enum quota_direction d, uint64_t n)
{
    return quota_count(g->cfg.quota, d, n);
}

static double env_wait(struct gate *g)
{
    return quota_wait(g->cfg.quota);
}

int http_session_start(struct gate *g, int client_fd, const struct endpoint_addr *original,
                       const struct endpoint_addr *client, struct buf *seen, void (*done)(void *self),
                       void *self, struct http_session **ret)
{
    const struct http_env env = {
        .gate = g,
        .loop = g->cfg.loop,
        .scratch = g->cfg.pool->scratch,
        .judge = env_judge,
        .open = upstream_open,
        .again = upstream_again,
        .cancel = upstream_cancel,
        .deny = env_deny,
        .count = env_count,
        .wait = env_wait,
    };

    return http_session_new(&env, client_fd, original, client, seen, done, self, ret);
}
