/* SPDX-License-Identifier: MIT */
#include "proto/iface.h"

SCHEMA_DEFINE(policy_egress, POLICY_EGRESS_FIELDS)
SCHEMA_DEFINE(policy_resolver, POLICY_RESOLVER_FIELDS)
SCHEMA_DEFINE(policy_answer, POLICY_ANSWER_FIELDS)
SCHEMA_DEFINE(policy_refresh, POLICY_REFRESH_FIELDS)
SCHEMA_DEFINE(policy_rebinding, POLICY_REBINDING_FIELDS)
SCHEMA_DEFINE(policy_quota, POLICY_QUOTA_FIELDS)
SCHEMA_DEFINE(policy_upstream, POLICY_UPSTREAM_FIELDS)
SCHEMA_DEFINE(policy_cdn, POLICY_CDN_FIELDS)
SCHEMA_DEFINE(policy, POLICY_FIELDS)
SCHEMA_DEFINE(egress_rules, EGRESS_RULES_FIELDS)
SCHEMA_DEFINE(attachment, ATTACHMENT_FIELDS)
SCHEMA_DEFINE(attachments, ATTACHMENTS_FIELDS)
SCHEMA_DEFINE(launch, LAUNCH_FIELDS)

const struct schema schema_empty = {"empty", 0, NULL, 0};
SCHEMA_DEFINE(hello, HELLO_FIELDS)
SCHEMA_DEFINE(error, ERROR_FIELDS)
SCHEMA_DEFINE(signer_cell_open_req, SIGNER_CELL_OPEN_REQ_FIELDS)
SCHEMA_DEFINE(signer_claim, SIGNER_CLAIM_FIELDS)
SCHEMA_DEFINE(signer_claims_req, SIGNER_CLAIMS_REQ_FIELDS)
SCHEMA_DEFINE(signer_result, SIGNER_RESULT_FIELDS)
SCHEMA_DEFINE(signer_claims_rep, SIGNER_CLAIMS_REP_FIELDS)
SCHEMA_DEFINE(signer_secret_mark, SIGNER_SECRET_MARK_FIELDS)
SCHEMA_DEFINE(signer_secrets_req, SIGNER_SECRETS_REQ_FIELDS)
SCHEMA_DEFINE(signer_head_rep, SIGNER_HEAD_REP_FIELDS)
SCHEMA_DEFINE(signer_log_failed, SIGNER_LOG_FAILED_FIELDS)
SCHEMA_DEFINE(netd_cell_attach_req, NETD_CELL_ATTACH_REQ_FIELDS)
SCHEMA_DEFINE(netd_cell_attach_rep, NETD_CELL_ATTACH_REP_FIELDS)
SCHEMA_DEFINE(netd_cell_attach_none_rep, NETD_CELL_ATTACH_NONE_REP_FIELDS)
SCHEMA_DEFINE(netd_cell_attach_routed_req, NETD_CELL_ATTACH_ROUTED_REQ_FIELDS)
SCHEMA_DEFINE(netd_cell_policy_req, NETD_CELL_POLICY_REQ_FIELDS)
SCHEMA_DEFINE(netd_cell_policy_rep, NETD_CELL_POLICY_REP_FIELDS)
SCHEMA_DEFINE(pin_pin_req, PIN_PIN_REQ_FIELDS)
SCHEMA_DEFINE(who_who_req, WHO_WHO_REQ_FIELDS)
SCHEMA_DEFINE(who_who_rep, WHO_WHO_REP_FIELDS)
SCHEMA_DEFINE(netd_cell_ref, NETD_CELL_REF_FIELDS)
SCHEMA_DEFINE(netd_cell_counters_rep, NETD_CELL_COUNTERS_REP_FIELDS)
SCHEMA_DEFINE(proxy_cell_open_req, PROXY_CELL_OPEN_REQ_FIELDS)
SCHEMA_DEFINE(proxy_cell_policy_req, PROXY_CELL_POLICY_REQ_FIELDS)
SCHEMA_DEFINE(proxy_cell_policy_rep, PROXY_CELL_POLICY_REP_FIELDS)
SCHEMA_DEFINE(proxy_cell_close_req, PROXY_CELL_CLOSE_REQ_FIELDS)
SCHEMA_DEFINE(proxy_rule_use, PROXY_RULE_USE_FIELDS)
SCHEMA_DEFINE(proxy_cell_close_rep, PROXY_CELL_CLOSE_REP_FIELDS)
SCHEMA_DEFINE(zygote_spawn_req, ZYGOTE_SPAWN_REQ_FIELDS)
SCHEMA_DEFINE(zygote_spawn_rep, ZYGOTE_SPAWN_REP_FIELDS)
SCHEMA_DEFINE(zygote_reaped, ZYGOTE_REAPED_FIELDS)
SCHEMA_DEFINE(init_ready, INIT_READY_FIELDS)
SCHEMA_DEFINE(init_failed, INIT_FAILED_FIELDS)
SCHEMA_DEFINE(init_secret, INIT_SECRET_FIELDS)
SCHEMA_DEFINE(init_signal, INIT_SIGNAL_FIELDS)
SCHEMA_DEFINE(init_exited, INIT_EXITED_FIELDS)
SCHEMA_DEFINE(control_run_req, CONTROL_RUN_REQ_FIELDS)
SCHEMA_DEFINE(control_run_rep, CONTROL_RUN_REP_FIELDS)
SCHEMA_DEFINE(control_step, CONTROL_STEP_FIELDS)
SCHEMA_DEFINE(control_rejected, CONTROL_REJECTED_FIELDS)
SCHEMA_DEFINE(control_policy_req, CONTROL_POLICY_REQ_FIELDS)
SCHEMA_DEFINE(control_policy_rep, CONTROL_POLICY_REP_FIELDS)
SCHEMA_DEFINE(control_signal, CONTROL_SIGNAL_FIELDS)
ENUM_DEFINE(run_result, RUN_RESULT_ENUM)

