/* SPDX-License-Identifier: MIT */
/* A live change of one cell's egress rules, one at a time for a cell. The authority that is proven so far is
 * the operator's own (no derivation token yet), so an operator of the suite's uid may widen as well as
 * narrow.
 *
 * Widening: the event is durable first, then netd (routed cells), then proxyd. Narrowing takes effect at once
 * and its event follows. When a daemon cannot say what it did, the cell ends: nobody could tell any more what
 * holds. */
#include "common/base/io.h"
#include "common/base/log.h"
#include "supervisor/cell.h"
#include "supervisor/client.h"
#include "supervisor/spec/policy_edit.h"

struct policy_change {
    struct cell *c;
    struct client *client; /* NULL: it has gone */
    uint64_t seq;
    uint32_t uid;
    struct arena arena;
    struct policy_edit edit;
    uint64_t cut; /* connections and flows */
};

static void change_free(struct policy_change *p)
{
    policy_live_free(p->edit.next);
    arena_done(&p->arena);
    free(p);
}

struct policy_change *policy_change_drop(struct policy_change *p)
{
    if (!p)
        return NULL;
    struct manager *m = p->c->m;
    if (m->signer)
        signer_forget(m->signer, p);
    if (m->netd)
        endpoint_forget(m->netd, p);
    if (m->proxyd)
        endpoint_forget(m->proxyd, p);
    if (p->client)
        (void)endpoint_fail(p->client->line, p->seq, FAIL_STATE, "the cell has ended");
    change_free(p);
    return NULL;
}

void policy_change_forget(struct manager *m, const struct client *client)
{
    for (struct cell *c = m->cells; c; c = c->next)
        if (c->change && c->change->client == client)
            c->change->client = NULL;
}

/* The rules as they are now. */
static void answer(struct client *client, uint64_t seq, const struct policy *policy, uint64_t cut)
{
    struct egress_rules rules = {.rules = {policy->egress.v, policy->egress.n}};
    uint8_t sha256[32];
    if (!client)
        return;
    _cleanup_close_ int fd = codec_to_memfd(&schema_egress_rules, &rules, LIMIT_POLICY_DOC, sha256);
    struct control_policy_rep rep = {cut, {(const char *)sha256, 32}};
    int r = fd < 0 ? fd : endpoint_reply(client->line, MSG_CONTROL_POLICY_REQ, seq, &rep, &fd, 1);
    if (r < 0)
        log_failed(LOG_WARNING, r, "an operator did not get the rules");
}

static int claim(struct policy_change *p, signer_ack_fn ack)
{
    char digest[LIMIT_DIGEST + 1];
    cell_digest_text(p->edit.next->sha256, digest);
    struct ev_policy_changed ev = {p->edit.added, p->edit.removed, str_of(digest), p->uid};
    if (!ack)
        return cell_claim(p->c, EVENT_POLICY_CHANGED, &ev);
    if (!p->c->m->signer)
        return -EPIPE;
    return signer_claim(p->c->m->signer, p->c->run_id, EVENT_POLICY_CHANGED, &ev, true, ack, p);
}

/* Both daemons have it. */
static void commit(struct policy_change *p)
{
    struct cell *c = p->c;
    c->change = NULL;
    if (p->edit.added.n == 0 && claim(p, NULL) < 0)
        cell_abort(c, "the log does not take the change of the policy");
    policy_live_free(c->live);
    c->live = p->edit.next;
    p->edit.next = NULL;
    c->policy = c->live->doc;
    answer(p->client, p->seq, &c->policy, p->cut);
    change_free(p);
}

/* Nothing is known about what holds now: fail closed. */
static void broken(struct policy_change *p, const char *who, struct str text)
{
    struct cell *c = p->c;
    c->change = NULL;
    cell_abort(c, "%s could not change the policy: %.*s", who, (int)text.len, text.p);
    if (p->client)
        (void)endpoint_fail(p->client->line, p->seq, FAIL_INTERNAL, "%s: the cell was ended", c->text);
    change_free(p);
}

static void on_proxied(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)fds;
    (void)nfds;
    struct policy_change *p = data;
    if (error) {
        broken(p, "proxyd", error->text);
        return;
    }
    p->cut += ((const struct proxy_cell_policy_rep *)rec)->connections_cut;
    commit(p);
}

static int memfd_of(const struct policy_live *l)
{
    return io_memfd_sealed("policy", l->bytes.data, l->bytes.len);
}

