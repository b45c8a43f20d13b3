/* SPDX-License-Identifier: MIT */
/* A foreign keyset: a file of versions. What the parser takes, the writer gives back byte for byte; a chain
 * that was read can be read again and is no news to itself. */
#include <stdlib.h>

#include "common/evidence/keyset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct keyset keyset;
static struct keyset_chain chain;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return ed25519_init() < 0 || digest_init() < 0;
}

static void fuzz_line(struct str line)
{
    _cleanup_(buf_done) struct buf again = {.data = NULL};

    if (keyset_parse(line, &keyset) != KEYSET_OK)
        return;
    buf_init(&again, KEYSET_LINE_MAX + 1);
    if (keyset_render(&keyset, &again) < 0 || !str_eq(buf_str(&again), line) || !keyset_active(&keyset))
        abort();
    (void)!keyset_follows(NULL, &keyset);
    if (keyset_follows(&keyset, &keyset) == KEYSET_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str file = {(const char *)data, size}, rest = file;
    struct vkey first;
    uint64_t version;

    while (rest.len > 0) {
        const char *lf = memchr(rest.p, '\n', rest.len);
        size_t n = lf ? (size_t)(lf - rest.p) : rest.len;

        fuzz_line((struct str){rest.p, n});
        rest = (struct str){rest.p + n + (lf != NULL), rest.len - n - (lf != NULL)};
    }
    if (keyset_chain_read(file, &chain, NULL) != KEYSET_OK)
        return 0;
    version = chain.newest.version;
    if (keyset_chain_extend(&chain, file) != KEYSET_OK || chain.newest.version != version ||
        version != chain.first + chain.n - 1)
        abort();
    first = chain.newest.key[0].k.vkey;
    (void)!keyset_chain_vouched(file, &first, &chain);
    return 0;
}
