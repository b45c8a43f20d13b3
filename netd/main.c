/* SPDX-License-Identifier: MIT */
/* netd: the network of every cell. See dispatch.c for what it may do, who may talk to it and what it does not
 * trust. It ends when the supervisor closes its line; cells keep their rules, which let nothing out without a
 * proxy. */
#include <ev.h>
#include <signal.h>

#include "common/base/log.h"
#include "common/daemon/daemon.h"
#include "netd/netd.h"
#include "netd/pin.h"
#include "netd/role.h"

static void on_sigterm(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)w;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static int serve(struct daemon *d, struct netd *n)
{
    int r = pin_line_new(n, TAKE_FD(d->fds[ROLE_NETD_PROXYD]));
    return r < 0 ? r : daemon_ready(d);
}

/* routed: NULL, or started. */
static int run(struct daemon *d, struct ev_loop *loop, const struct netd_self *self, struct routed *routed)
{
    struct netd *n = NULL;
    ev_signal term;
    int r =
        netd_new(loop, self, TAKE_FD(d->fds[ROLE_NETD_SUPERVISOR]), TAKE_FD(d->fds[ROLE_NETD_SIGNERD]), &n);
    if (r < 0)
        return log_errno(r, "cannot open the lines");
    ev_signal_init(&term, on_sigterm, SIGTERM);
    ev_signal_start(loop, &term);
    n->routed = routed;
    r = serve(d, n);
    if (r == 0)
        ev_run(loop, 0);
    ev_signal_stop(loop, &term);
    if (n->failed)
        r = -EPIPE;
    netd_free(n);
    return r;
}

int main(int argc, char **argv)
{
    struct daemon d;
    struct netd_self self;
    struct routed pool, *routed = NULL;
    if (daemon_begin(&role_netd, &argc, argv, &d) < 0)
        return EXIT_FAILURE;
    if (argc == 3 && strcmp(argv[1], "--routed") == 0) {
        if (routed_configure(argv[2], &pool) < 0)
            return EXIT_FAILURE;
        routed = &pool;
        d.role = &role_netd_routed;
        argc = 1;
    }
    if (argc > 1) {
        log_error("unexpected argument: %s", argv[1]);
        return EXIT_FAILURE;
    }
    /* A terminal's keys are for the workload: cellctl passes them on. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (netd_self_read(d.fds[ROLE_NETD_SUPERVISOR], &self) < 0)
        return EXIT_FAILURE;
    if (daemon_confine(&d, NULL, 0, NULL, 0) < 0)
        return EXIT_FAILURE;
    /* Not libev's default loop: that one reaps every child, and ours are waited for by their pidfds. */
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (loop == NULL) {
        log_error("cannot make the event loop");
        return EXIT_FAILURE;
    }
    int r = routed != NULL ? routed_start(routed) : 0;
    if (r == 0)
        r = run(&d, loop, &self, routed);
    if (routed != NULL && routed->alive >= 0)
        routed_stop(routed);
    ev_loop_destroy(loop);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
