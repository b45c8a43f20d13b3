/* SPDX-License-Identifier: MIT */
#include "common/priv/landlock.h"

#include <linux/landlock.h>
#include <sys/syscall.h>

/* struct landlock_ruleset_attr as of ABI 6. An older kernel takes it as long as the fields it lacks are 0. */
struct landlock_ruleset {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
};

#define LANDLOCK_NET_BIND_TCP_BIT    (1ULL << 0)
#define LANDLOCK_NET_CONNECT_TCP_BIT (1ULL << 1)
#define LANDLOCK_SCOPE_ABSTRACT_BIT  (1ULL << 0)
#define LANDLOCK_SCOPE_SIGNAL_BIT    (1ULL << 1)

int landlock_abi(void)
{
    long r = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return r < 0 ? 0 : r < LANDLOCK_ABI_USED ? (int)r : LANDLOCK_ABI_USED;
}

static uint64_t landlock_fs_rights(int abi)
{
    static const unsigned bits[] = {0, 13, 14, 15, 15, 16}; /* rights known by ABI; later ones added none */
    size_t i = abi < (int)ARRAY_LEN(bits) ? (size_t)abi : ARRAY_LEN(bits) - 1;

    return (1ULL << bits[i]) - 1;
}

static struct landlock_ruleset landlock_rules(int abi, unsigned keep)
{
    struct landlock_ruleset rules = {.fs = landlock_fs_rights(abi)};

    if (abi >= 4 && !(keep & LANDLOCK_KEEP_TCP_BIND))
        rules.net |= LANDLOCK_NET_BIND_TCP_BIT;
    if (abi >= 4 && !(keep & LANDLOCK_KEEP_TCP_CONNECT))
        rules.net |= LANDLOCK_NET_CONNECT_TCP_BIT;
    if (abi >= 6 && !(keep & LANDLOCK_KEEP_ABSTRACT))
        rules.scoped |= LANDLOCK_SCOPE_ABSTRACT_BIT;
    if (abi >= 6 && !(keep & LANDLOCK_KEEP_SIGNAL))
        rules.scoped |= LANDLOCK_SCOPE_SIGNAL_BIT;
    return rules;
}

static int landlock_allow(int ruleset, const struct role_path *p, uint64_t handled)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = p->access & handled, .parent_fd = p->fd};

    if (rule.allowed_access == 0)
        return 0;
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return -errno;
    return 0;
}

int landlock_confine(const struct role_path *paths, size_t n, unsigned keep)
{
    int abi = landlock_abi();
    struct landlock_ruleset rules = landlock_rules(abi, keep);
    _cleanup_close_ int ruleset = -EBADF;

    if (abi == 0)
        return 0;
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0); /* CLOEXEC by itself */
    if (ruleset < 0)
        return -errno;
    for (size_t i = 0; i < n; i++) {
        int r = landlock_allow(ruleset, &paths[i], rules.fs);
        if (r < 0)
            return r;
    }
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return -errno;
    return abi;
}
