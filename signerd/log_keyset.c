/* SPDX-License-Identifier: MIT */
#include "common/base/encoding.h"
#include "common/base/log.h"
#include "signerd/event.h"
#include "signerd/log_internal.h"
#include "signerd/recover.h"

/* Only now nothing is due any more: after a crash before this the next start seals the event again. */
static void elog_on_keyset_sealed(void *data, int err, uint64_t sequence)
{
    const struct elog *l = data;

    (void)sequence;
    if (err == 0 && unlinkat(l->cfg.dirfd, RECOVER_KEYSET_DUE, 0) < 0)
        log_failed(LOG_WARNING, -errno, "cannot remove log/%s", RECOVER_KEYSET_DUE);
}

int elog_seal_keyset(struct elog *l)
{
    _cleanup_(buf_done) struct buf digest = {.data = NULL}, json = {.data = NULL};
    const struct keyset *newest = keys_newest(l->cfg.keys);
    const struct event_row *row = event_row(EVENT_KEYSET_CHANGED);
    struct ev_keyset_changed ev = {.version = newest->version, .keyid = str_of(keys_keyid(l->cfg.keys))};
    int r;

    buf_init(&digest, LIMIT_DIGEST);
    buf_init(&json, LIMIT_EVENT_DATA);
    buf_puts(&digest, "sha256:");
    encoding_hex_put(&digest, newest->digest, DIGEST_LEN);
    if (digest.err)
        return digest.err;
    ev.digest = buf_str(&digest);
    r = event_render(row, &ev, &(struct event_stamps){.cell_id = STR_NONE}, &json);
    if (r < 0)
        return r;
    return elog_submit(l, &(struct elog_event){.role = ROLE_SIGNERD, .row = row, .data = buf_str(&json)},
                       elog_on_keyset_sealed, l);
}
