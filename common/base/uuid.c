/* SPDX-License-Identifier: MIT */
#include "common/base/uuid.h"

#include <stdatomic.h>
#include <sys/random.h>
#include <time.h>

#define UUID_AHEAD ((uint64_t)10000 << 12) /* so far the stamps may be before the clock: 10 s */

/* 48 bits of milliseconds and, in place of rand_a, 12 bits of the fraction: one number that only ever grows,
 * unless the clock was set back by more than a moment: then it goes by the clock again, so that nobody who
 * compares an id with the time of day is told of a future. */
static uint64_t uuid_stamp(void)
{
    static _Atomic uint64_t last;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t ms = (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
    uint64_t now = ms << 12 | ((uint64_t)t.tv_nsec % 1000000u) * 4096u / 1000000u;
    uint64_t before = atomic_load(&last), stamp;
    do {
        stamp = now > before || before - now > UUID_AHEAD ? now : before + 1;
    } while (!atomic_compare_exchange_weak(&last, &before, stamp));
    return stamp;
}

static void uuid_random(uint8_t *p, size_t n)
{
    ssize_t got;
    do {
        got = getrandom(p, n, 0);
    } while (got < 0 && errno == EINTR);
    /* Up to 256 bytes come whole or not at all; there is no safe way to go on without them. */
    if (got != (ssize_t)n)
        abort();
}

void uuid_v7(char *dst)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t stamp = uuid_stamp();
    uint8_t b[16];
    for (unsigned i = 0; i < 6; i++)
        b[i] = (uint8_t)(stamp >> (52 - 8 * i));
    b[6] = (uint8_t)(0x70 | (stamp >> 8 & 0x0F));
    b[7] = (uint8_t)stamp;
    uuid_random(b + 8, 8);
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3F));
    for (unsigned i = 0; i < sizeof(b); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *dst++ = '-';
        *dst++ = hex[b[i] >> 4];
        *dst++ = hex[b[i] & 15];
    }
    *dst = 0;
}

bool uuid_v7_valid(struct str s)
{
    static const char form[] = "xxxxxxxx-xxxx-7xxx-yxxx-xxxxxxxxxxxx";
    if (s.len != UUID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        bool digit = c >= '0' && c <= '9';
        bool ok = form[i] == 'x'   ? digit || (c >= 'a' && c <= 'f')
                  : form[i] == 'y' ? c == '8' || c == '9' || c == 'a' || c == 'b'
                                   : c == form[i];
        if (!ok)
            return false;
    }
    return true;
}

uint64_t uuid_v7_ms(struct str s)
{
    uint64_t ms = 0;

    for (size_t i = 0, n = 0; i < s.len && n < 12; i++) {
        char c = s.p[i];

        if (c == '-')
            continue;
        ms = ms << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        n++;
    }
    return ms;
}
