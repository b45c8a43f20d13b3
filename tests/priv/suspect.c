/* SPDX-License-Identifier: MIT */
#include "tests/priv/suspect.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "tests/priv/record.h"

#define FDS_MAX 8

static const struct suspect_kind kinds[] = {
    {"signerd",
     "cellos-signerd",
     3,
     {{&iface_signer, FROM_CLIENT, ROLE_SUPERVISOR},
      {&iface_signer, FROM_CLIENT, ROLE_NETD},
      {&iface_signer, FROM_CLIENT, ROLE_PROXYD}},
     {"supervisor", "netd", "proxyd"},
     {"keys", "log"},
     NULL},
    {"netd",
     "cellos-netd",
     3,
     {{&iface_netd, FROM_CLIENT, ROLE_SUPERVISOR},
      {&iface_signer, FROM_SERVER, ROLE_SIGNERD},
      {&iface_pin, FROM_CLIENT, ROLE_PROXYD}},
     {"supervisor", "signerd", "proxyd"},
     {NULL},
     NULL},
    {"proxyd",
     "cellos-proxyd",
     3,
     {{&iface_proxy, FROM_CLIENT, ROLE_SUPERVISOR},
      {&iface_signer, FROM_SERVER, ROLE_SIGNERD},
      {&iface_pin, FROM_SERVER, ROLE_NETD}},
     {"supervisor", "signerd", "netd"},
     {NULL},
     NULL},
    {"supervisor",
     "cellos-supervisor",
     4,
     {{&iface_control, FROM_CLIENT, ROLE_CELLCTL},
      {&iface_netd, FROM_SERVER, ROLE_NETD},
      {&iface_proxy, FROM_SERVER, ROLE_PROXYD},
      {&iface_signer, FROM_SERVER, ROLE_SIGNERD}},
     {"control", "netd", "proxyd", "signerd"},
     {"ids", "locks"},
     "operators"},
    {"zygote",
     "cellos-supervisor",
     1,
     {{&iface_zygote, FROM_CLIENT, ROLE_SUPERVISOR}},
     {"line"},
     {NULL},
     NULL},
};

static void die(const char *what)
{
    perror(what);
    exit(2);
}

const struct suspect_kind *suspect_kind(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

/* ---- start ---- */

/* The zygote is the one that nobody starts by LISTEN_FDS: its line is fd 3, its arguments are numbers, and it
 * begins as root of a user namespace. */
static void exec_zygote(const char *path)
{
    char parent[16], uid[16], gid[16];

    snprintf(parent, sizeof(parent), "%d", getppid());
    snprintf(uid, sizeof(uid), "%u", getuid());
    snprintf(gid, sizeof(gid), "%u", getgid());
    execlp("unshare", "unshare", "--user", "--map-root-user", path, "--zygote", parent, uid, gid, "0", "0",
           "0", (char *)NULL);
    die("unshare");
}

static const char *extra_options[SUSPECT_OPTIONS];

void suspect_options(char *const *options, size_t n)
{
    for (size_t i = 0; i < SUSPECT_OPTIONS; i++)
        extra_options[i] = i < n ? options[i] : NULL;
}

static void exec_daemon(const struct suspect *s, const char *path)
{
    char pid[32], count[32], names[128] = "LISTEN_FDNAMES=";
    char *env[] = {pid, count, names, NULL};
    const char *argv[5 + SUSPECT_OPTIONS + 1] = {path, "--mode", "embedded"};
    size_t nargs = 3;
    size_t n = s->kind->nlines;

    for (size_t i = 0; i < s->kind->nlines; i++)
        strcat(strcat(names, i ? ":" : ""), s->kind->line_names[i]);
    for (size_t i = 0; s->kind->dirs[i]; i++, n++)
        strcat(strcat(names, ":"), s->kind->dirs[i]);
    if (s->kind->listener) {
        strcat(strcat(names, ":"), s->kind->listener);
        n++;
    }
    if (strcmp(s->kind->name, "supervisor") == 0) {
        argv[nargs++] = "--private-path";
        argv[nargs++] = s->dir;
    }
    memcpy(argv + nargs, extra_options, sizeof(extra_options));
    snprintf(pid, sizeof(pid), "LISTEN_PID=%d", getpid());
    snprintf(count, sizeof(count), "LISTEN_FDS=%zu", n);
    execve(path, (char *const *)(void *)argv, env);
    die(path);
}

static void child(const struct suspect *s, const char *bin_dir, const int *theirs)
{
    int fds[FDS_MAX];
    char path[512];
    size_t n = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < s->kind->nlines; i++)
        fds[n++] = fcntl(theirs[i], F_DUPFD_CLOEXEC, 100);
    for (size_t i = 0; s->kind->dirs[i]; i++) {
        snprintf(path, sizeof(path), "%s/%s", s->dir, s->kind->dirs[i]);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fds[n++] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    }
    if (s->kind->listener) {
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        snprintf(path, sizeof(path), "%s/listener", s->dir);
        if (strlen(path) < sizeof(at.sun_path))
            memcpy(at.sun_path, path, strlen(path));
        if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0)
            die(path);
        fds[n++] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    }
    snprintf(path, sizeof(path), "%s/stderr", s->dir);
    int err = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600),
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (err < 0 || dup2(err, 2) < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
        die(path);
    for (size_t i = 0; i < n; i++)
        if (dup2(fds[i], 3 + (int)i) < 0)
            die("dup2");
    snprintf(path, sizeof(path), "%s/%s", bin_dir, s->kind->binary);
    if (strcmp(s->kind->name, "zygote") == 0)
        exec_zygote(path);
    exec_daemon(s, path);
}

