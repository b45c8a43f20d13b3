/* SPDX-License-Identifier: MIT */
#include "signerd/origin.h"

#include <stdio.h>

#include "common/evidence/log_verify.h"

static void origin_make(const char *name, const char *suffix, char *dst, size_t cap)
{
    (void)snprintf(dst, cap, "%s%s%s", name, suffix ? "/" : "", suffix ? suffix : "");
}

void origin_find(int dirfd, const struct keys *keys, const char *suffix, char *dst, size_t cap)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    const struct keyring *ring = keys_ring(keys);

    buf_init(&text, LOG_FILE_MAX);
    if (log_verify_read_file(dirfd, "origin", &text) == 0 && text.len > 0 && text.data[text.len - 1] == '\n')
        for (size_t i = 0; i < ring->n; i++) {
            origin_make(ring->key[i].vkey.name, suffix, dst, cap);
            if (str_eq(str_of(dst), (struct str){(const char *)text.data, text.len - 1}))
                return;
        }
    origin_make(keys_vkey(keys)->name, suffix, dst, cap);
}
