/* SPDX-License-Identifier: MIT */
/* Any bytes as the answer of the operator's proxy: which reader, the first byte says. A reader never takes
 * more than there is, never less than it needs, and does not change its mind when more bytes follow. */
#include <stdlib.h>

#include "proxyd/proxied.h"

typedef enum proxied_outcome (*reader_fn)(const uint8_t *, size_t, size_t *);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const reader_fn readers[] = {proxied_connect_reply, proxied_socks_method, proxied_socks_reply};
    enum proxied_outcome decided = PROXIED_MORE;
    size_t len = 0, again;

    if (size < 1 || size > PROXIED_REPLY_MAX)
        return 0;
    reader_fn read = readers[data[0] % 3];
    data++;
    size--;
    for (size_t n = 0; n <= size; n++) {
        again = 0;
        enum proxied_outcome o = read(data, n, &again);
        if (o == PROXIED_DONE && (again == 0 || again > n))
            abort();
        if (decided == PROXIED_MORE) {
            decided = o;
            len = again;
        } else if (o != decided || again != len) {
            abort();
        }
        if (decided == PROXIED_DONE && len > n)
            abort();
    }
    return 0;
}
