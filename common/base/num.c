/* SPDX-License-Identifier: MIT */
#include "common/base/num.h"

int num_parse_u64(struct str s, uint64_t min, uint64_t max, uint64_t *ret)
{
    if (s.len == 0 || (s.len > 1 && s.p[0] == '0'))
        return -EINVAL;
    uint64_t v = 0;
    bool overflow = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -EINVAL;
        /* An overflow is only known to be a number once every byte was seen. */
        overflow |= __builtin_mul_overflow(v, 10u, &v);
        overflow |= __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v);
    }
    if (overflow || v < min || v > max)
        return -ERANGE;
    *ret = v;
    return 0;
}
