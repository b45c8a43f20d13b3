/* SPDX-License-Identifier: MIT */
#include "proto/schema.h"

const char *enum_text(const struct enum_names *e, uint32_t v)
{
    return v >= 1 && v <= e->n ? e->names[v - 1] : "?";
}

uint32_t enum_value(const struct enum_names *e, struct str s)
{
    for (uint32_t i = 0; i < e->n; i++)
        if (str_is(s, e->names[i]))
            return i + 1;
    return 0;
}
