/* SPDX-License-Identifier: MIT */
/* cellctl ship: the durable events of logs to a NATS stream or an HTTP endpoint. It reads foreign logs and
 * talks to a network; it has the operator's own right, takes no_new_privs, and Landlock where the kernel has
 * it. It never writes into a log. */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

#include "common/priv/landlock.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/paths.h"
#include "supervisor/ctl/ship.h"
#include "supervisor/ctl/term.h"

#define SHIP_HELP                                                                                            \
    "usage: cellctl ship [DIR] --to URL [FLAGS]\n\n"                                                         \
    "Publishes the durable events of a log, or of every log below a directory, also of those that appear\n"  \
    "later, each once and in the order of its log, until it is stopped. Without DIR the logs of this "       \
    "user's\n"                                                                                               \
    "runs. How far a destination has them is kept on disk: a ship that is started again goes on there.\n\n"  \
    "  --to URL           nats://HOST[:PORT] or tls://HOST[:PORT], several with commas: a JetStream "        \
    "stream\n"                                                                                               \
    "                     (subjects cellos.events.TENANT.TYPE and cellos.checkpoints.TENANT), or\n"          \
    "                     https://HOST/PATH: CloudEvents over HTTP, one event a request\n"                   \
    "  --tenant NAME      of the subjects; default: default\n"                                               \
    "  --once             what is there now, then exit\n"                                                    \
    "  --give-up SECONDS  exit 2 after so long without progress; with --once 60, else never (0)\n"           \
    "  --id NAME          name of the destination, for its cursors: keep it when the server moves\n"         \
    "  --state DIR        where cursors and dead letters are; default: ship in the state directory\n"        \
    "  --no-checkpoints   events only\n"                                                                     \
    "  --skip-pruned      go on behind lines that retention removed before they were shipped\n"              \
    "  --status           show how far this destination is, and exit\n"                                      \
    "  --retry-dead       send the dead letters again, and exit\n"                                           \
    "  -v                 tell every try\n\n"                                                                \
    "NATS:\n"                                                                                                \
    "  --stream NAME      the stream that must take it\n"                                                    \
    "  --create-stream NAME  make the stream when no stream takes the subjects\n" JETSTREAM_FLAGS_HELP       \
    "HTTP:\n"                                                                                                \
    "  --batch N          up to N events a request (application/cloudevents-batch+json)\n"                   \
    "  --token-file FILE  a bearer token\n"                                                                  \
    "  --ca-file, --cert-file, --key-file  as above\n\n"                                                     \
    "Exit status: 0 all shipped, or stopped by a signal; 2 something could not be shipped; 4 a log is not\n" \
    "what it should be; 1 usage.\n"

static void told(void *arg, int status, const char *why)
{
    struct ship *s = arg;

    term_status_clear();
    (void)ctl_fail(status, "ship", "%s", why);
    if (status > s->status)
        s->status = status;
}

/* The default directories of this user, where no flag says otherwise. */
static int defaults(struct ship_args *a, char dir[PATH_MAX], char state[PATH_MAX])
{
    char base[PATH_MAX];
    int r = a->dir && a->state ? 0 : paths_state(base);

    if (r == 0 && !a->dir && snprintf(dir, PATH_MAX, "%s/log", base) >= PATH_MAX)
        r = -ENAMETOOLONG;
    if (r == 0 && !a->state && snprintf(state, PATH_MAX, "%s/ship", base) >= PATH_MAX)
        r = -ENAMETOOLONG;
    if (r < 0)
        return ctl_fail(CTL_FAILED, "ship", "no state directory is known (%s): name a directory and --state",
                        strerror(-r));
    a->dir = a->dir ? a->dir : dir;
    a->state = a->state ? a->state : state;
    return CTL_OK;
}

static int open_state(struct ship *s)
{
    char id[SHIP_DESTINATION_MAX + 1], destination[SHIP_STATE_FILE_MAX];
    int pid = 0, r;

    ship_args_id(&s->args, id);
    (void)snprintf(destination, sizeof(destination), "%.3000s as tenant %s", s->args.to, s->args.tenant);
    r = ship_state_open(s->args.state, id, destination, &s->state, &pid);
    if (r == -EBUSY)
        return ctl_fail(CTL_FAILED, "ship", "process %d ships to this destination already (%s/%s)", pid,
                        s->args.state, id);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "ship", "cannot use %s/%s: %s", s->args.state, id, strerror(-r));
    return CTL_OK;
}

