/* SPDX-License-Identifier: MIT */
/* PID 1 of a cell and what it starts, end to end against a real zygote. This program is also the workload:
 * with PROBE as its first argument it tries what a workload must not be able to do and prints how the kernel
 * answered. As root everything runs a second time as an ordinary user. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <time.h>

#include "supervisor/cgroup.h"
#include "tests/unit/supervisor_rig.h"

#define PROBE "--probe"

/* ---- the workload ---- */

static void say(const char *what, long r)
{
    printf("%s %s\n", what, r < 0 ? strerrorname_np(errno) : "ok");
}

static void probe_sockets(void)
{
    say("tcp", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    say("udp6", socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    say("unix", socket(AF_UNIX, SOCK_SEQPACKET, 0));
    say("route", socket(AF_NETLINK, SOCK_RAW, 0));
    say("raw", socket(AF_INET, SOCK_RAW, 1));
    say("rdm", socket(AF_INET6, SOCK_RDM, 0));
    say("sock_packet", socket(AF_INET, SOCK_PACKET, 0));
    say("type0", socket(AF_INET, 0, 0));
    say("audit", socket(AF_NETLINK, SOCK_RAW, 9));
    for (int family = 0; family < 64; family++)
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6 && family != AF_NETLINK &&
            (socket(family, SOCK_STREAM, 0) >= 0 || errno != EAFNOSUPPORT ||
             socket(family, SOCK_DGRAM, 0) >= 0))
            printf("family %d got through\n", family);
    say("high bits", syscall(SYS_socket, 0x100000000L | AF_PACKET, SOCK_STREAM, 0));
    say("pair", socketpair(AF_TIPC, SOCK_STREAM, 0, (int[2]){0}));
}

static void probe_kernel(void)
{
    char stack[4096];

    say("io_uring", syscall(SYS_io_uring_setup, 1, NULL));
    say("bpf", syscall(SYS_bpf, 0, NULL, 0));
    say("userfaultfd", syscall(SYS_userfaultfd, 0));
    say("keyctl", syscall(SYS_keyctl, 0, 0, 0));
    say("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
    say("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    say("clone", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, stack + sizeof(stack), NULL, NULL, 0));
    say("unshare", unshare(CLONE_NEWUSER));
    say("unshare+", unshare(CLONE_NEWUSER | CLONE_NEWNET));
    say("clone3", syscall(SYS_clone3, NULL, 0));
    say("setns", syscall(SYS_setns, 0, 0));
    say("mount", syscall(SYS_mount, "x", "/tmp", "tmpfs", 0, NULL));
    say("chroot", chroot("/tmp"));
    say("tiocsti", ioctl(0, TIOCSTI, "x"));
    say("tiocsti high", syscall(SYS_ioctl, 0, 0x100000000L | TIOCSTI, "x"));
    say("tioclinux", ioctl(0, TIOCLINUX, "x"));
}

static void probe_pid1(void)
{
    struct rlimit l = {1, 1};
    struct sched_param p = {0};
    cpu_set_t cpus;
    siginfo_t forged = {.si_signo = SIGTERM, .si_code = SI_QUEUE};

    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    say("prlimit", prlimit(1, RLIMIT_NOFILE, &l, NULL));
    say("prlimit high", syscall(SYS_prlimit64, 0x100000001L, RLIMIT_NOFILE, &l, NULL));
    say("affinity", sched_setaffinity(1, sizeof(cpus), &cpus));
    say("scheduler", sched_setscheduler(1, SCHED_IDLE, &p));
    say("param", sched_setparam(1, &p));
    say("attr", syscall(SYS_sched_setattr, 1, NULL, 0));
    say("priority", setpriority(PRIO_PROCESS, 1, 19));
    say("priority group", setpriority(PRIO_PGRP, 1, 19));
    say("priority user", setpriority(PRIO_USER, 0, 19));
    say("ioprio", syscall(SYS_ioprio_set, 1, 1, 0));
    say("ioprio user", syscall(SYS_ioprio_set, 3, getuid(), 0));
    say("ptrace", ptrace(PTRACE_ATTACH, 1, NULL, NULL));
    say("environ", open("/proc/1/environ", O_RDONLY));
    say("mem", open("/proc/1/mem", O_RDWR));
    say("own priority", setpriority(PRIO_PROCESS, 0, 5));
    say("own limit", prlimit(0, RLIMIT_CORE, NULL, &l));
    kill(1, SIGKILL);
    kill(1, SIGSTOP);
    kill(1, SIGTERM);
    syscall(SYS_rt_sigqueueinfo, 1, SIGTERM, &forged); /* si_pid 0, as if from outside */
    for (int s = 1; s < 65; s++)
        kill(1, s);
    usleep(300000); /* longer than a grace period would be */
    printf("alive\n");
}

static void probe_status(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "Cap", 3) == 0 || strncmp(line, "NoNew", 5) == 0 ||
            strncmp(line, "Seccomp:", 8) == 0)
            fputs(line, stdout);
    if (f)
        fclose(f);
    printf("sid %d pgid %d ppid %d\n", getsid(0) == getpid(), getpgrp() == getpid(), getppid());
    for (int fd = 0; fd < 100; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("fd %d\n", fd);
    for (int what = 0; what < 3; what++) {
        const int limits[] = {RLIMIT_NOFILE, RLIMIT_CORE, RLIMIT_NPROC};
        struct rlimit l;
        if (getrlimit((unsigned)limits[what], &l) == 0)
            printf("limit %lu\n", (unsigned long)l.rlim_max);
    }
}

static void probe_loop(void)
{
    /* A storm of one kind, then one of another. */
    for (int i = 0; i < 5000; i++)
        (void)!socket(AF_PACKET, SOCK_RAW, 0);
    say("bpf", syscall(SYS_bpf, 0, NULL, 0));
}

static void probe_bomb(void)
{
    signal(SIGTERM, SIG_IGN);
    printf("forking\n");
    fflush(stdout);
    for (;;)
        (void)!fork();
}

static const struct probe {
    const char *name;
    void (*run)(void);
} probes[] = {{"sockets", probe_sockets}, {"kernel", probe_kernel}, {"pid1", probe_pid1},
              {"status", probe_status},   {"loop", probe_loop},     {"bomb", probe_bomb}};

static int probe_main(const char *name)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; i < ARRAY_LEN(probes); i++)
        if (strcmp(probes[i].name, name) == 0)
            probes[i].run();
    fflush(stdout);
    _exit(0);
}

