/* SPDX-License-Identifier: MIT */
#include "common/priv/seccomp.h"

#include <asm/termbits.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

/* The call that proves the filter: a harmless query if the filter were missing, and no kernel answers it
 * ENOANO. */
#define SECCOMP_PROOF_CALL  SCMP_SYS(personality)
#define SECCOMP_PROOF_ERRNO ENOANO

/* Answered with an error instead of death, because a C library tries them on its own and copes with a
 * refusal. */
static const struct seccomp_soft {
    int error;
    struct role_syscall row;
} seccomp_soft[] = {
    {SECCOMP_PROOF_ERRNO, {.nr = SECCOMP_PROOF_CALL, .why = "seccomp_prove()"}},
    {ENOSYS, SECCOMP_ROW(clone3, "its flags are behind a pointer; libc falls back to clone")},
    {EACCES, SECCOMP_ROW(openat, "libc: time zone, locale, processor count, OpenSSL's configuration")},
    {EACCES, SECCOMP_ROW(open, "as openat")},
    {ENOTTY, SECCOMP_ROW1(ioctl, "stdio: is this a terminal", SECCOMP_IS(1, TCGETS))},
    {ENOTTY, SECCOMP_ROW1(ioctl, "stdio of newer libcs: is this a terminal", SECCOMP_IS(1, TCGETS2))},
};

typedef void *seccomp_ctx; /* scmp_filter_ctx hides that it is a pointer; the cleanup below needs one */

static void seccomp_ctx_freep(seccomp_ctx *ctx)
{
    if (*ctx)
        seccomp_release(*ctx);
}

bool seccomp_lists(const struct role *role, int nr)
{
    for (size_t i = 0; i < role->nsyscalls; i++)
        if (role->syscalls[i].nr == nr)
            return true;
    return false;
}

static bool seccomp_same_args(const struct role_syscall *a, const struct role_syscall *b)
{
    if (a->nargs != b->nargs)
        return false;
    for (unsigned i = 0; i < a->nargs; i++)
        if (a->args[i].arg != b->args[i].arg || a->args[i].op != b->args[i].op ||
            a->args[i].datum_a != b->args[i].datum_a || a->args[i].datum_b != b->args[i].datum_b)
            return false;
    return true;
}

/* Two rows for one call must both be narrow, and differ. */
static bool seccomp_clash(const struct role_syscall *a, const struct role_syscall *b)
{
    return a->nr == b->nr && (a->nargs == 0 || b->nargs == 0 || seccomp_same_args(a, b));
}

static bool seccomp_clone_is_thread(const struct role_syscall *s)
{
    const scmp_datum_t thread = 0x10000; /* CLONE_THREAD */

    for (unsigned i = 0; i < s->nargs; i++)
        if (s->args[i].arg == 0 && s->args[i].op == SCMP_CMP_MASKED_EQ && (s->args[i].datum_a & thread) &&
            (s->args[i].datum_b & thread))
            return true;
    return false;
}

static bool seccomp_row_good(const struct role *role, const struct role_syscall *s)
{
    if (s->nr == __NR_SCMP_ERROR || !s->why || !*s->why || s->nargs > ARRAY_LEN(s->args))
        return false;
    if (s->nr == SECCOMP_PROOF_CALL || s->nr == SCMP_SYS(clone3))
        return false;
    if (role->may_fork)
        return true;
    if (s->nr == SCMP_SYS(fork) || s->nr == SCMP_SYS(vfork) || s->nr == SCMP_SYS(execve) ||
        s->nr == SCMP_SYS(execveat))
        return false;
    return s->nr != SCMP_SYS(clone) || seccomp_clone_is_thread(s);
}

int seccomp_check(const struct role *role, const struct role_syscall **ret_bad)
{
    size_t nshared;
    const struct role_syscall *shared = seccomp_shared(&nshared);

    for (size_t i = 0; i < role->nsyscalls; i++) {
        const struct role_syscall *s = &role->syscalls[i];
        bool good = seccomp_row_good(role, s);
        for (size_t k = 0; good && k < nshared; k++)
            good = !seccomp_clash(s, &shared[k]);
        for (size_t k = 0; good && k < i; k++)
            good = !seccomp_clash(s, &role->syscalls[k]);
        if (!good) {
            if (ret_bad)
                *ret_bad = s;
            return -EINVAL;
        }
    }
    return 0;
}

static int seccomp_add(seccomp_ctx ctx, const struct role_syscall *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rows[i].nr, rows[i].nargs, rows[i].args);
        if (r < 0)
            return r;
    }
    return 0;
}

static int seccomp_add_soft(seccomp_ctx ctx, const struct role *role)
{
    for (size_t i = 0; i < ARRAY_LEN(seccomp_soft); i++) {
        const struct role_syscall *s = &seccomp_soft[i].row;
        int r;
        if (s->nargs == 0 && seccomp_lists(role, s->nr)) /* the role has the call, or a narrower part of it */
            continue;
        r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO((uint32_t)seccomp_soft[i].error), s->nr, s->nargs,
                                   s->args);
        if (r < 0)
            return r;
    }
    return 0;
}

static int seccomp_set_attributes(seccomp_ctx ctx)
{
    /* libseccomp's own choice for a foreign ABI ends only the thread. */
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

    if (r < 0)
        return r;
    /* The drop has set it and the audit has seen it; libseccomp need not. */
    r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
    if (r < 0)
        return r;
    return seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE,
                            2); /* a binary tree: a call costs 7 steps, not 80 */
}

static int seccomp_prove(void)
{
    long r = syscall(SECCOMP_PROOF_CALL, 0xffffffffUL);

    return r == -1 && errno == SECCOMP_PROOF_ERRNO ? 0 : -ENOTRECOVERABLE;
}

int seccomp_confine(const struct role *role)
{
    _cleanup_(seccomp_ctx_freep) seccomp_ctx ctx = NULL;
    size_t nshared;
    const struct role_syscall *shared = seccomp_shared(&nshared);
    int r = seccomp_check(role, /* ret_bad= */ NULL);

    if (r < 0)
        return r;
    ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!ctx)
        return -ENOMEM;
    r = seccomp_set_attributes(ctx);
    if (r < 0)
        return r;
    r = seccomp_add(ctx, shared, nshared);
    if (r < 0)
        return r;
    r = seccomp_add(ctx, role->syscalls, role->nsyscalls);
    if (r < 0)
        return r;
    r = seccomp_add_soft(ctx, role);
    if (r < 0)
        return r;
    r = seccomp_load(ctx);
    if (r < 0)
        return r;
    return seccomp_prove();
}
