/* SPDX-License-Identifier: MIT */
#include "common/base/cleanup.h"

#include <sodium.h>

void cleanup_sodium_freep(void *p)
{
    sodium_free(*(void **)p);
}
