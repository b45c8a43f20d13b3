/* SPDX-License-Identifier: MIT */
#include "netd/cell.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "netd/evidence.h"
#include "proto/limits.h"

static bool wants(const struct registry_cell *c, uint32_t id)
{
    return c->request.id == id;
}

/* Only the first failure of a request is kept: the rest follows from it. */
__attribute__((format(printf, 3, 4))) static void note(struct registry_cell *c, int err, const char *fmt, ...)
{
    va_list ap;
    if (c->err != 0)
        return;
    c->err = err;
    va_start(ap, fmt);
    vsnprintf(c->err_text, sizeof(c->err_text), fmt, ap);
    va_end(ap);
    log_warning("cell %s: %s", c->run_id, c->err_text);
}

static uint32_t fail_of(int err)
{
    switch (err) {
    case -EBADMSG:
        return FAIL_BAD_FD;
    case -ETIMEDOUT:
        return FAIL_TIMEOUT;
    case -EPIPE:
        return FAIL_UNAVAILABLE;
    case -ENOSPC:
        return FAIL_NO_SPACE;
    case -EDQUOT:
        return FAIL_QUOTA;
    case -EPERM:
    case -EPROTO:
        return FAIL_AUTHORITY;
    default:
        return FAIL_INTERNAL;
    }
}

/* A send that fails means that the line is dying: gone() follows and ends netd. */
static void answer(struct registry_cell *c, const void *rec, const int *fds, size_t nfds)
{
    struct registry_request q = c->request;
    c->request = (struct registry_request){0};
    int r = c->err != 0 ? endpoint_fail(c->netd->supervisor, q.seq, fail_of(c->err), "%s", c->err_text)
                        : endpoint_reply(c->netd->supervisor, q.id, q.seq, rec, fds, nfds);
    if (r < 0)
        log_errno(r, "cell %s: cannot answer", c->run_id);
    c->err = 0;
}

static void forget(struct registry_cell *c)
{
    signer_forget(c->netd->signer, c);
    registry_remove(&c->netd->registry, c);
}
