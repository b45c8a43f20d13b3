/* SPDX-License-Identifier: MIT */
#include "common/evidence/link.h"

#define LINK_FROM 19 /* ........-....-7...-|....-............ */

static const char link_what[] = "CellOS line v1\n";

/* The end of the id behind LINK_FROM. */
static void link_text(const struct merkle *before, char dst[static UUID_TEXT_LEN - LINK_FROM])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t in[sizeof(link_what) - 1 + 8 + DIGEST_LEN], d[DIGEST_LEN];
    size_t n = sizeof(link_what) - 1, at = 0;

    memcpy(in, link_what, n);
    for (unsigned i = 0; i < 8; i++)
        in[n++] = (uint8_t)(before->size >> (56 - 8 * i));
    memcpy(in + n, before->node[__builtin_ctzll(before->size)], DIGEST_LEN);
    digest_sha256(in, sizeof(in), d);
    d[0] = (uint8_t)(0x80 | (d[0] & 0x3f)); /* the variant */
    for (unsigned i = 0; i < 8; i++) {
        if (i == 2)
            dst[at++] = '-';
        dst[at++] = hex[d[i] >> 4];
        dst[at++] = hex[d[i] & 15];
    }
}

void link_id(const struct merkle *before, char id[static UUID_TEXT_LEN + 1])
{
    if (before->size > 0)
        link_text(before, id + LINK_FROM);
}

bool link_id_ok(const struct merkle *before, struct str id)
{
    char want[UUID_TEXT_LEN - LINK_FROM];

    if (id.len != UUID_TEXT_LEN)
        return false;
    if (before->size == 0)
        return true;
    link_text(before, want);
    return memcmp(id.p + LINK_FROM, want, sizeof(want)) == 0;
}
