/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/cell_filter.h"

#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

typedef void *filter_ctx; /* scmp_filter_ctx hides that it is a pointer; the cleanup below needs one */

static void cell_filter_releasep(filter_ctx *ctx)
{
    if (*ctx)
        seccomp_release(*ctx);
}

static int cell_filter_add(filter_ctx ctx, const struct filter_table *t)
{
    for (size_t i = 0; i < t->nrows; i++) {
        const struct filter_row *row = &t->rows[i];
        int r = seccomp_rule_add_array(ctx, row->action, row->call, row->nargs, row->args);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < t->ngroups; i++)
        for (size_t k = 0; k < t->groups[i].n; k++) {
            int r = seccomp_rule_add_array(ctx, t->groups[i].action, t->groups[i].calls[k], 0, NULL);
            if (r < 0)
                return r;
        }
    return 0;
}

/* libseccomp 2.5 gives the program to a file only. */
static int cell_filter_export(filter_ctx ctx, struct cell_filter *ret)
{
    _cleanup_close_ int fd = memfd_create("cell-filter", MFD_CLOEXEC);
    _cleanup_free_ struct sock_filter *insns = NULL;
    struct stat st;
    int r;

    if (fd < 0)
        return -errno;
    r = seccomp_export_bpf(ctx, fd);
    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size <= 0 || (size_t)st.st_size > CELL_FILTER_INSNS_MAX * sizeof(*insns))
        return -EFBIG;
    insns = malloc((size_t)st.st_size);
    if (!insns)
        return -ENOMEM;
    if (pread(fd, insns, (size_t)st.st_size, 0) != st.st_size)
        return -EIO;
    *ret = (struct cell_filter){TAKE_PTR(insns), (size_t)st.st_size / sizeof(*insns)};
    return 0;
}

int cell_filter_build(const struct filter_table *t, struct cell_filter *ret)
{
    _cleanup_(cell_filter_releasep) filter_ctx ctx = seccomp_init(t->fallback);
    int r;

    if (!ctx)
        return -ENOMEM;
    r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0) /* a binary tree: calls whose arguments matter are looked up on every call */
        r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        r = cell_filter_add(ctx, t);
    return r < 0 ? r : cell_filter_export(ctx, ret);
}

void cell_filter_done(struct cell_filter *f)
{
    free(f->insns);
    *f = (struct cell_filter){0};
}

int cell_filter_load(const struct cell_filter *f, bool listener)
{
    struct sock_fprog prog = {.len = (unsigned short)f->n, .filter = f->insns};
    long r;

    if (f->n == 0 || f->n > UINT16_MAX)
        return -EINVAL;
    r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, listener ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0, &prog);
    return r < 0 ? -errno : (int)r;
}