static void tell_proxyd(struct policy_change *p)
{
    struct proxy_cell_policy_req req = {str_of(p->c->run_id), {(const char *)p->edit.next->sha256, 32}};
    _cleanup_close_ int fd = memfd_of(p->edit.next);
    int r = fd < 0            ? fd
            : p->c->m->proxyd ? endpoint_call(p->c->m->proxyd, MSG_PROXY_CELL_POLICY_REQ, &req, &fd, 1,
                                              LIMIT_ATTACH_MS, on_proxied, p)
                              : -EPIPE;
    if (r < 0)
        broken(p, "proxyd", str_of(strerror(-r)));
}

static void on_routed(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)fds;
    (void)nfds;
    struct policy_change *p = data;
    if (error) {
        broken(p, "netd", error->text);
        return;
    }
    p->cut += ((const struct netd_cell_policy_rep *)rec)->flows_cut;
    tell_proxyd(p);
}

static void apply(struct policy_change *p)
{
    if (p->c->policy.mode != NET_MODE_ROUTED) {
        tell_proxyd(p);
        return;
    }
    struct netd_cell_policy_req req = {str_of(p->c->run_id), {(const char *)p->edit.next->sha256, 32}};
    _cleanup_close_ int fd = memfd_of(p->edit.next);
    int r = fd < 0          ? fd
            : p->c->m->netd ? endpoint_call(p->c->m->netd, MSG_NETD_CELL_POLICY_REQ, &req, &fd, 1,
                                            LIMIT_ATTACH_MS, on_routed, p)
                            : -EPIPE;
    if (r < 0)
        broken(p, "netd", str_of(strerror(-r)));
}

/* The widening is in the log: from here on it may take effect, if the cell still runs. */
static void on_durable(void *data, int err, uint64_t sequence)
{
    (void)sequence;
    struct policy_change *p = data;
    struct cell *c = p->c;
    if (err < 0) {
        broken(p, "the log", str_of(signer_error_text(err)));
    } else if (c->state != CELL_RUN) {
        c->change = policy_change_drop(p);
    } else {
        apply(p);
    }
}

static int refuse(struct client *client, uint64_t seq, uint32_t fail, const char *text)
{
    int r = endpoint_fail(client->line, seq, fail, "%s", text);
    return r == -EPIPE ? 0 : r;
}

/* Takes arena and edit. */
static void start(struct cell *c, struct client *client, uint64_t seq, struct policy_change *p)
{
    p->c = c;
    p->client = client;
    p->seq = seq;
    p->uid = client->uid;
    c->change = p;
    if (p->edit.added.n == 0) {
        apply(p);
        return;
    }
    int r = claim(p, on_durable);
    if (r < 0)
        broken(p, "the log", str_of(strerror(-r)));
}

static int change(struct cell *c, struct client *client, uint64_t seq, const struct control_policy_req *req)
{
    char why[POLICY_EDIT_WHY_MAX];
    struct policy_change *p = calloc(1, sizeof(*p));
    if (!p)
        return refuse(client, seq, FAIL_INTERNAL, "out of memory");
    arena_init(&p->arena, LIMIT_ARENA);
    int r = policy_edit(&c->policy, &c->m->specs, &req->add, &req->remove, &p->arena, &p->edit, why);
    if (r == POLICY_EDIT_OK) {
        start(c, client, seq, p);
        return 0;
    }
    change_free(p);
    if (r == POLICY_EDIT_NOTHING)
        answer(client, seq, &c->policy, 0);
    else if (r == POLICY_EDIT_REFUSED)
        return refuse(client, seq, FAIL_INVALID, why);
    else
        return refuse(client, seq, FAIL_INTERNAL, strerror(-r));
    return 0;
}

int client_on_policy(void *self, struct endpoint *e, struct endpoint_msg *msg)
{
    (void)e;
    struct client *client = self;
    const struct control_policy_req *req = msg->rec;
    struct cell *c = manager_find(client->m, req->run_id);
    if (!c)
        return refuse(client, msg->seq, FAIL_UNKNOWN, "no such run in this suite");
    if (c->state != CELL_RUN)
        return refuse(client, msg->seq, FAIL_STATE,
                      c->state < CELL_RUN ? "the cell does not run yet" : "the cell is ending");
    if (req->add.n == 0 && req->remove.n == 0) {
        answer(client, msg->seq, &c->policy, 0);
        return 0;
    }
    if (c->policy.mode == NET_MODE_NONE)
        return refuse(client, msg->seq, FAIL_STATE,
                      "the cell has no network (mode none): no rule can change that");
    if (c->change)
        return refuse(client, msg->seq, FAIL_STATE, "another change is under way: try again");
    return change(c, client, msg->seq, req);
}
