/* SPDX-License-Identifier: MIT */
/* Capability sets of the calling thread as bit masks (capabilities(7), capset(2)). */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

struct caps {
    uint64_t effective, permitted, inheritable;
};

#define CAPS_BIT(cap) (UINT64_C(1) << (cap))

int caps_get(struct caps *ret) MUST_CHECK;
int caps_set(const struct caps *c) MUST_CHECK;

uint64_t caps_known(void);    /* all capabilities this kernel has */
uint64_t caps_bounding(void); /* the bounding set */
uint64_t caps_ambient(void);  /* the ambient set */

/* Takes everything but keep out of the bounding set. 0 or -errno (-EPERM without CAP_SETPCAP). */
int caps_bound(uint64_t keep) MUST_CHECK;