#define ROW_(c, r, i, f, ro, st, fl, fd, max)                                                                \
    {.name = #c,                                                                                             \
     .rec = &schema_##r,                                                                                     \
     .id = i,                                                                                                \
     .from = f,                                                                                              \
     .roles = ro,                                                                                            \
     .states = st,                                                                                           \
     .flags = fl,                                                                                            \
     .nfds = fd,                                                                                             \
     .max_len = max},
#define IFACE_(id, ver, TABLE, text)                                                                         \
    static const struct msg_row rows_##id[] = {TABLE(ROW_)};                                                 \
    _Static_assert(ARRAY_LEN(rows_##id) <= 64, "iface_once has a bit a row");                                \
    const struct iface iface_##id = {#id, text, ver, rows_##id, ARRAY_LEN(rows_##id)};
INTERFACES(IFACE_)

#define IFACE_REF_(id, ver, TABLE, text) &iface_##id,
const struct iface *const iface_all[] = {INTERFACES(IFACE_REF_) NULL};

static const struct msg_row row_hello = {
    .name = "HELLO",
    .rec = &schema_hello,
    .id = MSG_HELLO,
    .from = FROM_CLIENT | FROM_SERVER,
    .roles = UINT32_MAX,
    .states = LINE_HELLO,
    .flags = MSG_NOTE | MSG_ONCE,
    .max_len = 64,
};
static const struct msg_row row_error = {
    .name = "ERROR",
    .rec = &schema_error,
    .id = MSG_ERROR,
    .from = FROM_SERVER,
    .roles = UINT32_MAX,
    .states = ~LINE_HELLO,
    .flags = MSG_REPLY,
    .max_len = 1024,
};

const struct msg_row *iface_row(const struct iface *i, uint64_t id)
{
    if (id == MSG_HELLO)
        return &row_hello;
    if (id == MSG_ERROR)
        return &row_error;
    for (size_t k = 0; k < i->n; k++)
        if (i->rows[k].id == id)
            return &i->rows[k];
    return NULL;
}

struct str iface_error_text(char *buf, struct str text)
{
    if (text.len <= LIMIT_ERROR_TEXT && str_utf8_valid(text.p ? text.p : "", text.len))
        return text;
    return str_of(str_escape(buf, LIMIT_ERROR_TEXT, text.p, text.len));
}

int iface_encode(const struct msg_row *row, uint64_t seq, const void *rec, struct buf *b)
{
    size_t before = b->len;
    mp_write_array(b, 2 + row->rec->n);
    mp_write_uint(b, row->id);
    mp_write_uint(b, seq);
    int r = codec_encode_fields(row->rec, rec, b);
    if (r < 0)
        return r;
    return b->len - before > row->max_len ? -EMSGSIZE : 0;
}

static int read_uint(struct cursor *c, uint64_t *ret)
{
    struct mp_token t;
    if (mp_read(c, &t) < 0 || t.kind != MP_UINT)
        return -EBADMSG;
    *ret = t.u;
    return 0;
}

int iface_decode(const struct iface *i, uint32_t from, uint32_t role, uint32_t state, const void *p, size_t n,
                 size_t nfds, struct arena *a, struct msg *ret)
{
    struct cursor c = cursor_of(p, n);
    struct mp_token head;
    uint64_t id, seq;
    if (n > LIMIT_FRAME || mp_read(&c, &head) < 0 || head.kind != MP_ARRAY || read_uint(&c, &id) < 0 ||
        read_uint(&c, &seq) < 0)
        return -EBADMSG;
    const struct msg_row *row = iface_row(i, id);
    if (!row || n > row->max_len || head.u != 2 + row->rec->n)
        return -EBADMSG;
    if (!(row->from & from) || !(row->roles & 1u << role) || !(row->states & state) || row->nfds != nfds)
        return -EPROTO;
    void *rec = arena_alloc(a, row->rec->size);
    if (!rec)
        return -ENOMEM;
    int r = codec_decode_fields(row->rec, &c, 1, a, rec);
    if (r < 0)
        return r;
    if (cursor_left(&c) > 0)
        return -EBADMSG;
    *ret = (struct msg){row, seq, rec};
    return 0;
}

int iface_once(const struct iface *i, const struct msg_row *row, uint64_t *seen)
{
    if (!(row->flags & MSG_ONCE) || row == &row_hello) /* a second HELLO meets another state */
        return 0;
    uint64_t bit = 1ull << (unsigned)(row - i->rows);
    if (*seen & bit)
        return -EPROTO;
    *seen |= bit;
    return 0;
}