/* ---- the tests ---- */

static struct suite suite;
static struct cell_run cell;
static struct str argv_[4], ro[1];
static char self[PATH_MAX];

static int setup(void **state)
{
    (void)state;
    cell_run_init(&cell, argv_, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cell_run_done(&cell);
    return 0;
}

static void set_argv(const char *a, const char *b, const char *c)
{
    argv_[0] = str_of(a);
    argv_[1] = str_of(b);
    argv_[2] = str_of(c);
    cell.launch.argv = (struct strs){argv_, c ? 3 : b ? 2 : 1};
}

static void set_probe(const char *name)
{
    ro[0] = str_of(self);
    cell.launch.read_only = (struct strs){ro, 1};
    set_argv(self, PROBE, name);
}

static void check_ran(int r)
{
    if (r < 0 || !cell.exited)
        fail_msg("%d: %s: %s; output: %s", r, cell.stage, cell.why, cell.text);
}

static void check_code(unsigned code)
{
    assert_true(cell.end.exit_code.set);
    assert_int_equal(cell.end.exit_code.v, code);
    assert_false(cell.end.signal.set);
}

static void check_signal(unsigned sig, bool timed_out)
{
    assert_true(cell.end.signal.set);
    assert_int_equal(cell.end.signal.v, sig);
    assert_false(cell.end.exit_code.set);
    assert_int_equal(cell.end.timed_out, timed_out);
}

static void exit_codes(void **state)
{
    (void)state;
    set_argv("sh", "-c", "echo out; echo err >&2; exit 42");
    check_ran(cell_run_all(&suite, &cell));
    assert_true(cell.started);
    check_code(42);
    assert_string_equal(cell.text, "out\nerr\n");
}

static void killed_by_signal(void **state)
{
    (void)state;
    set_argv("sh", "-c", "kill -USR1 $$");
    check_ran(cell_run_all(&suite, &cell));
    check_signal(SIGUSR1, false);
}

static void exec_failures(void **state)
{
    static const struct {
        const char *argv0;
        uint64_t error;
    } rows[] = {{"no-such-program", ENOENT}, {"/no/such", ENOENT},
                {"/etc/passwd", EACCES},     {"/usr", EACCES},
                {"/etc/passwd/x", ENOTDIR},  {"", 0}};
    (void)state;

    for (size_t i = 0; rows[i].error; i++) {
        teardown(NULL);
        setup(NULL);
        set_argv(rows[i].argv0, "arg", NULL);
        assert_int_equal(cell_run_all(&suite, &cell), 0);
        assert_true(cell.failed);
        assert_false(cell.started);
        assert_false(cell.exited);
        assert_string_equal(cell.stage, "exec");
        assert_int_equal(cell.error, rows[i].error);
        assert_non_null(strstr(cell.why, rows[i].argv0));
    }
}

static void environment(void **state)
{
    (void)state;
    setenv("LEAK", "host", 1);
    set_argv("env", NULL, NULL);
    check_ran(cell_run_all(&suite, &cell));
    assert_string_equal(cell.text, "PATH=/usr/bin:/bin:/usr/local/bin\n");
}

static void secrets(void **state)
{
    const struct init_secret ok[] = {{STR_LIT("TOKEN"), STR_LIT("s3 cret=\n")},
                                     {STR_LIT("EMPTY"), STR_LIT("")}};
    (void)state;

    set_argv("sh", "-c", "echo \"[$TOKEN][$EMPTY]\"; env | wc -l");
    assert_int_equal(cell_spawn(&suite, &cell), 0);
    assert_int_equal(cell_wait_ready(&cell), 0);
    for (size_t i = 0; i < ARRAY_LEN(ok); i++)
        assert_int_equal(line_send(&cell.line, MSG_INIT_SECRET, 0, &ok[i], NULL, 0), 0);
    assert_int_equal(cell_go(&cell), 0);
    check_ran(cell_wait_end(&cell));
    assert_string_equal(cell.text,
                        "[s3 cret=\n][]\n5\n"); /* PATH, TOKEN in two lines, EMPTY, the shell's PWD */
}

static void secrets_refused(void **state)
{
    static const struct init_secret bad[] = {{{"PATH", 4}, {"/x", 2}},
                                             {{"A=B", 3}, {"x", 1}},
                                             {{"1A", 2}, {"x", 1}},
                                             {{"", 0}, {"x", 1}},
                                             {{"Z", 1}, {"a\0b", 3}}};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        teardown(NULL);
        setup(NULL);
        set_argv("true", NULL, NULL);
        assert_int_equal(cell_spawn(&suite, &cell), 0);
        assert_int_equal(cell_wait_ready(&cell), 0);
        assert_int_equal(line_send(&cell.line, MSG_INIT_SECRET, 0, &bad[i], NULL, 0), 0);
        assert_int_equal(cell_wait_end(&cell), 0);
        assert_true(cell.failed);
        assert_string_equal(cell.stage, "secrets");
    }
}

