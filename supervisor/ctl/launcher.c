/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/launcher.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/base/clock.h"
#include "common/daemon/activation.h"
#include "supervisor/ctl/paths.h"

#define FDS_MAX  8
#define ARGS_MAX 24

/* What one daemon is started with: fds with their names, and arguments of its own. */
struct start {
    const char *name;
    int fds[FDS_MAX];
    const char *fd_names[FDS_MAX];
    size_t nfds;
    const char *args[ARGS_MAX];
    bool secrets; /* gets the CELLOS_SECRET_* variables */
    bool keys;    /* gets launcher_key_env() */
};

/* Everything one start needs open; closed again in this process when the daemons have it. */
struct wiring {
    char binaries[PATH_MAX]; /* directory of the daemons */
    char state[PATH_MAX];
    int keys, ids, locks;
    int signer[3][2]; /* lines to signerd: supervisor, netd, proxyd */
    int netd[2], proxyd[2], control[2];
    int pin[2];    /* proxyd to netd */
    int operators; /* listening, for the supervisor */
};

const char *launcher_name(enum launcher_daemon d)
{
    static const char *const names[_LAUNCHER_MAX] = {
        [LAUNCHER_SIGNERD] = "cellos-signerd",
        [LAUNCHER_SUPERVISOR] = "cellos-supervisor",
        [LAUNCHER_NETD] = "cellos-netd",
        [LAUNCHER_PROXYD] = "cellos-proxyd",
    };
    return names[d];
}

static int fail(char *error, size_t cap, int err, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static int fail(char *error, size_t cap, int err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(error, cap, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < cap)
        snprintf(error + n, cap - (size_t)n, ": %s", strerror(-err));
    return err;
}

/* ---- where things are ---- */

/* All of them: one that is missing is named before anything is started. */
static int check_binaries(const struct wiring *w, char *error, size_t cap)
{
    char probe[PATH_MAX + 64];
    for (size_t i = 0; i < _LAUNCHER_MAX; i++) {
        snprintf(probe, sizeof(probe), "%s/%s", w->binaries, launcher_name((enum launcher_daemon)i));
        if (access(probe, X_OK) < 0)
            return fail(error, cap, -errno, "cannot execute %s: install the suite again", probe);
    }
    return 0;
}

/* Beside cellctl, else in ../libexec/cellos. */
static int find_binaries(struct wiring *w, char *error, size_t cap)
{
    char self[PATH_MAX], probe[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return fail(error, cap, -errno, "cannot find cellctl's own path (is /proc mounted?)");
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    static const char *const places[] = {"", "/../libexec/cellos"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (snprintf(w->binaries, sizeof(w->binaries), "%s%s", self, places[i]) >= (int)sizeof(w->binaries))
            continue;
        snprintf(probe, sizeof(probe), "%s/cellos-supervisor", w->binaries);
        if (access(probe, F_OK) == 0)
            return check_binaries(w, error, cap);
    }
    return fail(error, cap, -ENOENT,
                "the daemons (cellos-supervisor and the others) are neither beside cellctl nor in %s",
                "../libexec/cellos");
}

int launcher_find(char dst[PATH_MAX], char *error, size_t cap)
{
    struct wiring w = {.binaries = ""};
    int r = find_binaries(&w, error, cap);
    if (r >= 0)
        snprintf(dst, PATH_MAX, "%s", w.binaries);
    return r;
}

static int open_dir(const char *base, const char *name, char *error, size_t cap)
{
    char path[PATH_MAX];
    int r = paths_make(base, name, path);
    int fd = r < 0 ? r : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (r >= 0 && fd < 0)
        fd = -errno;
    return fd < 0 ? fail(error, cap, fd, "cannot use the directory %s/%s", base, name) : fd;
}

static int open_dirs(struct wiring *w, struct launcher *l, char *error, size_t cap)
{
    char logs[PATH_MAX];
    int r = paths_state(w->state);
    if (r < 0)
        return fail(error, cap, r, "no place for keys and logs: set HOME or XDG_STATE_HOME");
    if ((w->keys = open_dir(w->state, "keys", error, cap)) < 0 ||
        (w->ids = open_dir(w->state, "ids", error, cap)) < 0)
        return -EACCES;
    /* Root-run suites share a range of ids and so the locks on it; an ordinary user has nothing to lock. */
    w->locks =
        geteuid() == 0 ? open_dir("/run/cellos", "ids", error, cap) : open_dir(w->state, "ids", error, cap);
    if (w->locks < 0)
        return w->locks;
    r = paths_make(w->state, "log", logs);
    if (r < 0)
        return fail(error, cap, r, "cannot use the directory %s/log", w->state);
    l->log_dir = open_dir(logs, l->run_id, error, cap);
    if (l->log_dir < 0)
        return l->log_dir;
    return snprintf(l->log_path, sizeof(l->log_path), "%s/%s", logs, l->run_id) < (int)sizeof(l->log_path)
               ? 0
               : -ENAMETOOLONG;
}

static int make_lines(struct wiring *w, struct launcher *l, char *error, size_t cap)
{
    w->operators = run_socket_make(w->state, l->run_id, &l->socket);
    if (w->operators < 0)
        return fail(error, cap, w->operators, "cannot make a socket in %s/" RUN_SOCKET_DIR, w->state);
    int *const pairs[] = {w->signer[0], w->signer[1], w->signer[2], w->netd, w->proxyd, w->control, w->pin};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pairs[i]) < 0)
            return fail(error, cap, -errno, "cannot make a socket pair");
    return 0;
}

