/* SPDX-License-Identifier: MIT */
#include "signerd/recover_internal.h"

#include <fcntl.h>

#include "common/base/log.h"
#include "common/evidence/log_verify.h"

static bool keyset_begins(struct str s, struct str start)
{
    return s.len >= start.len && memcmp(s.p, start.p, start.len) == 0;
}

static bool keyset_is_due(int dir)
{
    _cleanup_close_ int fd = openat(dir, RECOVER_KEYSET_DUE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    return fd >= 0;
}

int recover_keyset(struct recover *v)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    struct str ours = keys_keyset(v->keys);
    int dir = disk_dirfd(v->disk), r;

    buf_init(&text, KEYSET_FILE_MAX);
    v->ret->keyset_changed = keyset_is_due(dir);
    r = log_verify_read_file(dir, KEYSET_FILE, &text);
    if (r == -ENOENT) {
        v->ret->keyset_changed = true; /* a log from before there were keysets */
        return 0;
    }
    if (r < 0)
        return log_errno(r, "cannot read log/%s", KEYSET_FILE);
    if (text.len > 0 && keyset_begins(ours, buf_str(&text))) {
        v->ret->keyset_changed |= text.len < ours.len;
        return 0;
    }
    if (keyset_begins(buf_str(&text), ours))
        log_error(
            "the log was signed with a newer keyset than keys/%s: restore the keys from a newer copy, or "
            "move the log's directory away to begin a new log",
            KEYSET_FILE);
    else
        log_error("log/%s is not keys/%s, nor an older version of it: %s", KEYSET_FILE, KEYSET_FILE,
                  RECOVER_REMEDY);
    return -EBADMSG;
}

int recover_write_keyset(struct recover *v)
{
    /* A log without a line has nothing that this is a change to. */
    bool fresh = v->ret->tiles.size == 0 && v->ret->torn_bytes == 0;
    int r = fresh ? 0 : disk_write_file(v->disk, RECOVER_KEYSET_DUE, STR_LIT("\n"));

    v->ret->keyset_changed = !fresh;
    if (r == 0)
        r = disk_write_file(v->disk, KEYSET_FILE, keys_keyset(v->keys));
    return r < 0 ? log_errno(r, "cannot write log/%s", KEYSET_FILE) : 0;
}
