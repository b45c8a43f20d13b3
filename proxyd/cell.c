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

/* routed: the sockets for DNS are all there is. */
static int sockets_check(const int fds[static _CELL_FD_MAX], bool routed)
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

    if (!routed && fdkind_socket(fds[CELL_FD_WHO], AF_UNIX, SOCK_SEQPACKET, 0, false) < 0)
        return -EBADF;
    for (size_t i = CELL_FD_DNS_UDP; i < (routed ? CELL_FD_TCP : _CELL_FD_MAX); i++)
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

/* A socket belongs to its server from the moment that has started. */
static int serve_dns(struct cell *c, int fds[static _CELL_FD_MAX])
{
    struct dns_cell_config dns = {
        .loop = c->proxy->loop,
        .run_id = c->run_id,
        .policy = &c->policy->dns,
        .udp_fd = fds[CELL_FD_DNS_UDP],
        .tcp_fd = fds[CELL_FD_DNS_TCP],
        .events = &dns_events_claims,
        .self = c->claims,
        .pin = netd_line_pin,
        .pin_self = &c->pin,
    };
    c->pin = (struct netd_line_cell){c->proxy->netd, c->run_id};
    int r = dns_cell_new(&dns, &c->dns);

    if (r == 0)
        fds[CELL_FD_DNS_UDP] = fds[CELL_FD_DNS_TCP] = -EBADF;
    return r;
}

static int serve_tcp(struct cell *c, int fds[static _CELL_FD_MAX])
{
    int r = process_line_new(c->proxy->loop, TAKE_FD(fds[CELL_FD_WHO]), &c->who);

    if (r < 0)
        return r;
    struct gate_config cfg = {
        .loop = c->proxy->loop,
        .policy = c->policy,
        .claims = c->claims,
        .dns = c->dns,
        .pool = &c->proxy->pool,
        .quota = c->quota,
        .who = c->who,
    };
    r = gate_new(&cfg, fds[CELL_FD_TCP], &c->gate);
    if (r == 0)
        fds[CELL_FD_TCP] = -EBADF;
    return r;
}

static int serve_udp(struct cell *c, int fds[static _CELL_FD_MAX])
{
    struct udp_config cfg = {
        .loop = c->proxy->loop,
        .policy = c->policy,
        .claims = c->claims,
        .dns = c->dns,
        .process = c->who,
        .quota = c->quota,
    };
    int r = udp_new(&cfg, fds[CELL_FD_UDP], fds[CELL_FD_RAW4], fds[CELL_FD_RAW6], &c->udp);

    if (r == 0)
        fds[CELL_FD_UDP] = fds[CELL_FD_RAW4] = fds[CELL_FD_RAW6] = -EBADF;
    return r;
}

static int cell_serve(struct cell *c, int fds[static _CELL_FD_MAX])
{
    int r = serve_dns(c, fds);

    if (r == 0 && c->policy->mode != NET_MODE_ROUTED)
        r = serve_tcp(c, fds);
    if (r == 0 && c->policy->mode != NET_MODE_ROUTED)
        r = serve_udp(c, fds);
    return r;
}

static struct cell *cell_new(struct proxy *p, struct str run_id)
{
    struct cell *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->proxy = p;
    memcpy(c->run_id, run_id.p, run_id.len);
    c->next = p->cells;
    c->at = &p->cells;
    if (c->next)
        c->next->at = &c->next;
    p->cells = c;
    p->ncells++;
    return c;
}

static int cell_fill(struct cell *c, const struct proxy_cell_open_req *req, bool routed,
                     int fds[static _CELL_FD_MAX])
{
    int r = policy_read(fds[CELL_FD_POLICY], req->policy_sha256, &c->policy);

    if (r < 0)
        return r;
    if (c->policy->mode != (routed ? NET_MODE_ROUTED : NET_MODE_INTERCEPT))
        return -EINVAL;
    r = quota_new(c->proxy->loop, &c->policy->quota, &c->quota);
    if (r < 0)
        return r;
    struct claims_config claims = {c->proxy->loop, c->proxy->signer, c->run_id,
                                   c->policy->evidence == EVIDENCE_STRICT};
    r = claims_new(&claims, &c->claims);
    return r < 0 ? r : cell_serve(c, fds);
}