/* ---- one process ---- */

#define ENV_MAX 300

size_t launcher_key_env(char **env, size_t n, size_t max)
{
    static const char *const names[] = {"CREDENTIALS_DIRECTORY=", "SOFTHSM2_CONF=", "HOME="};
    for (char **e = environ; *e && n < max; e++)
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (strncmp(*e, names[i], strlen(names[i])) == 0 && n < max)
                env[n++] = *e;
    return n;
}

/* Exactly the activation variables, and for the supervisor the broker variables of secrets. pid is filled in
 * by the child, which alone knows it. */
static size_t build_env(const struct start *s, char *count, size_t count_cap, char *names, size_t names_cap,
                        char *pid, char **env)
{
    size_t n = 0, len = (size_t)snprintf(names, names_cap, "LISTEN_FDNAMES=");
    for (size_t i = 0; i < s->nfds; i++)
        len += (size_t)snprintf(names + len, names_cap - len, "%s%s", i ? ":" : "", s->fd_names[i]);
    snprintf(count, count_cap, "LISTEN_FDS=%zu", s->nfds);
    env[n++] = pid;
    env[n++] = count;
    env[n++] = names;
    for (char **e = environ; s->secrets && *e && n < ENV_MAX - 1; e++)
        if (strncmp(*e, "CELLOS_SECRET_", 14) == 0)
            env[n++] = *e;
    if (s->keys)
        n = launcher_key_env(env, n, ENV_MAX - 1);
    env[n] = NULL;
    return n;
}

/* In the child: fds to 3, 4, ...; stdin and stdout to /dev/null; a session of its own, so that a terminal's
 * Ctrl-C reaches cellctl only, which ends the suite in order. */
static void child(const struct start *s, const char *path, char *const argv[], char *const env[], char *pid,
                  size_t cap)
{
    int high[FDS_MAX];
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
        _exit(EXIT_FAILURE);
    for (size_t i = 0; i < s->nfds; i++)
        if ((high[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, ACTIVATION_FIRST_FD + FDS_MAX)) < 0)
            _exit(EXIT_FAILURE);
    for (size_t i = 0; i < s->nfds; i++)
        if (dup2(high[i], ACTIVATION_FIRST_FD + (int)i) < 0)
            _exit(EXIT_FAILURE);
    /* A library of the caller's may open sockets that are not CLOEXEC: no daemon gets one. */
    if (close_range(ACTIVATION_FIRST_FD + (unsigned)s->nfds, ~0U, 0) < 0)
        _exit(EXIT_FAILURE);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(pid, cap, "LISTEN_PID=%d", getpid());
    execve(path, argv, env);
    static const char text[] = "cellctl: a daemon cannot be executed\n";
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(127);
}