static int open_logs(struct ship *s)
{
    int r = ship_logs_open(s->args.dir, s->args.skip_pruned, &s->logs);

    if (r == -ENOENT)
        return ctl_fail(CTL_FAILED, "ship", "%s does not exist: `cellctl run` makes the first log",
                        s->args.dir);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "ship", "cannot open %s: %s", s->args.dir, strerror(-r));
    return CTL_OK;
}

/* Before any thread is there: they inherit the mask. */
static int open_signals(struct ship_signals *g)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    g->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return g->fd < 0 ? -errno : 0;
}

#define READ_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_RIGHTS                                                                                         \
    (READ_RIGHTS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |                             \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)

/* The directory of a file that is read again and again; renewing it by rename must stay possible. */
static int dir_of(const char *file)
{
    char path[PATH_MAX];
    char *slash;

    if (!file || snprintf(path, sizeof(path), "%s", file) >= PATH_MAX)
        return -EBADF;
    slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = '\0';
    return open(slash ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int ship_confine(const struct ship_args *a, const struct ship_state *s)
{
    const char *const files[] = {a->nats.creds, a->nats.user_file, a->nats.ca,
                                 a->nats.cert,  a->nats.key,       a->token_file};
    /* Names and certificates: resolv.conf, hosts, nsswitch.conf, its modules, CA files. */
    const char *const dirs[] = {
        a->dir, "/etc", "/usr", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"};
    struct role_path paths[ARRAY_LEN(files) + ARRAY_LEN(dirs) + 1];
    size_t n = 0;
    int r;

    paths[n++] = (struct role_path){.fd = s->dir, .access = WRITE_RIGHTS};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        int fd = open(dirs[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0)
            paths[n++] = (struct role_path){.fd = fd, .access = READ_RIGHTS};
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        int fd = dir_of(files[i]);

        if (fd >= 0)
            paths[n++] = (struct role_path){.fd = fd, .access = READ_RIGHTS};
    }
    r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno
                                                   : landlock_confine(paths, n, LANDLOCK_KEEP_TCP_CONNECT);
    for (size_t i = 1; i < n; i++)
        close(paths[i].fd);
    return r < 0 ? r : 0;
}

static int work(struct ship *s)
{
    struct ship_dest *d = NULL;
    int r = ship_confine(&s->args, &s->state);

    if (r < 0)
        return ctl_fail(CTL_FAILED, "ship", "cannot confine this process: %s", strerror(-r));
    r = s->args.http ? ship_http_new(s, &d) : ship_nats_new(s, &d);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "ship", "cannot begin: %s", strerror(-r));
    r = s->args.retry_dead ? ship_loop_dead(s, d) : ship_loop(s, d);
    d->ops->free(d);
    return r;
}

static int ship_run(int argc, char **argv)
{
    struct ship s = {.state = {.dir = -EBADF, .dead = -EBADF, .lock = -EBADF}, .signals = {.fd = -EBADF}};
    char dir[PATH_MAX], state[PATH_MAX];
    int r = ship_args_parse(argc, argv, &s.args);

    s.told = (struct ship_told){.fn = told, .arg = &s};
    s.logs.inotify = -EBADF;
    if (r == CTL_OK)
        r = defaults(&s.args, dir, state);
    if (r == CTL_OK && (digest_init() < 0 || open_signals(&s.signals) < 0))
        r = ctl_fail(CTL_FAILED, "ship", "cannot begin: %s", strerror(errno));
    if (r == CTL_OK && s.args.status)
        return ship_status(&s.args);
    if (r == CTL_OK)
        r = open_state(&s);
    if (r == CTL_OK)
        r = open_logs(&s);
    if (r == CTL_OK)
        r = work(&s);
    ship_logs_done(&s.logs);
    ship_state_done(&s.state);
    cleanup_closep(&s.signals.fd);
    return r;
}

const struct ctl_verb ctl_verb_ship = {
    "ship",
    "publish the events of logs to a NATS stream or over HTTP",
    SHIP_HELP,
    ship_run,
};
