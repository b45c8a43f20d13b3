/* SPDX-License-Identifier: MIT */
#include "common/priv/caps.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

int caps_get(struct caps *ret)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {0};

    if (syscall(SYS_capget, &h, d) < 0)
        return -errno;
    ret->effective = d[0].effective | (uint64_t)d[1].effective << 32;
    ret->permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
    ret->inheritable = d[0].inheritable | (uint64_t)d[1].inheritable << 32;
    return 0;
}

int caps_set(const struct caps *c)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {
        {(uint32_t)c->effective, (uint32_t)c->permitted, (uint32_t)c->inheritable},
        {(uint32_t)(c->effective >> 32), (uint32_t)(c->permitted >> 32), (uint32_t)(c->inheritable >> 32)},
    };

    return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

uint64_t caps_known(void)
{
    uint64_t known = 0;

    for (int c = 0; c < 64 && prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
        known |= CAPS_BIT(c);
    return known;
}

uint64_t caps_bounding(void)
{
    uint64_t set = 0;

    for (int c = 0; c < 64; c++)
        if (prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 1)
            set |= CAPS_BIT(c);
    return set;
}

uint64_t caps_ambient(void)
{
    uint64_t set = 0;

    for (int c = 0; c < 64; c++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == 1)
            set |= CAPS_BIT(c);
    return set;
}

int caps_bound(uint64_t keep)
{
    uint64_t drop = caps_bounding() & ~keep;

    for (int c = 0; c < 64; c++)
        if ((drop & CAPS_BIT(c)) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
            return -errno;
    return 0;
}