static int start_one(const struct wiring *w, const struct start *s, const struct launcher_options *o,
                     pid_t *ret_pid, int *ret_pidfd)
{
    char path[PATH_MAX + 64], count[32], names[128], pid[32];
    char *env[ENV_MAX];
    const char *argv[ARGS_MAX + 5] = {path, "--mode", "embedded"};
    size_t n = 3;
    snprintf(path, sizeof(path), "%s/%s", w->binaries, s->name);
    if (o->verbose)
        argv[n++] = "-v";
    for (size_t i = 0; i < ARRAY_LEN(s->args) && s->args[i]; i++)
        argv[n++] = s->args[i];
    build_env(s, count, sizeof(count), names, sizeof(names), pid, env);
    pid_t p = fork();
    if (p < 0)
        return -errno;
    if (p == 0)
        child(s, path, (char *const *)(void *)argv, env, pid, sizeof(pid));
    *ret_pid = p;
    *ret_pidfd = (int)syscall(SYS_pidfd_open, p, 0);
    return *ret_pidfd < 0 ? -errno : 0;
}

/* ---- the suite ---- */

/* What the operator decided about the log, as signerd's flags; what is not said is signerd's default. */
struct log_args {
    char number[7][24], redact[REDACT_TEXT_MAX];
    const char *v[ARGS_MAX];
};

static void log_args_fill(struct log_args *a, const char *run_id, const struct launcher_options *o)
{
    const struct operator_log *l = o->log;
    size_t n = 0;

    a->v[n++] = "--origin-suffix";
    a->v[n++] = run_id;
    if (l) {
        const struct {
            const char *name;
            uint64_t value;
            bool always; /* else 0 is not said */
        } numbers[] = {
            {"--segment-bytes", l->segment_bytes, true}, {"--segment-age", l->segment_age_s, true},
            {"--retain-bytes", l->retain_bytes, true},   {"--retain-age", l->retain_age_s, true},
            {"--quota-rate", o->quota_rate, false},      {"--quota-events", l->quota_events, false},
            {"--quota-bytes", l->quota_bytes, false}};
        _Static_assert(ARRAY_LEN(numbers) == ARRAY_LEN(a->number), "one text each");
        a->v[n++] = "--seal";
        a->v[n++] = enum_text(&enum_seal_mode, l->seal);
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
            if (!numbers[i].always && numbers[i].value == 0)
                continue;
            snprintf(a->number[i], sizeof(a->number[i]), "%" PRIu64, numbers[i].value);
            a->v[n++] = numbers[i].name;
            a->v[n++] = a->number[i];
        }
        if (l->redact.n > 0) {
            a->v[n++] = "--redact";
            a->v[n++] = redact_format(&l->redact, a->redact);
        }
    }
    a->v[n] = NULL;
}

