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

/* Rules before routes: there is no moment with a path and without a rule. */
static int attach(const struct worker_task *t, struct worker_report *rep, int *fds)
{
    const char *step = "";
    enum sockets_index i = 0;
    int r = netns_join_net(t->netns);
    if (r < 0)
        return failed(rep, r, "join the network namespace");
    fds[0] = netlink_open(NETLINK_NETFILTER);
    if (fds[0] < 0)
        return failed(rep, fds[0], "open nftables");
    r = nft_apply(fds[0], t->rules);
    if (r < 0)
        return failed(rep, r, "commit the rules");
    r = route_apply(&step);
    if (r < 0)
        return failed(rep, r, step);
    if (!t->with_sockets)
        return 0;
    r = sockets_open(fds + 1, &i);
    if (r < 0) {
        failed(rep, r, "");
        snprintf(rep->step, sizeof(rep->step), "make the %s socket", sockets_name(i));
    }
    return r;
}

static int count(const struct worker_task *t, struct worker_report *rep)
{
    int r = nft_read_counts(t->counter_sock, t->rules, t->seq, rep->counts);
    if (r == -EBADMSG)
        return failed(rep, r, "recognise the rules that are in force");
    return r < 0 ? failed(rep, r, "read the counters") : 0;
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
    r = frame_send(sock, &rep, sizeof(rep), fds, r == 0 ? worker_report_fds(t) : 0);
    _exit(r < 0 ? 1 : 0);
}
