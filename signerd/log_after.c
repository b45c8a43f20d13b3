/* SPDX-License-Identifier: MIT */
#include "common/base/log.h"
#include "signerd/log_internal.h"

#define AFTER_SLICE 4u /* signatures between two looks at everything else: a tenth of a millisecond */

static void elog_on_sign(struct ev_loop *loop, ev_idle *w, int revents)
{
    struct elog *l = w->data;
    int r = afterseal_step(l->after, AFTER_SLICE);

    (void)revents;
    if (r < 0 && r != -EBADMSG)
        log_failed(LOG_WARNING, r, "cannot sign the lines of the log just now");
    if (afterseal_waiting(l->after) == 0 || (r < 0 && r != -EBADMSG))
        ev_idle_stop(loop, w); /* the next batch starts it again */
}

int elog_after_open(struct elog *l)
{
    uint8_t root[DIGEST_LEN];
    int r;

    ev_idle_init(&l->sign, elog_on_sign);
    ev_set_priority(&l->sign, EV_MINPRI);
    l->sign.data = l;
    if (l->cfg.seal != SEAL_BATCH)
        return 0;
    merkle_root(&l->tree, root);
    r = afterseal_new(l->cfg.dirfd, l->cfg.keys, l->tree.size, root, &l->after);
    if (r < 0)
        return log_errno(r, "cannot look for lines without a signature");
    if (afterseal_waiting(l->after) > 0)
        ev_idle_start(l->cfg.loop, &l->sign);
    return 0;
}

int elog_after_add(struct elog *l, const struct claim_queue *batch)
{
    if (!l->after)
        return 0;
    for (const struct claim *c = batch->head; c; c = c->next) {
        int r = afterseal_add(l->after, c->leaf);

        if (r < 0)
            return r;
    }
    if (!ev_is_active(&l->sign))
        ev_idle_start(l->cfg.loop, &l->sign);
    return 0;
}

void elog_after_limit(struct elog *l, size_t batch)
{
    if (l->after && afterseal_waiting(l->after) + batch > LIMIT_UNSIGNED)
        (void)!afterseal_step(l->after, batch);
}

void elog_after_close(struct elog *l, bool finish)
{
    ev_idle_stop(l->cfg.loop, &l->sign);
    while (finish && l->after && afterseal_waiting(l->after) > 0) {
        int r = afterseal_step(l->after, LIMIT_BATCH);

        if (r < 0 && r != -EBADMSG) {
            log_failed(LOG_WARNING, r, "the last lines of the log are not signed one by one");
            break;
        }
    }
    l->after = afterseal_free(l->after);
}
