/* SPDX-License-Identifier: MIT */
#include "proxyd/http/session_state.h"

int http_session_new(const struct http_env *env, int client_fd, const struct endpoint_addr *original,
                     const struct endpoint_addr *client, struct buf *seen, void (*done)(void *self),
                     void *self, struct http_session **ret)
{
    struct http_session *s = calloc(1, sizeof(*s));

    if (s) {
        *s = (struct http_session){
            .env = *env, .original = *original, .client = *client, .done = done, .self = self};
        if (h1_new(s, client_fd, seen) == 0) {
            *ret = s;
            return 0;
        }
    }
    free(s);
    close(client_fd);
    buf_done(seen);
    return -ENOMEM;
}

void http_session_end(struct http_session *s)
{
    void (*done)(void *self) = s->done;
    void *self = s->self;

    free(s);
    done(self);
}

void http_session_free(struct http_session *s)
{
    if (!s)
        return;
    h1_free(s->h1);
    h2_free(s->h2);
    free(s);
}

struct upstream_want http_session_want(const struct http_session *s, const struct judgement *j)
{
    return (struct upstream_want){.j = *j, .original = s->original, .client = s->client};
}

bool http_session_still_allowed(const struct http_session *s, struct judgement *j)
{
    struct http_host host = {.name = j->name};
    struct judgement now;

    if (j->literal)
        host.literal = s->original.addr;
    s->env.judge(s->env.gate, &s->original, &host, j->protocol, &now);
    if (!now.allow)
        *j = now;
    return now.allow;
}

uint64_t http_session_policy_changed(struct http_session *s)
{
    if (s->h1)
        return h1_policy_changed(s->h1);
    return s->h2 ? h2_policy_changed(s->h2) : 0;
}
