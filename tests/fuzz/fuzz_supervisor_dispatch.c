/* SPDX-License-Identifier: MIT */
/* Hostile neighbours against the supervisor's real tables and lifecycle: a cellctl, a zygote, a cell init, a
 * netd, a proxyd, a signerd and a second operator that say what they like. Input: up to 24 steps, each
 * [what][2 bytes length][bytes]. The low three bits of what name a line; bit 3: answer the supervisor's open
 * requests there as a good neighbour would instead of saying the bytes; bit 4: hang up; on the control line
 * with bit 3 the bytes are a spec document to run; on the second operator's line they are words of rules,
 * separated by blanks, a "-" before one that is to be removed. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <openssl/sha.h>

#include "common/base/cursor.h"
#include "common/base/io.h"
#include "common/base/log.h"
#include "supervisor/cell.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define STEPS_MAX 24

enum { CONTROL, NETD, PROXYD, SIGNERD, ZYGOTE, INIT, OPERATOR, LINES };

static const struct iface *const ifaces[LINES] = {&iface_control, &iface_netd, &iface_proxy,  &iface_signer,
                                                  &iface_zygote,  &iface_init, &iface_control};
static const uint32_t roles[LINES] = {ROLE_CELLCTL, ROLE_NETD, ROLE_PROXYD, ROLE_SIGNERD,
                                      ROLE_ZYGOTE,  ROLE_INIT, ROLE_CELLCTL};

static struct ev_loop *loop;
static char ids_path[] = "/tmp/fuzz-supervisor-ids-XXXXXX";
static int ids_dir;
static int ours[LINES];
static pid_t children[STEPS_MAX];
static size_t nchildren;
static unsigned runs;
static char run_id[UUID_TEXT_LEN + 1]; /* of the last run */
static int listener;

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    log_init("fuzz", -1);
    must(mkdtemp(ids_path) != NULL);
    ids_dir = open(ids_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(ids_dir >= 0);
    struct sockaddr_un any = {.sun_family = AF_UNIX}; /* an abstract name of the kernel's choice */
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(bind(listener, (const struct sockaddr *)&any, sizeof(any.sun_family)) == 0 &&
         listen(listener, LIMIT_POLICY_CLIENTS) == 0);
    loop = ev_loop_new(EVFLAG_AUTO);
    return 0;
}

static void say(int line, uint32_t id, uint64_t seq, const void *rec, const int *fds, size_t nfds)
{
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_FRAME);
    must(iface_encode(iface_row(ifaces[line], id), seq, rec, &b) == 0);
    if (ours[line] >= 0)
        (void)!frame_send(ours[line], b.data, b.len, fds, nfds);
}

static void hello(int line)
{
    struct hello h = {str_of(ifaces[line]->name), ifaces[line]->version, roles[line]};
    say(line, MSG_HELLO, 0, &h, NULL, 0);
}

/* A process of its own to be the cell's PID 1: the supervisor kills what it gets a pidfd of. */
static int victim(void)
{
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        alarm(5);
        pause();
        _exit(0);
    }
    children[nchildren++] = pid;
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void answer_spawn(const struct msg *m, struct frame *f)
{
    struct zygote_spawn_rep rep = {1};
    if (nchildren >= STEPS_MAX)
        return;
    _cleanup_close_ int pidfd = victim(), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int fds[] = {pidfd, null, null};
    if (ours[INIT] >= 0)
        close(ours[INIT]);
    ours[INIT] = TAKE_FD(f->fds[4]);
    hello(INIT);
    say(ZYGOTE, m->row->id + 1, m->seq, &rep, fds, 3);
}

/* What a good neighbour answers; the fds of its answers are good enough for a supervisor, which only passes
 * them on. */
