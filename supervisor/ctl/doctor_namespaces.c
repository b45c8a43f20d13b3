/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/base/num.h"
#include "supervisor/ctl/doctor.h"

static void missing(struct doctor_result *ret, int err, const char *cost, const char *mend)
{
    ret->status = DOCTOR_MISSING;
    (void)snprintf(ret->detail, sizeof(ret->detail), "%s", strerrordesc_np(-err));
    ret->cost = cost;
    (void)snprintf(ret->mend, sizeof(ret->mend), "%s", mend);
}

static void good(struct doctor_result *ret, const char *detail)
{
    (void)snprintf(ret->detail, sizeof(ret->detail), "%s", detail);
}

/* ---- user namespaces ---- */

/* The number in a sysctl file, or -1 when there is no such file. */
static long sysctl_value(const char *path)
{
    char text[32];
    uint64_t v;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, sizeof(text));
    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (n <= 0 || num_parse_u64((struct str){text, (size_t)n}, 0, INT32_MAX, &v) < 0)
        return -1;
    return (long)v;
}

static const char *userns_remedy(void)
{
    if (sysctl_value("/proc/sys/kernel/unprivileged_userns_clone") == 0)
        return "sudo sysctl -w kernel.unprivileged_userns_clone=1";
    if (sysctl_value("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1)
        return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
    if (sysctl_value("/proc/sys/user/max_user_namespaces") == 0)
        return "sudo sysctl -w user.max_user_namespaces=15000";
    return "leave the container, or run it with a seccomp profile that allows user namespaces";
}

static int try_nested(void *arg)
{
    (void)arg;
    int r = doctor_enter_userns(CLONE_NEWUSER);
    if (r < 0)
        return r;
    return unshare(CLONE_NEWUSER) < 0 ? -errno : 0;
}

void doctor_userns(struct doctor_result *ret)
{
    int r = doctor_in_child(try_nested, NULL);
    if (r < 0)
        missing(ret, r, "no cell can be made", userns_remedy());
    else
        good(ret, "creatable and nestable by this user");
}

/* ---- network ---- */

static int loopback_up(void)
{
    struct ifreq req = {.ifr_name = "lo"};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &req) < 0)
        return -errno;
    req.ifr_flags = (short)(req.ifr_flags | IFF_UP);
    return ioctl(fd, SIOCSIFFLAGS, &req) < 0 ? -errno : 0;
}

static int try_netns(void *arg)
{
    (void)arg;
    int r = doctor_enter_userns(CLONE_NEWUSER | CLONE_NEWNET);
    return r < 0 ? r : loopback_up();
}

void doctor_netns(struct doctor_result *ret)
{
    int r = doctor_in_child(try_netns, NULL);
    if (r < 0)
        missing(ret, r, "a cell has no network of its own, so none is started",
                r == -ENOSPC ? "sudo sysctl -w user.max_net_namespaces=15000"
                             : "make user namespaces work first (above)");
    else
        good(ret, "made, loopback up");
}

static int try_nft(void *arg)
{
    int r = doctor_enter_userns(CLONE_NEWUSER | CLONE_NEWNET);
    return r < 0 ? r : doctor_nft_try(*(const enum doctor_nft *)arg);
}

void doctor_nft(struct doctor_result *ret)
{
    enum doctor_nft what = DOCTOR_NFT_TABLE;
    int r = doctor_in_child(try_nft, &what);
    if (r < 0)
        missing(ret, r, "the network of a cell cannot be filtered, so none is started",
                "sudo modprobe nf_tables");
    else
        good(ret, "table and chain committed in a fresh network namespace");
}

void doctor_tproxy(struct doctor_result *ret)
{
    enum doctor_nft tproxy = DOCTOR_NFT_TPROXY, sock = DOCTOR_NFT_SOCKET;
    int r = doctor_in_child(try_nft, &tproxy);
    if (r == 0)
        r = doctor_in_child(try_nft, &sock);
    if (r < 0)
        missing(ret, r, "connections of a cell cannot be intercepted, so none is started",
                "sudo modprobe -a nft_tproxy nft_socket");
    else
        good(ret, "tproxy and socket expressions committed");
}

static int try_flows(void *arg)
{
    (void)arg;
    int r = doctor_enter_userns(CLONE_NEWUSER | CLONE_NEWNET);
    return r < 0 ? r : doctor_nft_try_flows();
}

/* Rules and counters do without it. */
void doctor_flow_log(struct doctor_result *ret)
{
    enum doctor_nft log = DOCTOR_NFT_LOG;
    int r = doctor_in_child(try_nft, &log);
    if (r == 0)
        r = doctor_in_child(try_flows, NULL);
    if (r < 0)
        missing(ret, r, "packets and flows of a cell are counted, but have no events of their own",
                "sudo modprobe -a nft_log nft_ct nft_limit nfnetlink_log nf_conntrack_netlink");
    else
        good(ret, "log, ct and limit expressions committed, ctnetlink answers");
}

/* ---- mounts ---- */

static int private_tmpfs(void)
{
    int r = doctor_enter_userns(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET);
    if (r < 0)
        return r;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m") < 0 || chdir("/tmp") < 0)
        return -errno;
    return 0;
}

static int try_overlay(void *arg)
{
    (void)arg;
    int r = private_tmpfs();
    if (r < 0)
        return r;
    if (mkdir("up", 0700) < 0 || mkdir("work", 0700) < 0 || mkdir("all", 0700) < 0)
        return -errno;
    if (mount("overlay", "all", "overlay", 0, "lowerdir=/etc,upperdir=up,workdir=work,userxattr") < 0)
        return -errno;
    _cleanup_close_ int fd = open("all/cellos-doctor", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : 0;
}

void doctor_overlay(struct doctor_result *ret)
{
    int r = doctor_in_child(try_overlay, NULL);
    if (r < 0)
        missing(ret, r, "a cell cannot get its own /etc (resolv.conf, hosts)", "sudo modprobe overlay");
    else
        good(ret, "mounted over /etc in a user namespace");
}

/* A new process of the new pid namespace mounts its /proc: refused where parts of the outer /proc are
 * over-mounted. */
static int mount_proc(void)
{
    if (mkdir("proc", 0700) < 0 ||
        mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2") < 0)
        return errno;
    return 0;
}

static int try_proc(void *arg)
{
    (void)arg;
    int status, r = private_tmpfs();
    if (r < 0)
        return r;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(mount_proc());
    if (waitpid(pid, &status, 0) < 0)
        return -errno;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

void doctor_proc(struct doctor_result *ret)
{
    int r = doctor_in_child(try_proc, NULL);
    if (r < 0)
        missing(ret, r, "a cell cannot have a /proc of its own processes only",
                "leave the container, or run it with an unmasked /proc (podman: --security-opt unmask=ALL)");
    else
        good(ret, "mounted with hidepid=2 in a new pid namespace");
}
