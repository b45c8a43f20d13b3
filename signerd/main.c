/* SPDX-License-Identifier: MIT */
/* cellos-signerd: the only process that holds the signing key, and the only one that writes the log. It may
 * read and write one directory and talk on three sockets it was started with; it has no network, no
 * capability, no child. Supervisor, netd and proxyd claim events on a line each; it trusts none of them to be
 * in order, and none of them for another's events. An event is acknowledged when it is durable. When all
 * lines have closed it makes the rest durable and exits with 0. */
#include <ev.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/log.h"
#include "common/daemon/daemon.h"
#include "common/priv/landlock.h"
#include "signerd/dispatch.h"
#include "signerd/key_admin.h"
#include "signerd/options.h"
#include "signerd/origin.h"
#include "signerd/role.h"

#define EXIT_LOG_REFUSED 4 /* the log is not one that may be continued: as cellctl verify */

#define LOG_ACCESS                                                                                           \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE |            \
     LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |               \
     LANDLOCK_ACCESS_FS_REMOVE_FILE)

struct signerd {
    struct daemon daemon;
    struct signerd_options options;
    struct keys *keys;
    struct cells *cells;
    struct dispatch dispatch;
    char host[LIMIT_HOSTNAME + 1], boot_id[UUID_TEXT_LEN + 1],
        origin[CHECKPOINT_NAME_MAX + UUID_TEXT_LEN + 2];
};

/* Everything that needs files outside the log, and what the libraries read when first used. */
static int signerd_prepare(struct signerd *s)
{
    _cleanup_close_ int boot = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    int r;

    umask(077);
    r = ed25519_init();
    if (r == 0)
        r = digest_init();
    if (r == 0 && gethostname(s->host, sizeof(s->host) - 1) < 0)
        r = -errno;
    if (r == 0 && (boot < 0 || read(boot, s->boot_id, UUID_TEXT_LEN) != UUID_TEXT_LEN))
        r = -ENODATA;
    if (r == 0)
        r = cells_new(&s->cells);
    if (r < 0)
        return log_errno(r, "cannot prepare");
    r = keys_open_from(s->daemon.fds[SIGNERD_FD_KEYS], s->options.key, &s->keys);
    if (r == 0)
        origin_find(s->daemon.fds[SIGNERD_FD_LOG], s->keys, s->options.origin_suffix, s->origin,
                    sizeof(s->origin));
    return r;
}

/* The keys' directory is not needed any more; a token's process is, over its socket. */
static int signerd_confine(struct signerd *s)
{
    int token = keys_fd(s->keys);

    return daemon_confine(&s->daemon, &token, token >= 0,
                          &(struct role_path){s->daemon.fds[SIGNERD_FD_LOG], LOG_ACCESS}, 1);
}

static int signerd_run(struct signerd *s, struct ev_loop *loop)
{
    struct elog_config cfg = {.loop = loop,
                              .dirfd = s->daemon.fds[SIGNERD_FD_LOG],
                              .keys = s->keys,
                              .cells = s->cells,
                              .host = s->host,
                              .boot_id = s->boot_id,
                              .origin = s->origin,
                              .seal = s->options.seal,
                              .segment_bytes = s->options.segment_bytes,
                              .segment_age_s = s->options.segment_age_s,
                              .retain_bytes = s->options.retain_bytes,
                              .retain_age_s = s->options.retain_age_s,
                              .failed = dispatch_on_log_failed,
                              .idle = dispatch_on_log_idle,
                              .self = &s->dispatch};
    int r = dispatch_init(&s->dispatch, loop, s->cells, s->daemon.fds);

    dispatch_configure(&s->dispatch, &s->options.quota, &s->options.redact);
    if (r == 0)
        r = elog_open(&cfg, &s->dispatch.log);
    if (r == 0)
        r = daemon_ready(&s->daemon);
    if (r == 0)
        ev_run(loop, 0);
    elog_free(s->dispatch.log);
    dispatch_done(&s->dispatch);
    return r == -EBADMSG ? EXIT_LOG_REFUSED : r < 0 || s->dispatch.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void signerd_on_term(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)loop;
    (void)revents;
    dispatch_stop(w->data);
}

/* A terminal's signals are for the workload; SIGTERM means: make durable what was accepted, then end. */
static void signerd_signals(struct signerd *s, struct ev_loop *loop, ev_signal *term)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN); /* a log line that nobody reads any more ends nothing */
    ev_signal_init(term, signerd_on_term, SIGTERM);
    term->data = &s->dispatch;
    ev_signal_start(loop, term);
    ev_unref(loop);
}

int main(int argc, char **argv)
{
    static struct signerd s;
    struct ev_loop *loop;
    ev_signal term;
    int r;

    if (argc > 1 && strcmp(argv[1], "--keys") == 0)
        return key_admin_main(argc, argv);
    r = daemon_begin(&signerd_role, &argc, argv, &s.daemon);

    if (r == 0)
        r = signerd_options_parse(argc, argv, &s.options);
    if (r == 0)
        r = signerd_prepare(&s);
    if (r == 0)
        r = signerd_confine(&s);
    loop = r == 0 ? ev_loop_new(EVFLAG_NOENV) : NULL;
    if (!loop)
        return EXIT_FAILURE;
    signerd_signals(&s, loop, &term);
    r = signerd_run(&s, loop);
    ev_ref(loop);
    ev_signal_stop(loop, &term);
    ev_loop_destroy(loop);
    cells_free(s.cells);
    keys_free(s.keys);
    return r;
}