static void rights_of_the_workload(void **state)
{
    (void)state;
    set_probe("status");
    check_ran(cell_run_all(&suite, &cell));
    assert_string_equal(cell.text,
                        "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
                        "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
                        "sid 1 pgid 1 ppid 1\nfd 0\nfd 1\nfd 2\nlimit 256\nlimit 1\nlimit 4096\n");
}

static bool was_denied(const char *what)
{
    for (size_t i = 0; i < cell.ndenied; i++)
        if (strcmp(cell.denied[i], what) == 0)
            return cell.denied_count[i] > 0;
    return false;
}

static void socket_families(void **state)
{
    (void)state;
    set_probe("sockets");
    check_ran(cell_run_all(&suite, &cell));
    assert_string_equal(cell.text,
                        "tcp ok\nudp6 ok\nunix ok\nroute ok\nraw EPERM\nrdm EPERM\nsock_packet EPERM\n"
                        "type0 EPERM\naudit EAFNOSUPPORT\nhigh bits EAFNOSUPPORT\npair EAFNOSUPPORT\n");
    assert_true(was_denied("socket AF_INET"));
    assert_true(was_denied("socket AF_INET6"));
    assert_true(was_denied("socket AF_NETLINK"));
}

static void kernel_interfaces(void **state)
{
    (void)state;
    set_probe("kernel");
    check_ran(cell_run_all(&suite, &cell));
    assert_string_equal(
        cell.text, "io_uring EPERM\nbpf EPERM\nuserfaultfd EPERM\nkeyctl EPERM\nadd_key EPERM\nperf EPERM\n"
                   "clone EPERM\nunshare EPERM\nunshare+ EPERM\nclone3 ENOSYS\nsetns EPERM\nmount EPERM\n"
                   "chroot EPERM\ntiocsti EPERM\ntiocsti high EPERM\ntioclinux EPERM\n");
    assert_true(was_denied("io_uring_setup"));
    assert_true(was_denied("unshare"));
    assert_true(was_denied("setns"));
    assert_true(was_denied("ioctl"));
}