static void answer(int line, const struct msg *m, struct frame *f)
{
    static const struct netd_cell_attach_rep attached = {STR_LIT("sha256:0")};
    static const struct netd_cell_attach_none_rep none_attached = {STR_LIT("sha256:0")};
    static const struct netd_cell_policy_rep flows = {5};
    static const struct netd_cell_counters_rep counters = {1, 2};
    static const struct signer_result all_claimed[LIMIT_CLAIMS_FRAME];
    static const struct signer_head_rep head = {1, STR_LIT("x\n1\nx\n")};
    static const struct proxy_rule_use use = {1023, 1};
    static const struct ev_dns_apex apex = {STR_LIT("a.test"), 1, 2, 3, 4, false};
    static const struct proxy_cell_policy_rep changed = {5};
    const struct proxy_cell_close_rep closed = {1, 2, 3, 4, 5, 6, {&apex, 1}, {&use, 1}};
    static const struct empty none;
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int six[] = {null, null, null, null, null, null};
    if (!(m->row->flags & MSG_CALL))
        return;
    if (line == ZYGOTE)
        answer_spawn(m, f);
    else if (line == NETD && m->row->id == MSG_NETD_CELL_ATTACH_REQ)
        say(line, m->row->id + 1, m->seq, &attached, six, 6);
    else if (line == NETD && m->row->id == MSG_NETD_CELL_ATTACH_NONE_REQ)
        say(line, m->row->id + 1, m->seq, &none_attached, NULL, 0);
    else if (line == NETD && m->row->id == MSG_NETD_CELL_ATTACH_ROUTED_REQ)
        say(line, m->row->id + 1, m->seq, &attached, six, NETD_ROUTED_SOCKETS);
    else if (line == NETD && m->row->id == MSG_NETD_CELL_POLICY_REQ)
        say(line, m->row->id + 1, m->seq, &flows, NULL, 0);
    else if (line == NETD && m->row->id == MSG_NETD_CELL_COUNTERS_REQ)
        say(line, m->row->id + 1, m->seq, &counters, NULL, 0);
    else if (line == SIGNERD && m->row->id == MSG_SIGNER_CLAIMS_REQ)
        say(line, m->row->id + 1, m->seq,
            &(struct signer_claims_rep){
                .results = {all_claimed, ((const struct signer_claims_req *)m->rec)->claims.n}},
            NULL, 0);
    else if (line == SIGNERD && m->row->id == MSG_SIGNER_HEAD_REQ)
        say(line, m->row->id + 1, m->seq, &head, NULL, 0);
    else if (line == PROXYD && m->row->id == MSG_PROXY_CELL_CLOSE_REQ)
        say(line, m->row->id + 1, m->seq, &closed, NULL, 0);
    else if (line == PROXYD && m->row->id == MSG_PROXY_CELL_POLICY_REQ)
        say(line, m->row->id + 1, m->seq, &changed, NULL, 0);
    else
        say(line, m->row->id + 1, m->seq, &none, NULL, 0);
}

