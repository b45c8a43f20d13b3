/* SPDX-License-Identifier: MIT */
#include "proxyd/cell.h"

#include "common/base/log.h"
#include "common/priv/fdkind.h"
#include "proxyd/dns_events.h"

struct cell *cell_find(const struct proxy *p, struct str run_id)
{
    for (struct cell *c = p->cells; c; c = c->next)
        if (str_is(run_id, c->run_id))
            return c;
    return NULL;
}

/* ---- open ---- */

static int sockets_check(const int fds[static _CELL_FD_MAX])
{
    static const struct {
        int domain, type, protocol;
        bool listening;
    } kinds[_CELL_FD_MAX] = {
        [CELL_FD_DNS_UDP] = {AF_INET6, SOCK_DGRAM, IPPROTO_UDP, false},
        [CELL_FD_DNS_TCP] = {AF_INET6, SOCK_STREAM, IPPROTO_TCP, true},
        [CELL_FD_TCP] = {AF_INET6, SOCK_STREAM, IPPROTO_TCP, true},
        [CELL_FD_UDP] = {AF_INET6, SOCK_DGRAM, IPPROTO_UDP, false},
        [CELL_FD_RAW4] = {AF_INET, SOCK_RAW, IPPROTO_RAW, false},
        [CELL_FD_RAW6] = {AF_INET6, SOCK_RAW, IPPROTO_RAW, false},
    };

    if (fdkind_socket(fds[CELL_FD_WHO], AF_UNIX, SOCK_SEQPACKET, 0, false) < 0)
        return -EBADF;
    for (size_t i = CELL_FD_DNS_UDP; i < _CELL_FD_MAX; i++)
        if (fdkind_socket(fds[i], kinds[i].domain, kinds[i].type, kinds[i].protocol, kinds[i].listening) < 0)
            return -EBADF;
    return 0;
}

static int policy_read(int fd, struct str sha256, struct proxy_policy **ret)
{
    _cleanup_(buf_done) struct buf bytes = {0};
    _cleanup_(arena_done) struct arena arena = {0};
    struct policy doc;

    buf_init(&bytes, LIMIT_POLICY_DOC);
    arena_init(&arena, LIMIT_ARENA);
    int r = codec_from_memfd(&schema_policy, fd, LIMIT_POLICY_DOC, sha256, &bytes, &arena, &doc);
    return r < 0 ? r : policy_compile(&doc, ret);
}

/* Serves; a socket belongs to its server from the moment that has started. */
static int cell_serve(struct cell *c, int fds[static _CELL_FD_MAX])
{
    struct ev_loop *loop = c->proxy->loop;
    int r = dns_cell_new(loop, &c->policy->dns, fds[CELL_FD_DNS_UDP], fds[CELL_FD_DNS_TCP],
                         &dns_events_claims, c->claims, &c->dns);

    if (r < 0)
        return r;
    fds[CELL_FD_DNS_UDP] = fds[CELL_FD_DNS_TCP] = -EBADF;
    struct gate_config cfg = {loop, c->policy, c->claims, c->dns, &c->proxy->pool};
    r = gate_new(&cfg, fds[CELL_FD_TCP], &c->gate);
    if (r < 0)
        return r;
    fds[CELL_FD_TCP] = -EBADF;
    r = udp_new(loop, c->policy, c->claims, fds[CELL_FD_UDP], fds[CELL_FD_RAW4], fds[CELL_FD_RAW6], &c->udp);
    if (r == 0)
        fds[CELL_FD_UDP] = fds[CELL_FD_RAW4] = fds[CELL_FD_RAW6] = -EBADF;
    return r;
}

static struct cell *cell_new(struct proxy *p, struct str run_id)
{
    struct cell *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->proxy = p;
    c->who = -EBADF;
    memcpy(c->run_id, run_id.p, run_id.len);
    c->next = p->cells;
    c->at = &p->cells;
    if (c->next)
        c->next->at = &c->next;
    p->cells = c;
    p->ncells++;
    return c;
}

static int cell_fill(struct cell *c, const struct proxy_cell_open_req *req, int fds[static _CELL_FD_MAX])
{
    int r = policy_read(fds[CELL_FD_POLICY], req->policy_sha256, &c->policy);

    if (r < 0)
        return r;
    c->rules = calloc(c->policy->allow.n + 1, sizeof(*c->rules));
    if (!c->rules)
        return -ENOMEM;
    c->who = TAKE_FD(fds[CELL_FD_WHO]);
    struct claims_config claims = {c->proxy->loop, c->proxy->signer, c->run_id,
                                   c->policy->evidence == EVIDENCE_STRICT};
    r = claims_new(&claims, &c->claims);
    return r < 0 ? r : cell_serve(c, fds);
}

int cell_open(struct proxy *p, const struct proxy_cell_open_req *req, int fds[static _CELL_FD_MAX])
{
    int r = sockets_check(fds);

    if (r < 0)
        return r;
    if (!uuid_v7_valid(req->run_id))
        return -EINVAL;
    struct cell *c = cell_new(p, req->run_id);
    if (!c)
        return -ENOMEM;
    r = cell_fill(c, req, fds);
    if (r < 0)
        cell_free(c);
    return r;
}

/* ---- close ---- */

/* What the supervisor is told at the end; the rules that were used only. */
static void cell_sum_up(struct cell *c)
{
    struct gate_counters gate;
    struct dns_counters dns;
    size_t n = 0;

    gate_counters(c->gate, &gate);
    dns_cell_counters(c->dns, &dns);
    for (size_t i = 0; i < c->policy->allow.n; i++)
        if (gate.rule_uses[i] > 0)
            c->rules[n++] = (struct proxy_rule_use){i, gate.rule_uses[i]};
    c->summary = (struct proxy_cell_close_rep){
        .connections_allowed = gate.allowed,
        .l7_denied = gate.denied + udp_denied(c->udp),
        .dns_allowed = dns.allowed,
        .dns_denied = dns.denied + dns.malformed + dns.limited,
    };
    c->summary.rules.v = c->rules;
    c->summary.rules.n = n;
}

static void on_drained(void *self)
{
    struct cell *c = self;
    int r =
        endpoint_reply(c->proxy->supervisor, MSG_PROXY_CELL_CLOSE_REQ, c->close_seq, &c->summary, NULL, 0);

    if (r < 0)
        log_errno(r, "the end of run %s cannot be reported", c->run_id);
    cell_free(c);
}

/* Nothing more comes in or goes out. Claims under way stay. */
static void cell_stop(struct cell *c)
{
    c->gate = gate_free(c->gate);
    c->udp = udp_free(c->udp);
    c->dns = dns_cell_free(c->dns);
}

void cell_close(struct cell *c, uint64_t seq)
{
    c->closing = true;
    c->close_seq = seq;
    cell_sum_up(c);
    cell_stop(c);
    claims_drain(c->claims, on_drained, c);
}

void cell_free(struct cell *c)
{
    cell_stop(c);
    c->claims = claims_free(c->claims);
    c->policy = policy_free(c->policy);
    cleanup_closep(&c->who);
    free(c->rules);
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    c->proxy->ncells--;
    free(c);
}
