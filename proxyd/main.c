/* SPDX-License-Identifier: MIT */
/* proxyd: DNS, TLS and HTTP of every cell on one loop. See dispatch.c for what it may do, who may talk to it
 * and what it does not trust. It ends when the supervisor closes its line; the cells' connections end with
 * it. */
#include <ev.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>

#include "common/base/log.h"
#include "common/daemon/daemon.h"
#include "common/evidence/digest.h"
#include "proxyd/hostaddr.h"
#include "proxyd/netd_line.h"
#include "proxyd/proxy.h"
#include "proxyd/resolver/tls.h"
#include "proxyd/role.h"

#define HEAP_KEEP (64 << 20) /* bytes of free heap that stay with the process */
#define HEAP_STEP (256 << 10)

static void on_sigterm(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)w;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static int run(struct daemon *d, struct ev_loop *loop)
{
    struct proxy *p = NULL;
    ev_signal term;
    int r =
        proxy_new(loop, TAKE_FD(d->fds[ROLE_PROXYD_SUPERVISOR]), TAKE_FD(d->fds[ROLE_PROXYD_SIGNERD]), &p);

    if (r < 0)
        return log_errno(r, "cannot open the lines");
    ev_signal_init(&term, on_sigterm, SIGTERM);
    ev_signal_start(loop, &term);
    r = netd_line_new(loop, TAKE_FD(d->fds[ROLE_PROXYD_NETD]), &p->netd);
    if (r == 0)
        r = daemon_ready(d);
    if (r == 0)
        ev_run(loop, 0);
    ev_signal_stop(loop, &term);
    if (p->failed)
        r = -EPIPE;
    proxy_free(p);
    return r;
}

/* The CA bundle for resolvers over TLS: opened now, read at the first use. Without the default one TLS
 * resolvers fail and nothing else does; a file that was asked for must be there. */
static int ca_open(int *argc, char **argv, int *ret)
{
    const char *path = DNS_CA_FILE;
    bool asked = *argc == 3 && strcmp(argv[1], "--ca-file") == 0;

    if (asked) {
        path = argv[2];
        *argc = 1;
    }
    *ret = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*ret < 0 && asked)
        return log_errno(-errno, "cannot open %s", path);
    dns_tls_ca_fd(*ret);
    return dns_tls_prepare();
}

int main(int argc, char **argv)
{
    struct daemon d;
    int ca;

    if (daemon_begin(&role_proxyd, &argc, argv, &d) < 0)
        return EXIT_FAILURE;
    if (ca_open(&argc, argv, &ca) < 0)
        return EXIT_FAILURE;
    if (argc > 1) {
        log_error("unexpected argument: %s", argv[1]);
        return EXIT_FAILURE;
    }
    /* A terminal's keys are for the workload: cellctl passes them on. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN); /* splice(2) has no MSG_NOSIGNAL */
    /* Connections come and go: giving the heap's end back and taking it again would be two system calls and
     * some page faults for each. */
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEEP);
    (void)mallopt(M_TOP_PAD, HEAP_STEP);
    hostaddr_init();
    int r = digest_init(); /* OpenSSL's files can be read for the last time */
    if (r < 0) {
        log_errno(r, "cannot set up SHA-256");
        return EXIT_FAILURE;
    }
    if (daemon_confine(&d, &ca, ca >= 0, NULL, 0) < 0)
        return EXIT_FAILURE;
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!loop) {
        log_error("cannot make the event loop");
        return EXIT_FAILURE;
    }
    r = run(&d, loop);
    ev_loop_destroy(loop);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
