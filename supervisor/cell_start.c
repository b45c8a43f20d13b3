/* SPDX-License-Identifier: MIT */
/* The steps from a checked document to a running workload. Evidence first: nothing leaves a step before the
 * events it owes are on their way, and the barrier opens only when lifecycle.started is durable. */
#include <sodium.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "supervisor/cell.h"
#include "supervisor/secrets/names.h"
#include "supervisor/spec/policy.h"

/* ---- declare ---- */

static void on_declared(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)rec;
    (void)fds;
    (void)nfds;
    struct cell *c = data;
    if (error)
        cell_abort(c, "signerd does not take the cell: %.*s", (int)error->text.len, error->text.p);
}

static int declare_at_signer(struct cell *c)
{
    if (!c->m->signer)
        return -EPIPE;
    struct signer_cell_open_req req = {.run_id = str_of(c->run_id), .cell_id = str_of(c->id)};
    if (c->spec && c->spec->correlation)
        req.correlation_id = c->spec->correlation->correlation_id;
    int r = endpoint_call(signer_client_endpoint(c->m->signer), MSG_SIGNER_CELL_OPEN_REQ, &req, NULL, 0,
                          LIMIT_ACK_MS, on_declared, c);
    c->declared = r >= 0;
    return r;
}

/* What killed suites left and this one removed when it started: its first cell says so. */
static int claim_residue(struct cell *c)
{
    const char *name;
    int r = 0;
    while (r >= 0 && (name = cgroup_next_residue(c->m->cgroup))) {
        struct ev_residue_removed ev = {STR_LIT("cgroup"), str_of(name)};
        r = cell_claim(c, EVENT_RESIDUE_REMOVED, &ev);
    }
    for (struct ids_residue *ids = c->m->ids; r >= 0 && ids && ids->told < ids->n; ids->told++) {
        struct ev_residue_removed ev = {STR_LIT("cell-id"), str_of(ids->name[ids->told])};
        r = cell_claim(c, EVENT_RESIDUE_REMOVED, &ev);
    }
    return r;
}

int cell_enter_declare(struct cell *c)
{
    uint8_t key[SECRET_KEY_LEN];
    int r = cell_mark_secrets(c, key);
    if (r >= 0)
        r = declare_at_signer(c);
    if (r >= 0 && c->marks)
        r = cell_send_marks(c, key);
    sodium_memzero(key, sizeof(key));
    if (r >= 0)
        r = cell_claim_network_scope(c);
    if (r >= 0)
        r = claim_residue(c);
    if (r >= 0 && c->spec->secrets.n > 0)
        r = cell_claim_identity(c, EVENT_MATERIALIZED);
    return r < 0 ? r : CELL_STEP_NEXT;
}

int cell_enter_declared(struct cell *c)
{
    return c->open_claims == 0 ? CELL_STEP_NEXT : CELL_STEP_WAIT;
}

int cell_enter_reject(struct cell *c)
{
    c->result = RUN_REJECTED;
    int r = declare_at_signer(c);
    if (r >= 0)
        r = cell_claim_rejected(c);
    if (r >= 0)
        r = claim_residue(c);
    return r < 0 ? r : CELL_STEP_WAIT;
}

/* ---- spawn ---- */

static void on_pid_gone(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)revents;
    struct cell *c = w->data;
    ev_io_stop(loop, w);
    c->pid_gone = true;
    if (c->state == CELL_KILL)
        cell_step_done(c, CELL_KILL);
    else if (c->state < CELL_KILL && c->result == 0 && !c->init)
        cell_abort(c, "cell init was killed from outside");
    /* With the line still open its last words may be unread: its end of file decides. */
}

static void on_spawned(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    struct cell *c = data;
    if (error) {
        cell_step_failed(c, CELL_SPAWN, "the cell could not be made: %.*s", (int)error->text.len,
                         error->text.p);
        return;
    }
    const struct zygote_spawn_rep *rep = rec;
    (void)nfds;
    c->pidfd = TAKE_FD(fds[0]);
    c->netns = TAKE_FD(fds[1]);
    c->userns = TAKE_FD(fds[2]);
    log_debug("cell %s: init is pid %llu", c->id, (unsigned long long)rep->pid);
    ev_io_init(&c->pid_watch, on_pid_gone, c->pidfd, EV_READ);
    c->pid_watch.data = c;
    ev_io_start(c->m->loop, &c->pid_watch);
    cell_step_done(c, CELL_SPAWN);
}

