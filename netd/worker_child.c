/* SPDX-License-Identifier: MIT */
#include "netd/worker_child.h"

#include <errno.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "common/base/io.h"
#include "common/ipc/frame.h"
#include "netd/netlink.h"
#include "netd/netns.h"
#include "netd/nft.h"
#include "netd/route.h"

static int failed(struct worker_report *rep, int err, const char *step)
{
    rep->err = err;
    snprintf(rep->step, sizeof(rep->step), "%s", step);
    return err;
}

/* Dies with the parent. Entering a user namespace changes credentials, which resets both settings. */
static int bind_to_parent(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
        return -errno;
    return getppid() == parent ? 0 : -ESRCH;
}

static int join_user(const struct worker_task *t, pid_t parent, struct worker_report *rep)
{
    int r = netns_join_user(t->userns);
    if (r == 0)
        r = bind_to_parent(parent);
    return r < 0 ? failed(rep, r, "join the user namespace") : 0;
}

/* What a kernel says that lacks the module behind an expression. */
static bool is_missing(int err)
{
    return err == -EOPNOTSUPP || err == -ENOENT || err == -EPROTONOSUPPORT;
}

/* The log before the rules: the first packet they judge is in it. Rules without a log are better than none.
 */
static int apply_rules(const struct worker_task *t, struct worker_report *rep, int sock, int *ret_flow_sock)
{
    _cleanup_close_ int flows = -EBADF;
    int r = 0;
    if (t->rules->logs) {
        r = flows = nflog_open(ruleset_tracks_flows(t->rules));
        if (r >= 0)
            r = nft_apply(sock, t->rules);
        if (r >= 0) {
            *ret_flow_sock = TAKE_FD(flows);
            return 0;
        }
        if (!is_missing(r) || t->plain_rules == NULL)
            return failed(rep, r, flows < 0 ? "open the flow log" : "commit the rules");
        rep->flow_err = r;
    }
    r = nft_apply(sock, t->rules->logs ? t->plain_rules : t->rules);
    return r < 0 ? failed(rep, r, "commit the rules") : 0;
}

/* Rules before routes: there is no moment with a path and without a rule. */
static int attach(const struct worker_task *t, struct worker_report *rep, int *fds)
{
    const char *step = "";
    enum sockets_index i = 0;
    size_t n = 1;
    int flow_sock = -EBADF;
    int r = netns_join_net(t->netns);
    if (r < 0)
        return failed(rep, r, "join the network namespace");
    fds[0] = netlink_open(NETLINK_NETFILTER);
    if (fds[0] < 0)
        return failed(rep, fds[0], "open nftables");
    r = apply_rules(t, rep, fds[0], &flow_sock);
    if (r < 0)
        return r;
    if (flow_sock >= 0)
        fds[n++] = flow_sock;
    r = t->link != NULL ? routed_link_cell(t->link, &step) : route_apply(&step);
    if (r < 0)
        return failed(rep, r, step);
    if (!t->with_sockets)
        return 0;
    r = sockets_open_first(fds + n, worker_sockets(t), &i);
    if (r < 0) {
        failed(rep, r, "");
        snprintf(rep->step, sizeof(rep->step), "make the %s socket", sockets_name(i));
    }
    return r;
}

struct open_flows {
    const struct ruleset *rs;
    struct worker_report *rep;
};

/* Only what a row has accepted: the rest never got anywhere, and is counted as dropped. */
static int take_open_flow(const struct nlmsghdr *h, void *self)
{
    struct open_flows *o = self;
    struct nflog_record r;
    if (nflog_parse_flow(h, o->rs, &r) < 0)
        return -EBADMSG;
    if (r.row == RULESET_UNCOUNTED)
        return 0;
    o->rep->flows_open++;
    if (o->rep->nflows < WORKER_FLOWS_MAX)
        o->rep->flows[o->rep->nflows++] = r;
    return 0;
}

/* Reading the flows walks a table of the whole machine: not for a cell that never had one. */
static bool any_flow_began(const struct ruleset *rs, const struct ruleset_count *counts)
{
    for (size_t i = 0; i < rs->nrows; i++)
        if (counts[i].logged > 0 && ruleset_row_action(&rs->rows[i]) == ACTION_ALLOW)
            return true;
    return false;
}

static int count(const struct worker_task *t, struct worker_report *rep)
{
    _Alignas(struct nlmsghdr) uint8_t request[64];
    struct open_flows o = {t->rules, rep};
    int r = nft_read_counts(t->counter_sock, t->rules, t->seq, rep->counts);
    if (r == -EBADMSG)
        return failed(rep, r, "recognise the rules that are in force");
    if (r < 0)
        return failed(rep, r, "read the counters");
    if (!t->with_flows || !any_flow_began(t->rules, rep->counts))
        return 0;
    r = netlink_dump(t->counter_sock, nflog_put_dump(request, t->seq), take_open_flow, &o);
    return r < 0 ? failed(rep, r, "read the open flows") : 0;
}

void worker_child_run(const struct worker_task *t, int sock, pid_t parent)
{
    struct worker_report rep = {0};
    int fds[WORKER_FDS_MAX];
    int keep[] = {sock, t->userns, t->job == WORKER_ATTACH ? t->netns : t->counter_sock};
    int r = bind_to_parent(parent);
    if (r == 0)
        r = io_close_from(3, keep, ARRAY_LEN(keep));
    if (r < 0)
        failed(&rep, r, "start");
    else
        r = join_user(t, parent, &rep);
    if (r == 0)
        r = t->job == WORKER_ATTACH ? attach(t, &rep, fds) : count(t, &rep);
    /* The exit closes what is not handed over. */
    r = frame_send(sock, &rep, sizeof(rep), fds, r == 0 ? worker_report_fds(t, rep.flow_err) : 0);
    _exit(r < 0 ? 1 : 0);
}