int cell_open(struct proxy *p, const struct proxy_cell_open_req *req, bool routed,
              int fds[static _CELL_FD_MAX])
{
    int r = sockets_check(fds, routed);

    if (r < 0)
        return r;
    if (!uuid_v7_valid(req->run_id))
        return -EINVAL;
    struct cell *c = cell_new(p, req->run_id);
    if (!c)
        return -ENOMEM;
    r = cell_fill(c, req, routed, fds);
    if (r < 0)
        cell_free(c);
    return r;
}

/* ---- another policy ---- */

int cell_policy_set(struct cell *c, int fd, struct str sha256, uint64_t *ret_cut)
{
    struct proxy_policy *policy = NULL;
    uint64_t cut = 0;
    int r = policy_read(fd, sha256, &policy);

    if (r < 0)
        return r;
    if (policy->mode != c->policy->mode || policy->evidence != c->policy->evidence)
        r = -EINVAL;
    if (r == 0)
        r = dns_cell_policy_set(c->dns, &policy->dns);
    if (r < 0) {
        policy_free(policy);
        return r;
    }
    quota_limits_set(c->quota, &policy->quota);
    if (c->gate)
        cut += gate_policy_set(c->gate, policy);
    if (c->udp)
        cut += udp_policy_set(c->udp, policy);
    policy_free(c->policy);
    c->policy = policy;
    *ret_cut = cut;
    return 0;
}

/* ---- close ---- */

/* Names below which the cell asked a lot, or strangely. */
static void sum_up_apexes(struct cell *c)
{
    size_t n = dns_cell_apexes(c->dns, c->apexes);

    for (size_t i = 0; i < n; i++) {
        const struct dns_apex *a = &c->apexes[i];
        c->apex_rows[i] = (struct ev_dns_apex){
            .apex = name_str(&a->apex),
            .queries = a->queries,
            .distinct_names = a->distinct_names,
            .label_bytes = a->label_bytes,
            .max_label_entropy_millibits = a->max_label_entropy_millibits,
            .suspicious = a->suspicious,
        };
    }
    c->summary.apexes.v = c->apex_rows;
    c->summary.apexes.n = n;
}

/* The rules that were used only. Without memory none is named, as if none had been: the log says so. */
static void sum_up_rules(struct cell *c)
{
    size_t n = 0;

    c->rules = calloc(c->policy->allow.n + 1, sizeof(*c->rules));
    if (!c->rules)
        log_error("no memory: the used rules of run %s are not reported", c->run_id);
    for (size_t i = 0; c->rules && i < c->policy->allow.n; i++) {
        uint64_t uses = gate_rule_uses(c->gate, i) + udp_rule_uses(c->udp, i);
        if (uses > 0)
            c->rules[n++] = (struct proxy_rule_use){i, uses};
    }
    c->summary.rules.v = c->rules;
    c->summary.rules.n = n;
}

/* What the supervisor is told at the end. */
static void cell_sum_up(struct cell *c)
{
    struct gate_counters gate = {0};
    struct udp_counters udp = {0};
    struct dns_counters dns;

    dns_cell_counters(c->dns, &dns);
    if (c->gate)
        gate_counters(c->gate, &gate);
    if (c->udp)
        udp_counters(c->udp, &udp);
    c->summary = (struct proxy_cell_close_rep){
        .connections_allowed = gate.allowed + udp.allowed,
        .l7_denied = gate.denied + udp.denied,
        .dns_allowed = dns.allowed,
        .dns_denied = dns.denied + dns.malformed + dns.limited,
        .bytes_sent = quota_bytes(c->quota, QUOTA_SENT),
        .bytes_received = quota_bytes(c->quota, QUOTA_RECEIVED),
    };
    if (c->gate && c->udp)
        sum_up_rules(c);
    sum_up_apexes(c);
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
    c->who = process_line_free(c->who);
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
    c->quota = quota_free(c->quota);
    c->policy = policy_free(c->policy);
    free(c->rules);
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    c->proxy->ncells--;
    free(c);
}
