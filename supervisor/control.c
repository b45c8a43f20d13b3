/* SPDX-License-Identifier: MIT */
#include "supervisor/control.h"

#include <ctype.h>

#include <openssl/sha.h>

#include "common/base/io.h"
#include "common/base/log.h"
#include "common/base/uuid.h"
#include "common/net/name.h"
#include "supervisor/cell.h"

/* A cell id as the spec wants it; here for the name an operator gives to a document that may have none. */
static bool usable_name(struct str s)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (s.len == 0 || s.len > LIMIT_CELL_ID || !isalnum((unsigned char)s.p[0]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!memchr(good, s.p[i], sizeof(good) - 1) || (s.p[i] == '.' && i > 0 && s.p[i - 1] == '.'))
            return false;
    return true;
}

/* The document: a sealed memfd whose digest the frame names. */
static int read_document(const struct control_run_req *req, int fd, struct buf *b)
{
    uint8_t sha256[32];
    int r = io_memfd_read(fd, LIMIT_SPEC + 1, b);
    if (r < 0)
        return r;
    SHA256(b->data, b->len, sha256);
    return req->spec_sha256.len == 32 && memcmp(sha256, req->spec_sha256.p, 32) == 0 ? 0 : -EBADMSG;
}

static int on_run(void *self, struct endpoint *e, struct endpoint_msg *msg)
{
    struct manager *m = self;
    const struct control_run_req *req = msg->rec;
    if (!uuid_v7_valid(req->run_id) || !usable_name(req->name) || manager_find(m, req->run_id))
        return -EPROTO;
    if (m->ending || m->ncells >= LIMIT_CELLS)
        return endpoint_fail(e, msg->seq, m->ending ? FAIL_STATE : FAIL_QUOTA,
                             m->ending ? "the suite is ending" : "%u cells are running already", m->ncells);
    _cleanup_(buf_done) struct buf doc = {0};
    buf_init(&doc, LIMIT_SPEC + 1);
    _cleanup_(buf_done) struct buf bytes = {0};
    _cleanup_(arena_done) struct arena arena = {0};
    struct attachments files;
    buf_init(&bytes, LIMIT_ATTACHMENTS_DOC);
    arena_init(&arena, LIMIT_ARENA);
    int r = read_document(req, msg->fds[0], &doc);
    if (r == 0)
        r = codec_from_memfd(&schema_attachments, msg->fds[1], LIMIT_ATTACHMENTS_DOC, req->attachments_sha256,
                             &bytes, &arena, &files);
    if (r < 0)
        return r;
    r = cell_new(m, msg->seq, req, buf_str(&doc), &files, msg->fds + 2);
    return r < 0
               ? endpoint_fail(e, msg->seq, FAIL_INTERNAL, "the cell could not be prepared: %s", strerror(-r))
               : 0;
}

static int on_signal(void *self, struct endpoint *e, struct endpoint_msg *msg)
{
    (void)e;
    const struct control_signal *req = msg->rec;
    struct cell *c = manager_find(self, req->run_id);
    if (c && req->signal > 0)
        cell_signal(c, (unsigned)req->signal, req->reason);
    return 0;
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    (void)e;
    struct manager *m = self;
    if (err < 0) {
        log_failed(LOG_ERR, err, "the operator's line broke");
        m->exit_status = 1;
    }
    m->control = endpoint_free(m->control);
    manager_end(m, "cellctl went away");
}

int control_open(struct manager *m, int sock)
{
    static const struct endpoint_handler handlers[] = {
        {MSG_CONTROL_RUN_REQ, on_run},
        {MSG_CONTROL_SIGNAL, on_signal},
    };
    static const struct endpoint_ops ops = {handlers, ARRAY_LEN(handlers), NULL, on_gone};
    struct endpoint_config cfg = {&iface_control, FROM_SERVER, ROLE_SUPERVISOR, ROLE_CELLCTL, &ops, m};
    return endpoint_new(m->loop, sock, &cfg, &m->control);
}