static void make_dirs(struct suspect *s, const char *base)
{
    static unsigned number;
    char path[512];

    snprintf(s->dir, sizeof(s->dir), "%s/%s-%u", base, s->kind->name, number++);
    if (mkdir(s->dir, 0700) < 0)
        die(s->dir);
    for (size_t i = 0; s->kind->dirs[i]; i++) {
        snprintf(path, sizeof(path), "%s/%s", s->dir, s->kind->dirs[i]);
        if (mkdir(path, 0700) < 0)
            die(path);
    }
}

void suspect_start(const struct suspect_kind *k, const char *bin_dir, const char *base, struct suspect *ret)
{
    struct suspect s = {.kind = k, .line = {-EBADF, -EBADF, -EBADF, -EBADF}};
    int theirs[SUSPECT_LINES];

    make_dirs(&s, base);
    for (size_t i = 0; i < k->nlines; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
            die("socketpair");
        s.line[i] = pair[0];
        theirs[i] = pair[1];
    }
    s.pid = fork();
    if (s.pid < 0)
        die("fork");
    if (s.pid == 0)
        child(&s, bin_dir, theirs);
    for (size_t i = 0; i < k->nlines; i++)
        close(theirs[i]);
    *ret = s;
}

/* ---- talk ---- */

void suspect_send(const struct suspect *s, size_t line, const void *p, size_t n, size_t nfds)
{
    static int fds[FRAME_FDS_MAX];
    union {
        char bytes[CMSG_SPACE(sizeof(fds))];
        struct cmsghdr head;
    } control = {};
    struct iovec iov = {(void *)(uintptr_t)p, n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (nfds > 0) {
        for (size_t i = 0; i < nfds; i++)
            fds[i] = null;
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        control.head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(nfds * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), fds, nfds * sizeof(int));
    }
    if (sendmsg(s->line[line], &m, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        die("sendmsg");
}

void suspect_hello(const struct suspect *s, size_t line)
{
    const struct hostile_line *l = &s->kind->line[line];
    struct hello h = {str_of(l->iface->name), l->iface->version, l->role};
    _cleanup_(buf_done) struct buf b = {0};

    buf_init(&b, LIMIT_FRAME);
    if (iface_encode(iface_row(l->iface, MSG_HELLO), 0, &h, &b) < 0)
        die("hello");
    suspect_send(s, line, b.data, b.len, 0);
}

int suspect_recv(const struct suspect *s, size_t line, struct frame *f, int timeout_ms)
{
    struct pollfd p = {.fd = s->line[line], .events = POLLIN};
    int r;

    if (s->line[line] < 0)
        return 0;
    if (poll(&p, 1, timeout_ms) <= 0)
        return -1;
    r = frame_recv(s->line[line], f);
    return r == FRAME_GOT ? 1 : 0; /* what it had not read is ECONNRESET, an end as well */
}

bool suspect_is_cut(struct suspect *s, size_t line, int timeout_ms)
{
    static struct frame f;
    uint64_t until = clock_boottime_us() / 1000 + (uint64_t)timeout_ms, now;
    int r = 1;

    while (r > 0 && (now = clock_boottime_us() / 1000) < until) {
        r = suspect_recv(s, line, &f, (int)(until - now));
        frame_close_fds(&f);
    }
    return r == 0;
}

/* A row of ours that is answered whatever the state: the head of the log, a claim or a request for a run
 * nobody knows. */
static const struct msg_row *row_that_is_answered(const struct hostile_line *l)
{
    if (l->iface == &iface_signer)
        return iface_row(l->iface, l->role == ROLE_SUPERVISOR ? MSG_SIGNER_HEAD_REQ : MSG_SIGNER_CLAIMS_REQ);
    if (l->iface == &iface_netd)
        return iface_row(l->iface, MSG_NETD_CELL_COUNTERS_REQ);
    if (l->iface == &iface_pin)
        return iface_row(l->iface, MSG_PIN_PIN_REQ);
    if (l->iface == &iface_proxy)
        return iface_row(l->iface, MSG_PROXY_CELL_CLOSE_REQ);
    return NULL;
}

bool suspect_answers(const struct suspect *s, size_t line, int timeout_ms)
{
    static struct frame f;
    const struct hostile_line *l = &s->kind->line[line];
    const struct msg_row *row = row_that_is_answered(l);
    const struct signer_claim claim = {
        1, STR_LIT("0190a0b0-c0d0-7000-8000-000000000009"), EVENT_GAP, {"", 0}};
    _cleanup_(arena_done) struct arena a = {0};
    _cleanup_(buf_done) struct buf b = {0};
    struct msg m;
    void *rec;

    arena_init(&a, LIMIT_ARENA);
    buf_init(&b, LIMIT_FRAME);
    rec = record_least(row->rec, &a);
    if (row->id == MSG_SIGNER_CLAIMS_REQ && l->iface == &iface_signer)
        *((struct signer_claims_req *)rec) = (struct signer_claims_req){{&claim, 1}};
    if (iface_encode(row, 77, rec, &b) < 0)
        die("encode");
    suspect_send(s, line, b.data, b.len, row->nfds);
    while (suspect_recv(s, line, &f, timeout_ms) > 0)
        if (iface_decode(l->iface, FROM_CLIENT + FROM_SERVER - l->side, /* role= */ 0,
                         LINE_READY | LINE_HELLO, f.data, f.len, f.nfds, &a, &m) != -EBADMSG &&
            f.len > 2 && f.data[2] == 77)
            return true;
    return false;
}

/* ---- end ---- */

void suspect_close(struct suspect *s, size_t line)
{
    cleanup_closep(&s->line[line]);
    s->line[line] = -EBADF;
}

int suspect_end(struct suspect *s, int timeout_ms, bool *ret_late)
{
    uint64_t until = clock_boottime_us() + (uint64_t)timeout_ms * 1000;
    int status = 0;

    *ret_late = false;
    while (waitpid(s->pid, &status, WNOHANG) == 0) {
        if (clock_boottime_us() > until && !*ret_late) {
            *ret_late = true;
            kill(s->pid, SIGKILL);
        }
        usleep(500);
    }
    for (size_t i = 0; i < s->kind->nlines; i++)
        suspect_close(s, i);
    return status;
}

void suspect_print_log(const struct suspect *s)
{
    char path[512];
    _cleanup_(buf_done) struct buf b = {0};

    snprintf(path, sizeof(path), "%s/stderr", s->dir);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    buf_init(&b, 1 << 20);
    putchar('"');
    if (fd < 0 || io_read_to_end(fd, &b) < 0)
        buf_clear(&b);
    for (size_t i = 0; i < b.len; i++) {
        if (b.data[i] == '"' || b.data[i] == '\\' || b.data[i] < 0x20)
            printf("\\u%04x", b.data[i]);
        else
            putchar(b.data[i]);
    }
    putchar('"');
}
