/* SPDX-License-Identifier: MIT */
/* The clocks of a test program, which the test may set. Included by one source file of a program. */
#pragma once

#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct {
    int64_t day_s;  /* added to the time of day */
    int64_t boot_s; /* and to the time since the machine started */
} fault_clock;

int clock_gettime(clockid_t id, struct timespec *t)
{
    int r = (int)syscall(SYS_clock_gettime, id, t);

    if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        t->tv_sec += __atomic_load_n(&fault_clock.day_s, __ATOMIC_RELAXED);
    if (r == 0 && id == CLOCK_BOOTTIME)
        t->tv_sec += __atomic_load_n(&fault_clock.boot_s, __ATOMIC_RELAXED);
    return r;
}