static int make_cgroup(struct cell *c)
{
    if (!c->m->cgroup)
        return 0;
    struct cgroup_limits l = {.cpu_period_us = SPEC_CPU_PERIOD_US};
    if (c->spec->run) {
        const struct spec_limits *s = &c->spec->run->limits;
        l = (struct cgroup_limits){s->memory_max_bytes, s->cpu_quota_us, s->cpu_period_us, s->pids_max};
    }
    return cgroup_cell_new(c->m->cgroup, c->run_id, &l, &c->cgroup);
}

/* The launch document, the workload's stdio, the cell's ends of the init line and the who line and, where
 * there is one, its cgroup. */
static int call_zygote(struct cell *c, int launch, const uint8_t sha256[32], int init_end, int who_end)
{
    const int fds[] = {launch,
                       c->stdio[0],
                       c->stdio[1],
                       c->stdio[2],
                       init_end,
                       who_end,
                       c->cgroup ? cgroup_cell_dirfd(c->cgroup) : -EBADF};
    struct zygote_spawn_req req = {str_of(c->run_id), {(const char *)sha256, 32}};
    return endpoint_call(c->m->zygote, c->cgroup ? MSG_ZYGOTE_SPAWN_IN_CGROUP_REQ : MSG_ZYGOTE_SPAWN_REQ,
                         &req, fds, c->cgroup ? 7 : 6, LIMIT_LAUNCH_MS, on_spawned, c);
}

int cell_enter_spawn(struct cell *c)
{
    if (!c->m->zygote)
        return -EPIPE;
    int r = make_cgroup(c);
    if (r < 0)
        return r;
    struct launch launch;
    uint8_t sha256[32];
    r = policy_launch(c->spec, str_of(c->run_id), c->m->workload_nofile, &c->arena, &launch);
    if (r < 0)
        return r;
    _cleanup_close_ int doc = codec_to_memfd(&schema_launch, &launch, LIMIT_LAUNCH_DOC, sha256);
    if (doc < 0)
        return doc;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    _cleanup_close_ int theirs = pair[1];
    r = cell_open_init_line(c, pair[0]);
    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    _cleanup_close_ int who = pair[1];
    c->who = pair[0];
    r = call_zygote(c, doc, sha256, theirs, who);
    return r < 0 ? r : CELL_STEP_WAIT;
}

int cell_enter_setup(struct cell *c)
{
    for (size_t i = 0; i < 3; i++) { /* the workload has them; held here they would keep its pipes open */
        cleanup_closep(&c->stdio[i]);
        c->stdio[i] = -EBADF;
    }
    return c->init_ready ? CELL_STEP_NEXT : CELL_STEP_WAIT;
}

/* ---- secrets ---- */

/* All secrets are sent: the workload's process can be made and confined while the network is made. */
static int prepare_workload(struct cell *c)
{
    struct empty none = {};
    int r = c->init ? endpoint_send(c->init, MSG_INIT_PREPARE, &none, NULL, 0) : -EPIPE;
    return r < 0 ? r : CELL_STEP_NEXT;
}

int cell_enter_secrets(struct cell *c)
{
    char text[SECRETS_TEXT_MAX], variable[LIMIT_SECRET_NAME + 1];
    for (size_t i = 0; i < c->spec->secrets.n; i++) {
        struct str name = c->spec->secrets.v[i], value;
        if (secrets_resolve(c->m->secrets, name, &value, text) != SECRETS_OK) {
            cell_step_failed(c, CELL_SECRETS, "%s", text);
            return CELL_STEP_WAIT;
        }
        if (!secret_marks_is(c->marks, name, value)) { /* a file can change: then its marks are of nothing */
            secrets_forget(c->m->secrets);
            cell_step_failed(c, CELL_SECRETS, "the value of the secret %.*s changed while the cell was made",
                             (int)name.len, name.p);
            return CELL_STEP_WAIT;
        }
        struct init_secret s = {str_of(secret_workload_variable(name, variable)), value};
        int r = c->init ? endpoint_send(c->init, MSG_INIT_SECRET, &s, NULL, 0) : -EPIPE;
        secrets_forget(c->m->secrets);
        if (r < 0)
            return r;
    }
    return c->spec->run ? prepare_workload(c) : CELL_STEP_NEXT;
}

/* ---- network ---- */

/* Six sockets, two of a routed cell, none without a network. */
static void on_attached(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)rec;
    struct cell *c = data;
    if (error) {
        cell_step_failed(c, CELL_ATTACH, "the cell's network could not be made: %.*s", (int)error->text.len,
                         error->text.p);
        return;
    }
    for (size_t i = 0; i < nfds; i++)
        c->sockets[i] = TAKE_FD(fds[i]);
    cell_step_done(c, CELL_ATTACH);
}

