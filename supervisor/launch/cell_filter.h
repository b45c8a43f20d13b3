/* SPDX-License-Identifier: MIT */
/* The system call filters of workloads (seccomp(2)): tables, compiled once by the zygote with libseccomp,
 * loaded in each cell. The core filter is always there; baseline, or what a spec gives instead, only stacks
 * on it (decision 19). */
#pragma once

#include <linux/filter.h>
#include <seccomp.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define CELL_FILTER_INSNS_MAX                                                                                \
    32768u /* BPF_MAXINSNS times eight: what the kernel takes for a chain of filters */

struct cell_filter {
    struct sock_filter *insns; /* owned */
    size_t n;
};

/* System calls that share a reason. */
struct filter_group {
    const char *why;
    uint32_t action;  /* SCMP_ACT_* */
    const int *calls; /* SCMP_SYS(x) */
    size_t n;
};

/* One system call with some arguments. */
struct filter_row {
    const char *why;
    uint32_t action;
    int call;
    unsigned nargs;
    struct scmp_arg_cmp args[3];
};

#define FILTER_CALLS(...) (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int)

struct filter_table {
    uint32_t fallback; /* for calls that no entry names; foreign ABIs are always killed */
    const struct filter_group *groups;
    size_t ngroups;
    const struct filter_row *rows;
    size_t nrows;
};

/* Denied calls come to a listener in cell init (seccomp_unotify(2)); clone3 is answered ENOSYS. Everything
 * else passes. */
extern const struct filter_table core_filter;

/* An allow list of what ordinary programs need; dangerous calls get EPERM, unknown ones ENOSYS. Lets pass
 * what core denies, or core could not report it. */
extern const struct filter_table baseline_filter;

/* An allow list for cell init itself once the workload runs; anything else ends it, and with it the cell. */
extern const struct filter_table init_filter;

/* What core_filter's listener answers to this call: a positive errno. */
int core_filter_errno(int call, const uint64_t args[6]);

/* The name of an address family, e.g. "AF_PACKET", or NULL. */
const char *core_filter_family(int family);

int cell_filter_build(const struct filter_table *t, struct cell_filter *ret) MUST_CHECK;
void cell_filter_done(struct cell_filter *f);

/* Loads it for the calling thread and all it starts; no_new_privs must be set. 0, or with listener the fd
 * that receives the notifications (owned, CLOEXEC); -errno. */
int cell_filter_load(const struct cell_filter *f, bool listener) MUST_CHECK;