static void pid1_is_out_of_reach(void **state)
{
    (void)state;
    cell.launch.grace_ms = 50;
    set_probe("pid1");
    check_ran(cell_run_all(&suite, &cell));
    check_code(0);
    assert_string_equal(
        cell.text, "prlimit EPERM\nprlimit high EPERM\naffinity EPERM\nscheduler EPERM\nparam EPERM\n"
                   "attr EPERM\npriority EPERM\npriority group EPERM\npriority user EPERM\nioprio EPERM\n"
                   "ioprio user EPERM\nptrace EPERM\nenviron ENOENT\nmem ENOENT\nown priority ok\n"
                   "own limit ok\nalive\n");
}

static void denials_are_few(void **state)
{
    uint64_t packets = 0;
    (void)state;

    set_probe("loop");
    check_ran(cell_run_all(&suite, &cell));
    assert_in_range(cell.ndenied, 2, 8);
    for (size_t i = 0; i < cell.ndenied; i++)
        packets += strcmp(cell.denied[i], "socket AF_PACKET") == 0 ? cell.denied_count[i] : 0;
    assert_int_equal(packets, 5000); /* none is lost */
    assert_true(was_denied("bpf"));
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void deadline(void **state)
{
    uint64_t begun = now_ms();
    (void)state;

    cell.launch.ttl_ms = 200;
    set_argv("sleep", "100", NULL);
    check_ran(cell_run_all(&suite, &cell));
    check_signal(SIGTERM, true);
    assert_in_range(now_ms() - begun, 190, 3000);
}

static void deadline_ignored(void **state)
{
    uint64_t begun = now_ms();
    (void)state;

    cell.launch.ttl_ms = 200;
    cell.launch.grace_ms = 300;
    set_argv("sh", "-c", "trap '' TERM; (trap '' TERM; sleep 100) & sleep 100; sleep 100");
    check_ran(cell_run_all(&suite, &cell));
    check_signal(SIGKILL, true);
    assert_in_range(now_ms() - begun, 490, 4000);
}

static void fork_bomb(void **state)
{
    (void)state;
    cell.launch.ttl_ms = 500;
    cell.launch.grace_ms = 200;
    set_probe("bomb");
    check_ran(cell_run_all(&suite, &cell));
    check_signal(SIGKILL, true);
}

/* The output ends with the cell, although the background process holds it. */
static void ends_with_its_argv_process(void **state)
{
    uint64_t begun = now_ms();
    (void)state;

    set_argv("sh", "-c", "sleep 100 & setsid sleep 100 & echo done");
    check_ran(cell_run_all(&suite, &cell));
    check_code(0);
    assert_string_equal(cell.text, "done\n");
    assert_in_range(now_ms() - begun, 0, 3000);
}

static void begin_sleeping(const char *script)
{
    set_argv("sh", "-c", script);
    assert_int_equal(cell_spawn(&suite, &cell), 0);
    assert_int_equal(cell_wait_ready(&cell), 0);
    assert_int_equal(cell_go(&cell), 0);
    while (!strstr(cell.text, "ready\n")) {
        ssize_t n = read(cell.out, cell.text + cell.len, sizeof(cell.text) - 1 - cell.len);
        assert_true(n > 0);
        cell.len += (size_t)n;
    }
}

static void signals_are_forwarded(void **state)
{
    struct init_signal s = {SIGINT};
    (void)state;

    begin_sleeping("trap 'echo int; exit 7' INT; echo ready; while :; do sleep 0.05; done");
    assert_int_equal(line_send(&cell.line, MSG_INIT_SIGNAL, 0, &s, NULL, 0), 0);
    check_ran(cell_wait_end(&cell));
    check_code(7);
    assert_string_equal(cell.text, "ready\nint\n");
}

static void kill_is_for_all(void **state)
{
    struct init_signal s = {SIGKILL};
    (void)state;

    begin_sleeping("echo ready; sleep 100");
    assert_int_equal(line_send(&cell.line, MSG_INIT_SIGNAL, 0, &s, NULL, 0), 0);
    check_ran(cell_wait_end(&cell));
    check_signal(SIGKILL, false);
}

static void terminate(void **state)
{
    struct empty none = {};
    (void)state;

    begin_sleeping("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done");
    assert_int_equal(line_send(&cell.line, MSG_INIT_TERMINATE, 0, &none, NULL, 0), 0);
    check_ran(cell_wait_end(&cell));
    check_code(9);
    assert_false(cell.end.timed_out);
}

static void supervisor_gone(void **state)
{
    struct pollfd p;
    (void)state;

    begin_sleeping("trap '' TERM INT HUP; echo ready; sleep 100");
    close(cell.line.sock);
    cell.line.sock = -EBADF;
    p = (struct pollfd){.fd = cell.pidfd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 2000), 1);
    cell_drain(&cell); /* nobody holds the pipe: every process is gone */
}