static int attach_routed(struct cell *c)
{
    uint8_t sha256[32];
    _cleanup_close_ int doc = codec_to_memfd(&schema_policy, &c->policy, LIMIT_POLICY_DOC, sha256);
    if (doc < 0)
        return doc;
    const int fds[] = {c->userns, c->netns, doc};
    struct netd_cell_attach_routed_req req = {str_of(c->run_id), str_of(c->id), {(const char *)sha256, 32}};
    return endpoint_call(c->m->netd, MSG_NETD_CELL_ATTACH_ROUTED_REQ, &req, fds, ARRAY_LEN(fds),
                         LIMIT_ATTACH_MS, on_attached, c);
}

int cell_enter_attach(struct cell *c)
{
    if (!c->m->netd)
        return -EPIPE;
    const int fds[] = {c->userns, c->netns};
    struct netd_cell_attach_req req = {str_of(c->run_id), str_of(c->id)};
    uint32_t id = c->policy.mode == NET_MODE_NONE ? MSG_NETD_CELL_ATTACH_NONE_REQ : MSG_NETD_CELL_ATTACH_REQ;
    int r = c->policy.mode == NET_MODE_ROUTED
                ? attach_routed(c)
                : endpoint_call(c->m->netd, id, &req, fds, ARRAY_LEN(fds), LIMIT_ATTACH_MS, on_attached, c);
    c->attached = r >= 0;
    return r < 0 ? r : CELL_STEP_WAIT;
}

static void on_proxied(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)rec;
    (void)fds;
    (void)nfds;
    struct cell *c = data;
    if (error)
        cell_step_failed(c, CELL_PROXY, "proxyd refused the cell: %.*s", (int)error->text.len, error->text.p);
    else
        cell_step_done(c, CELL_PROXY);
}

int cell_enter_proxy(struct cell *c)
{
    if (c->policy.mode == NET_MODE_NONE)
        return CELL_STEP_NEXT; /* nothing to proxy */
    if (!c->m->proxyd)
        return -EPIPE;
    uint8_t sha256[32];
    _cleanup_close_ int doc = codec_to_memfd(&schema_policy, &c->policy, LIMIT_POLICY_DOC, sha256);
    if (doc < 0)
        return doc;
    bool routed = c->policy.mode == NET_MODE_ROUTED;
    int fds[2 + NETD_CELL_SOCKETS] = {doc, c->who};
    size_t n = routed ? 1 : 2, sockets = routed ? NETD_ROUTED_SOCKETS : NETD_CELL_SOCKETS;
    memcpy(fds + n, c->sockets, sockets * sizeof(*fds));
    struct proxy_cell_open_req req = {str_of(c->run_id), str_of(c->id), {(const char *)sha256, 32}};
    int r = endpoint_call(c->m->proxyd, routed ? MSG_PROXY_CELL_OPEN_ROUTED_REQ : MSG_PROXY_CELL_OPEN_REQ,
                          &req, fds, n + sockets, LIMIT_ATTACH_MS, on_proxied, c);
    c->proxied = r >= 0;
    return r < 0 ? r : CELL_STEP_WAIT;
}

/* ---- go ---- */

int cell_enter_started(struct cell *c)
{
    cleanup_closep(&c->who);
    c->who = -EBADF;
    for (size_t i = 0; i < ARRAY_LEN(c->sockets);
         i++) { /* proxyd has them: its death must close the last copy */
        cleanup_closep(&c->sockets[i]);
        c->sockets[i] = -EBADF;
    }
    int r = cell_claim_started(c);
    return r < 0 ? r : CELL_STEP_WAIT;
}

int cell_enter_run(struct cell *c)
{
    c->started = true;
    c->started_us = clock_boottime_us();
    if (!c->spec->run) {
        c->result = RUN_NOTHING;
        return CELL_STEP_NEXT;
    }
    struct policy_deadline d = policy_deadline(c->spec);
    uint64_t grace_ms = c->spec->run->limits.grace_s * 1000;
    ev_now_update(c->m->loop);
    ev_timer_set(&c->deadline, (double)(d.ms + grace_ms) / 1000.0 + 1.0, 0);
    ev_timer_start(c->m->loop, &c->deadline);
    struct empty none = {};
    int r = c->init ? endpoint_send(c->init, MSG_INIT_GO, &none, NULL, 0) : -EPIPE;
    if (r < 0)
        return r;
    endpoint_set_state(c->init, LINE_RUNNING);
    c->go = true;
    return CELL_STEP_WAIT;
}
