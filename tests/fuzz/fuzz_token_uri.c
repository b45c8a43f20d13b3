/* SPDX-License-Identifier: MIT */
/* The URI of a key in a token. */
#include <stdlib.h>

#include "signerd/token_uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct token_uri u;
    const char *why = NULL;

    if (token_uri_parse((struct str){(const char *)data, size}, &u, &why) < 0)
        return why ? 0 : -1;
    if (u.module[0] != '/' || u.pin_file[0] != '/' || (!u.token[0] && !u.serial[0]) ||
        (!u.object[0] && !u.id_len) || u.id_len > sizeof(u.id))
        abort();
    return 0;
}
