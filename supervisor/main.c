/* SPDX-License-Identifier: MIT */
/* The supervisor: takes cell specs, runs their lifecycle, tells the others what to do.
 *
 * It may: nothing as far as the kernel is concerned. No capability, no network, no file but the id locks and
 * the cgroups of its cells; no process can be started once the zygote is forked. It may be asked by: cellctl
 * on the control line. It asks zygote, netd, proxyd and signerd, each on a line of its own. It does not
 * trust: the document it is given; the words of a cell's PID 1 beyond that cell; that any sibling lives. */
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/resource.h>

#include "common/base/io.h"
#include "common/base/log.h"
#include "common/daemon/daemon.h"
#include "supervisor/launch/zygote.h"
#include "supervisor/manager.h"
#include "supervisor/options.h"
#include "supervisor/role.h"
#include "supervisor/spec/resolv_conf.h"

/* What is needed of the host is read now: after the sandbox there is no file system any more. */
static int read_host(struct manager *m, struct buf *resolv_conf)
{
    buf_init(resolv_conf, RESOLV_CONF_MAX);
    _cleanup_close_ int fd = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && io_read_to_end(fd, resolv_conf) < 0)
        buf_clear(resolv_conf);
    const char *text = buf_cstr(resolv_conf);
    m->host_resolvers = text ? text : "";
    struct rlimit nofile;
    if (getrlimit(RLIMIT_NOFILE, &nofile) < 0)
        return -errno;
    rlim_t soft = nofile.rlim_max < supervisor_role.nofile ? nofile.rlim_max : supervisor_role.nofile;
    m->workload_nofile = soft / 4;
    return secrets_load(environ, &m->secrets);
}

/* An ordinary user's groups cannot be dropped: said in lifecycle.started (decisions 17). */
static void name_groups(struct manager *m, char *dst, size_t cap)
{
    gid_t groups[64];
    int n = getgroups(ARRAY_LEN(groups), groups);
    size_t len = 0;
    for (int i = 0; i < n && len + 12 < cap; i++)
        if (groups[i] != getegid())
            len += (size_t)snprintf(dst + len, cap - len, "%s%u", len ? " " : "", groups[i]);
    m->groups = geteuid() != 0 && len > 0 ? dst : NULL;
}

static int confine(const struct daemon *d, const struct manager *m, int zygote, int zygote_pidfd)
{
    int keep[DAEMON_KEEP_MAX];
    size_t n = 0;
    keep[n++] = zygote;
    keep[n++] = zygote_pidfd;
    int cgroup = m->cgroup ? cgroup_dirfd(m->cgroup) : -EBADF;
    if (cgroup >= 0) {
        keep[n++] = cgroup;
        keep[n++] = cgroup_parent_dirfd(m->cgroup);
    }
    n += secrets_fds(m->secrets, keep + n, ARRAY_LEN(keep) - n);
    struct role_path paths[3] = {{d->fds[SUPERVISOR_FD_IDS], SUPERVISOR_IDS_ACCESS}};
    if (cgroup >= 0) {
        paths[1] = (struct role_path){cgroup, SUPERVISOR_CGROUP_ACCESS};
        paths[2] = (struct role_path){cgroup_parent_dirfd(m->cgroup), LANDLOCK_ACCESS_FS_REMOVE_DIR};
    }
    return daemon_confine(d, keep, n, paths, cgroup >= 0 ? 3 : 1);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], ZYGOTE_ARG) == 0)
        return zygote_main(argc, argv);
    struct daemon d;
    _cleanup_(options_done) struct options o = {0};
    struct fault fault = {};
    int zygote, zygote_pidfd;
    if (daemon_begin(&supervisor_role, &argc, argv, &d) < 0 || options_parse(argc, argv, &o) < 0)
        return EXIT_FAILURE;
    struct zygote_config zc = {d.fds[SUPERVISOR_FD_LOCKS], o.private_paths, o.nprivate};
    int r = zygote_start(&zc, &zygote, &zygote_pidfd, &fault);
    if (r < 0) {
        log_error("%s", fault.text);
        return EXIT_FAILURE;
    }
    char groups[256];
    struct ids_residue ids = {.n = 0};
    _cleanup_(buf_done) struct buf resolv_conf = {0};
    struct manager m = {
        .ids_dir = d.fds[SUPERVISOR_FD_IDS],
        .specs = {.paths = o.private_paths, .npaths = o.nprivate, .metadata = o.config->network.metadata},
        .network = o.config->network};
    m.ids = &ids;
    ids_sweep(m.ids_dir, &ids);
    name_groups(&m, groups, sizeof(groups));
    r = read_host(&m, &resolv_conf);
    if (r < 0)
        return log_errno(r, "reading what the host offers") < 0 ? EXIT_FAILURE : 0;
    if (cgroup_open(d.mode == ROLE_EMBEDDED ? getppid() : 0, &m.cgroup, &fault) < 0)
        log_debug("%s", fault.text);
    else
        cgroup_sweep(m.cgroup);
    if (confine(&d, &m, zygote, zygote_pidfd) < 0)
        return EXIT_FAILURE;
    m.loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    struct manager_fds fds = {d.fds[SUPERVISOR_FD_CONTROL],
                              d.fds[SUPERVISOR_FD_NETD],
                              d.fds[SUPERVISOR_FD_PROXYD],
                              d.fds[SUPERVISOR_FD_SIGNERD],
                              zygote,
                              d.fds[SUPERVISOR_FD_OPERATORS]};
    if (!m.loop || manager_start(&m, &fds) < 0 || daemon_ready(&d) < 0)
        return EXIT_FAILURE;
    ev_run(m.loop, 0);
    manager_done(&m);
    m.cgroup = cgroup_free(m.cgroup);
    m.secrets = secrets_free(m.secrets);
    return m.exit_status;
}