/* Whatever the supervisor says must be in its own tables. */
static void drain(int line, bool reply)
{
    static struct frame f;
    const uint32_t side = line == CONTROL || line == OPERATOR ? FROM_SERVER : FROM_CLIENT;
    while (ours[line] >= 0 && frame_recv(ours[line], &f) == FRAME_GOT) {
        struct arena a;
        struct msg m;
        arena_init(&a, LIMIT_ARENA);
        must(iface_decode(ifaces[line], side, ROLE_SUPERVISOR, ~0u, f.data, f.len, f.nfds, &a, &m) == 0);
        if (reply && m.row->id != MSG_HELLO)
            answer(line, &m, &f);
        arena_done(&a);
        frame_close_fds(&f);
    }
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

static void run_document(const uint8_t *p, size_t n)
{
    static const struct attachments none;
    uint8_t sha256[32], files[32];
    uuid_v7(run_id);
    SHA256(p, n, sha256);
    _cleanup_close_ int doc = io_memfd_sealed("spec", p, n), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    _cleanup_close_ int attached = codec_to_memfd(&schema_attachments, &none, LIMIT_ATTACHMENTS_DOC, files);
    const int fds[] = {doc, attached, null, null, null};
    struct control_run_req req = {
        str_of(run_id), STR_LIT("fuzz"), {(char *)sha256, sizeof(sha256)}, {(char *)files, sizeof(files)}};
    say(CONTROL, MSG_CONTROL_RUN_REQ, ++runs, &req, fds, 5);
}

static void change_policy(const uint8_t *p, size_t n)
{
    struct str add[LIMIT_POLICY_CHANGES], remove[LIMIT_POLICY_CHANGES];
    struct control_policy_req req = {.run_id = str_of(run_id), .add = {add, 0}, .remove = {remove, 0}};
    if (n > 4096 || memchr(p, 0, n) || !str_utf8_valid((const char *)p, n))
        return; /* what the codec would not encode */
    for (size_t at = 0; at < n;) {
        size_t len = 0;
        while (at + len < n && p[at + len] != ' ')
            len++;
        bool minus = len > 0 && p[at] == '-';
        struct str word = {(const char *)p + at + minus, len - minus};
        if (minus && word.len <= 320 && req.remove.n < LIMIT_POLICY_CHANGES)
            remove[req.remove.n++] = word;
        else if (!minus && len > 0 && len <= 320 && req.add.n < LIMIT_POLICY_CHANGES)
            add[req.add.n++] = word;
        at += len + 1;
    }
    say(OPERATOR, MSG_CONTROL_POLICY_REQ, ++runs, &req, NULL, 0);
}

/* The second operator comes in as they all do. */
static void connect_operator(void)
{
    struct sockaddr_un a;
    socklen_t len = sizeof(a);
    ours[OPERATOR] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(ours[OPERATOR] >= 0 && getsockname(listener, (struct sockaddr *)&a, &len) == 0 &&
         connect(ours[OPERATOR], (const struct sockaddr *)&a, len) == 0);
    hello(OPERATOR);
}

static void step(uint8_t what, const uint8_t *p, size_t n)
{
    int line = (what & 7) % LINES;
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int fds[7] = {null, null, null, null, null, null, null};
    if (what & 16 && ours[line] >= 0) {
        close(ours[line]);
        ours[line] = -EBADF;
    } else if (line == CONTROL && what & 8) {
        run_document(p, n);
    } else if (line == OPERATOR && ours[line] < 0) {
        connect_operator();
    } else if (line == OPERATOR && what & 8) {
        change_policy(p, n);
    } else if (!(what & 8) && n > 0 && ours[line] >= 0) {
        (void)!frame_send(ours[line], p, n, fds, what >> 5);
    }
    turn();
    drain(line, what & 8);
    turn();
}

static void open_lines(struct manager *m)
{
    int theirs[LINES];
    for (int i = 0; i < INIT; i++) {
        int pair[2];
        must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        ours[i] = pair[0];
        theirs[i] = pair[1];
    }
    ours[INIT] = ours[OPERATOR] = -EBADF;
    run_id[0] = '\0';
    struct manager_fds fds = {theirs[CONTROL], theirs[NETD],   theirs[PROXYD],
                              theirs[SIGNERD], theirs[ZYGOTE], listener};
    must(manager_start(m, &fds) == 0);
    for (int i = 0; i < INIT; i++)
        hello(i);
    turn();
}

static void reap(void)
{
    while (nchildren > 0) {
        pid_t pid = children[--nchildren];
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manager m = {
        .loop = loop,
        .ids_dir = ids_dir,
        .host_resolvers = "",
        .network = {.evidence = EVIDENCE_STRICT, .mode = (unsigned)(size % 3) + NET_MODE_INTERCEPT}};
    char *no_env[] = {NULL};
    struct cursor c = cursor_of(data, size), bytes;
    uint8_t what;
    uint16_t n;
    must(secrets_load(no_env, &m.secrets) == 0);
    open_lines(&m);
    for (int i = 0; i < STEPS_MAX && cursor_u8(&c, &what) == 0 && cursor_be16(&c, &n) == 0; i++) {
        if (cursor_sub(&c, n < cursor_left(&c) ? n : cursor_left(&c), &bytes) < 0)
            break;
        step(what, bytes.p, cursor_left(&bytes));
    }
    for (int i = 0; i < LINES; i++)
        cleanup_closep(&ours[i]);
    turn();
    while (m.cells) /* a line's end has ended them; what still waits for a deadline is cut short here */
        manager_remove_cell(&m, m.cells);
    manager_done(&m);
    m.secrets = secrets_free(m.secrets);
    turn();
    reap();
    return 0;
}
