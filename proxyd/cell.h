/* SPDX-License-Identifier: MIT */
/* One cell as proxyd sees it: a policy, the sockets inside its network namespace, and what is served on them.
 */
#pragma once

#include "common/base/uuid.h"
#include "proxyd/claims.h"
#include "proxyd/gate.h"
#include "proxyd/netd_line.h"
#include "proxyd/proxy.h"
#include "proxyd/udp/udp.h"

/* Places in the open request: the policy document, the who line, then netd's sockets in its order. */
enum cell_fd {
    CELL_FD_POLICY,
    CELL_FD_WHO,
    CELL_FD_DNS_UDP,
    CELL_FD_DNS_TCP,
    CELL_FD_TCP,
    CELL_FD_UDP,
    CELL_FD_RAW4,
    CELL_FD_RAW6,
    _CELL_FD_MAX,
};

struct cell {
    struct proxy *proxy;
    struct cell *next, **at;
    char run_id[UUID_TEXT_LEN + 1];
    struct proxy_policy *policy;
    struct claims *claims;
    struct dns_cell *dns;
    struct netd_line_cell pin; /* of a routed cell's answers */
    struct gate *gate;
    struct udp *udp;
    struct quota *quota;
    struct process_line *who;
    bool closing;
    uint64_t close_seq; /* of the request that is answered at the end */
    struct proxy_cell_close_rep summary;
    struct proxy_rule_use *rules; /* of the summary, as are these: */
    struct dns_apex apexes[LIMIT_APEXES];
    struct ev_dns_apex apex_rows[LIMIT_APEXES];
};

/* The cell with this id, or NULL. */
struct cell *cell_find(const struct proxy *p, struct str run_id);

/* Checks each fd's kind and the policy document against its digest, and serves from now on. routed: DNS only,
 * with the document and the sockets for DNS; the other places are -EBADF. fds: taken one by one as they are
 * used; what is left is the caller's. 0; -EBADF for an fd of the wrong kind, -EBADMSG for a broken document,
 * -EINVAL for a policy or an id that breaks a rule, -ENOMEM, -errno. */
int cell_open(struct proxy *p, const struct proxy_cell_open_req *req, bool routed,
              int fds[static _CELL_FD_MAX]) MUST_CHECK;

/* Another policy document (fd stays the caller's): wider rules hold for what comes from now on, what narrower
 * ones do not allow any more is cut, each with its event. *ret_cut: how many connections. Mode and evidence
 * cannot change (-EINVAL). Errors as cell_open; nothing has changed then. */
int cell_policy_set(struct cell *c, int fd, struct str sha256, uint64_t *ret_cut) MUST_CHECK;

/* Ends all connections and, once every claim is answered, answers request seq and forgets the cell (decisions
 * 45). */
void cell_close(struct cell *c, uint64_t seq);

void cell_free(struct cell *c); /* at once */