static int start_all(const struct wiring *w, struct launcher *l, const struct launcher_options *o,
                     char *error, size_t cap)
{
    struct log_args log_args;
    log_args_fill(&log_args, l->run_id, o);
    struct start starts[_LAUNCHER_MAX] = {
        [LAUNCHER_SIGNERD] = {launcher_name(LAUNCHER_SIGNERD),
                              {w->signer[0][1], w->signer[1][1], w->signer[2][1], w->keys, l->log_dir},
                              {"supervisor", "netd", "proxyd", "keys", "log"},
                              5,
                              {NULL},
                              .secrets = false},
        [LAUNCHER_SUPERVISOR] = {launcher_name(LAUNCHER_SUPERVISOR),
                                 {w->control[1], w->netd[0], w->proxyd[0], w->signer[0][0], w->ids, w->locks,
                                  w->operators},
                                 {"control", "netd", "proxyd", "signerd", "ids", "locks", "operators"},
                                 7,
                                 {"--evidence", o->evidence, "--private-path", w->state,
                                  o->config_json ? "--operator-config" : NULL, o->config_json},
                                 .secrets = true},
        [LAUNCHER_NETD] = {launcher_name(LAUNCHER_NETD),
                           {w->netd[1], w->signer[1][0], w->pin[1]},
                           {"supervisor", "signerd", "proxyd"},
                           3,
                           {o->routed_pool ? "--routed" : NULL, o->routed_pool},
                           .secrets = false},
        [LAUNCHER_PROXYD] = {launcher_name(LAUNCHER_PROXYD),
                             {w->proxyd[1], w->signer[2][0], w->pin[0]},
                             {"supervisor", "signerd", "netd"},
                             3,
                             {o->ca_file ? "--ca-file" : NULL, o->ca_file},
                             .secrets = false},
    };
    memcpy(starts[LAUNCHER_SIGNERD].args, log_args.v, sizeof(log_args.v));
    /* Only where the key is not a file: otherwise nothing of the caller's environment. */
    starts[LAUNCHER_SIGNERD].keys =
        getenv("CREDENTIALS_DIRECTORY") || faccessat(w->keys, "signing.uri", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    for (size_t i = 0; i < _LAUNCHER_MAX; i++) {
        int r = start_one(w, &starts[i], o, &l->pids[i], &l->pidfds[i]);
        if (r < 0)
            return fail(error, cap, r, "cannot start %s", starts[i].name);
    }
    return 0;
}

static void close_wiring(struct wiring *w)
{
    const int fds[] = {w->keys,         w->ids,          w->locks,        w->signer[0][0], w->signer[0][1],
                       w->signer[1][0], w->signer[1][1], w->signer[2][0], w->signer[2][1], w->netd[0],
                       w->netd[1],      w->proxyd[0],    w->proxyd[1],    w->control[0],   w->control[1],
                       w->pin[0],       w->pin[1],       w->operators};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        cleanup_closep(&fds[i]);
}

int launcher_start(const struct launcher_options *o, struct launcher *ret, char *error, size_t cap)
{
    struct wiring w;
    memset(&w, 0xff, sizeof(w)); /* every fd -1 */
    w.binaries[0] = w.state[0] = '\0';
    struct launcher l = {.log_dir = -EBADF, .control = -EBADF, .socket = RUN_SOCKET_NONE};
    for (size_t i = 0; i < _LAUNCHER_MAX; i++)
        l.pidfds[i] = -EBADF;
    snprintf(l.run_id, sizeof(l.run_id), "%s", o->run_id);
    int r = find_binaries(&w, error, cap);
    if (r >= 0)
        r = open_dirs(&w, &l, error, cap);
    if (r >= 0)
        r = make_lines(&w, &l, error, cap);
    if (r >= 0)
        r = start_all(&w, &l, o, error, cap);
    if (r >= 0)
        l.control = TAKE_FD(w.control[0]);
    close_wiring(&w);
    if (r < 0) {
        char why[128];
        (void)launcher_end(&l, why, sizeof(why)); /* their lines are closed: they end by themselves */
        return r;
    }
    *ret = l;
    return 0;
}

/* 0, or what the daemon came to in why. */
static int reap(struct launcher *l, enum launcher_daemon d, int timeout_ms, char *why, size_t cap)
{
    struct pollfd p = {.fd = l->pidfds[d], .events = POLLIN};
    int n;
    while ((n = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR) { /* the loop's SIGCHLD handler */
    }
    bool late = n <= 0;
    if (late)
        (void)pidfd_send_signal(l->pidfds[d], SIGKILL, NULL, 0);
    int status = 0;
    pid_t got;
    while ((got = waitpid(l->pids[d], &status, 0)) < 0 && errno == EINTR) {
    }
    close(l->pidfds[d]);
    l->pidfds[d] = -EBADF;
    if (got == l->pids[d] && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (late)
        snprintf(why, cap, "%s did not end by itself and was killed", launcher_name(d));
    else if (WIFSIGNALED(status))
        snprintf(why, cap, "%s was ended by signal %d", launcher_name(d), WTERMSIG(status));
    else
        snprintf(why, cap, "%s ended with %d", launcher_name(d), WEXITSTATUS(status));
    return -ECHILD;
}

bool launcher_end(struct launcher *l, char *why, size_t cap)
{
    int r = 0;
    uint64_t until = clock_boottime_us() / 1000 + LAUNCHER_END_MS;
    for (size_t i = _LAUNCHER_MAX; i-- > 0;) { /* signerd last: it hears the end of the others */
        if (l->pidfds[i] < 0)
            continue;
        uint64_t now = clock_boottime_us() / 1000;
        char ignored[1];
        int one = reap(l, (enum launcher_daemon)i, now < until ? (int)(until - now) : 0,
                       r < 0 ? ignored : why, r < 0 ? sizeof(ignored) : cap);
        r = r < 0 ? r : one;
    }
    run_socket_remove(&l->socket);
    cleanup_closep(&l->log_dir);
    l->log_dir = -EBADF;
    return r == 0;
}