static void supervisor_gone_at_barrier(void **state)
{
    struct pollfd p;
    (void)state;

    set_argv("echo", "ran", NULL);
    assert_int_equal(cell_spawn(&suite, &cell), 0);
    assert_int_equal(cell_wait_ready(&cell), 0);
    close(cell.line.sock);
    cell.line.sock = -EBADF;
    p = (struct pollfd){.fd = cell.pidfd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 2000), 1);
    cell_drain(&cell);
    assert_int_equal(cell.len, 0);
}

/* What the table does not allow in this state ends the cell, before anything of it ran. */
static void out_of_order(void **state)
{
    struct init_signal s = {SIGINT};
    (void)state;

    set_argv("echo", "ran", NULL);
    assert_int_equal(cell_spawn(&suite, &cell), 0);
    assert_int_equal(cell_wait_ready(&cell), 0);
    assert_int_equal(line_send(&cell.line, MSG_INIT_SIGNAL, 0, &s, NULL, 0), 0);
    assert_int_equal(cell_wait_end(&cell), 0);
    assert_false(cell.exited);
    assert_int_equal(cell.len, 0);
}

static void uid_map(void **state)
{
    char want[64];
    (void)state;

    set_argv("id", "-u", NULL);
    check_ran(cell_run_all(&suite, &cell));
    snprintf(want, sizeof(want), "%" PRIu64 "\n", cell.inside);
    assert_string_equal(cell.text, want);
    assert_int_not_equal(cell.host, 0);
    if (geteuid() != 0)
        assert_int_equal(cell.host, geteuid());
}

static void many_cells_have_their_own_uids(void **state)
{
    static struct cell_run more[4];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        cell_run_init(&more[i], argv_, 1);
        argv_[0] = STR_LIT("true");
        assert_int_equal(cell_spawn(&suite, &more[i]), 0);
        assert_int_equal(cell_wait_ready(&more[i]), 0);
        assert_int_not_equal(more[i].host, 0);
        for (size_t k = 0; k < i; k++)
            if (geteuid() == 0)
                assert_int_not_equal(more[i].host, more[k].host);
    }
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        assert_int_equal(cell_go(&more[i]), 0);
        assert_int_equal(cell_wait_end(&more[i]), 0);
        assert_true(more[i].exited);
        cell_run_done(&more[i]);
    }
}

