/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/backoff.h"

#include <sodium.h>

uint32_t backoff_ceiling_ms(unsigned failures)
{
    uint32_t ms = BACKOFF_FIRST_MS;

    for (; failures > 0 && ms < BACKOFF_MAX_MS; failures--)
        ms *= 2;
    return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

uint32_t backoff_ms(unsigned failures)
{
    const uint32_t least = BACKOFF_FIRST_MS / 2; /* never a busy loop */

    return least + randombytes_uniform(backoff_ceiling_ms(failures) - least + 1);
}
