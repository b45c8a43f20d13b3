/* SPDX-License-Identifier: MIT */
/* Everything that can refuse a document before anything is made: the spec's rules, its id in use, limits this
 * host cannot enforce, names with nobody to resolve them. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "supervisor/cell.h"
#include "supervisor/spec/attach.h"
#include "supervisor/spec/parse.h"
#include "supervisor/spec/policy.h"
#include "supervisor/spec/resolv_conf.h"

#define LOCK_TRIES 64

/* One running cell per id: a locked file, so that a killed supervisor leaves no stale claim. The file is
 * removed by its last holder; who locked a removed file tries again. */
static int lock_id(struct cell *c)
{
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        _cleanup_close_ int fd =
            openat(c->m->ids_dir, c->id, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno == EWOULDBLOCK)
                continue; /* a cell; or, for microseconds, a suite that starts and looks for leftovers (ids.c)
                           */
            return -errno;
        }
        struct stat st;
        if (fstat(fd, &st) == 0 && st.st_nlink > 0) {
            c->id_lock = TAKE_FD(fd);
            return 0;
        }
    }
    return -EBUSY;
}

void cell_unlock_id(struct cell *c)
{
    if (c->id_lock < 0)
        return;
    (void)unlinkat(c->m->ids_dir, c->id, 0);
    close(c->id_lock);
    c->id_lock = -EBADF;
}

static void check_limits(struct cell *c)
{
    const struct spec_run *run = c->spec->run;
    if (!run)
        return;
    struct cgroup_limits l = {run->limits.memory_max_bytes, run->limits.cpu_quota_us,
                              run->limits.cpu_period_us, run->limits.pids_max};
    const char *missing = cgroup_missing(c->m->cgroup, &l);
    if (missing)
        violations_add(&c->violations, "spec.run.limits", "unenforceable",
                       "needs the cgroup v2 controller \"%s\", which this host or user does not have; run "
                       "`cellctl doctor`",
                       missing);
}

static int build_policy(struct cell *c)
{
    struct endpoint_addr host[RESOLV_CONF_NAMESERVERS];
    size_t n = resolv_conf_parse(str_of(c->m->host_resolvers), host);
    struct policy_host h = {host, n};
    int r = policy_of_spec(c->spec, &c->m->network, &h, &c->arena, &c->policy);
    if (r == POLICY_NO_RESOLVER || r == POLICY_NO_BOOTSTRAP)
        violations_add(&c->violations, "spec.authority.dnsAuthority.resolvers", "missing", "%s",
                       r == POLICY_NO_RESOLVER ? POLICY_NO_RESOLVER_TEXT : POLICY_NO_BOOTSTRAP_TEXT);
    return r < 0 ? r : 0;
}

int cell_check(struct cell *c, struct str document, const struct attachments *files)
{
    int r = spec_parse(document, &c->m->specs, &c->spec, &c->violations);
    if (r != SPEC_OK)
        return r;
    snprintf(c->id, sizeof(c->id), "%.*s", (int)c->spec->id.len, c->spec->id.p);
    r = lock_id(c);
    if (r == -EBUSY)
        violations_add(&c->violations, "spec.id", "busy",
                       "a cell with this id is running; use another id or wait for it");
    else if (r < 0)
        return r;
    r = spec_attach(c->spec, files, &c->violations);
    if (r < 0)
        return r;
    check_limits(c);
    r = build_policy(c);
    if (r < 0)
        return r;
    return c->violations.n > 0 ? SPEC_INVALID : SPEC_OK;
}
