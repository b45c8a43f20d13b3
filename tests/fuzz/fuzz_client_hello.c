/* SPDX-License-Identifier: MIT */
/* Any bytes as the first flight of a TLS client. The same bytes in two segments, cut at a place that the
 * first byte picks, must mean the same; what is accepted has a canonical name. */
#include <stdlib.h>

#include "proxyd/tls/client_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client_hello_reader whole = {0}, parts = {0};
    struct client_hello a = {0}, b = {0};
    struct name again;
    if (size < 1)
        return 0;
    size_t cut = data[size - 1] * size / 256;
    enum client_hello_outcome o = client_hello_read(&whole, data, size, &a);
    enum client_hello_outcome p = client_hello_read(&parts, data, cut, &b);
    if (p == CLIENT_HELLO_MORE)
        p = client_hello_read(&parts, data, size, &b);
    if (o != p)
        abort();
    if (o != CLIENT_HELLO_DONE)
        return 0;
    if (!str_eq(name_str(&a.server_name), name_str(&b.server_name)) || a.has_alpn != b.has_alpn)
        abort();
    if (name_parse(name_str(&a.server_name), NAME_HOST, &again) != NAME_OK ||
        !str_eq(name_str(&again), name_str(&a.server_name)))
        abort();
    return 0;
}