static void bad_spawn_requests(void **state)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char sha[32] = "";
    struct zygote_spawn_req req = {STR_LIT("r"), {sha, 32}};
    (void)state;

    assert_int_equal(line_send(&suite.line, MSG_ZYGOTE_SPAWN_REQ, 0, &req,
                               (const int[]){null, null, null, null, null, null}, 6),
                     0);
    do
        assert_int_equal(line_recv(&suite.line, &suite.msg, 5000), 0);
    while (suite.msg.msg.row->id == MSG_ZYGOTE_REAPED);
    assert_int_equal(suite.msg.msg.row->id, MSG_ERROR);
    assert_int_equal(((const struct error *)suite.msg.msg.rec)->fail, FAIL_BAD_FD);
    close(null);
    /* And it still serves. */
    set_argv("true", NULL, NULL);
    check_ran(cell_run_all(&suite, &cell));
}

static void in_a_cgroup(void **state)
{
    const struct cgroup_limits none = {.cpu_period_us = 100000};
    struct cgroup_cell *leaf = NULL;
    struct cgroup *c = NULL;
    struct ev_usage usage;
    (void)state;

    if (cgroup_open(0, &c, NULL) < 0)
        return; /* said by the cgroup's own test */
    assert_int_equal(cgroup_cell_new(c, "cell", &none, &leaf), 0);
    cell.cgroup = cgroup_cell_dirfd(leaf);
    begin_sleeping("echo ready; sleep 100");
    assert_int_equal(cgroup_cell_populated(leaf), 1);
    assert_int_equal(cgroup_cell_kill(leaf), 0);
    assert_int_equal(cell_wait_end(&cell), 0);
    assert_false(cell.exited);
    cgroup_cell_usage(leaf, &usage);
    assert_true(usage.cpu_micros.set && usage.cpu_micros.v > 0);
    for (int i = 0; i < 200 && cgroup_cell_populated(leaf) == 1; i++)
        usleep(10000);
    assert_int_equal(cgroup_cell_remove(leaf), 0);
    cgroup_cell_free(leaf);
    cgroup_free(c);
}

/* This program where every user may reach it: the tree may lie below a home directory. */
static int copy_self(void)
{
    _cleanup_close_ int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = -EBADF;
    ssize_t n;

    snprintf(self, sizeof(self), "/tmp/cellos-probe-%d", getpid());
    to = open(self, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (from < 0 || to < 0)
        return -errno;
    while ((n = sendfile(to, from, NULL, 1 << 30)) > 0)
        ;
    return n < 0 || fchmod(to, 0755) < 0 ? -errno : 0;
}

static int group_setup(void **state)
{
    int r = copy_self();
    (void)state;

    if (r < 0 || suite_start(&suite) < 0) {
        print_error("the zygote does not start: %s\n", suite.fault.text);
        return -1;
    }
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    suite_stop(&suite);
    unlink(self);
    return 0;
}

#define LIVE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(exit_codes),
        LIVE(killed_by_signal),
        LIVE(exec_failures),
        LIVE(environment),
        LIVE(secrets),
        LIVE(secrets_refused),
        LIVE(rights_of_the_workload),
        LIVE(socket_families),
        LIVE(kernel_interfaces),
        LIVE(pid1_is_out_of_reach),
        LIVE(denials_are_few),
        LIVE(deadline),
        LIVE(deadline_ignored),
        LIVE(fork_bomb),
        LIVE(ends_with_its_argv_process),
        LIVE(signals_are_forwarded),
        LIVE(kill_is_for_all),
        LIVE(terminate),
        LIVE(supervisor_gone),
        LIVE(supervisor_gone_at_barrier),
        LIVE(out_of_order),
        LIVE(uid_map),
        LIVE(many_cells_have_their_own_uids),
        LIVE(bad_spawn_requests),
        LIVE(in_a_cgroup),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], ZYGOTE_ARG) == 0)
        return zygote_main(argc, argv);
    if (argc > 2 && strcmp(argv[1], PROBE) == 0)
        return probe_main(argv[2]);
    return rig_as_both(run_all);
}
