/* SPDX-License-Identifier: MIT */
#include "common/evidence/merkle.h"

#include <assert.h>

static const char merkle_leaf_prefix[1] = {0x00};
static const char merkle_node_prefix[1] = {0x01};

void merkle_leaf(const void *entry, size_t n, uint8_t ret[static DIGEST_LEN])
{
    digest_begin();
    digest_add(merkle_leaf_prefix, 1);
    digest_add(entry, n);
    digest_end(ret);
}

void merkle_node(const uint8_t left[static DIGEST_LEN], const uint8_t right[static DIGEST_LEN],
                 uint8_t ret[static DIGEST_LEN])
{
    uint8_t bytes[1 + 2 * DIGEST_LEN];

    bytes[0] = (uint8_t)merkle_node_prefix[0];
    memcpy(bytes + 1, left, DIGEST_LEN);
    memcpy(bytes + 1 + DIGEST_LEN, right, DIGEST_LEN);
    digest_sha256(bytes, sizeof(bytes), ret);
}

void merkle_init(struct merkle *m)
{
    *m = (struct merkle){.size = 0};
}

void merkle_append(struct merkle *m, const uint8_t leaf[static DIGEST_LEN])
{
    uint8_t carry[DIGEST_LEN];
    unsigned k = 0;

    /* Adding one to the size: every trailing 1 is a finished left sibling that joins the carry. */
    memcpy(carry, leaf, DIGEST_LEN);
    for (; k + 1 < MERKLE_LEVELS && (m->size >> k & 1); k++)
        merkle_node(m->node[k], carry, carry);
    memcpy(m->node[k], carry, DIGEST_LEN);
    m->size++;
}

void merkle_root(const struct merkle *m, uint8_t ret[static DIGEST_LEN])
{
    bool have = false;

    if (m->size == 0) {
        digest_sha256(NULL, 0, ret);
        return;
    }
    for (unsigned k = 0; k < MERKLE_LEVELS; k++) {
        if (!(m->size >> k & 1))
            continue;
        if (have)
            merkle_node(m->node[k], ret, ret);
        else
            memcpy(ret, m->node[k], DIGEST_LEN);
        have = true;
    }
}

void merkle_perfect(const uint8_t *hashes, size_t n, uint8_t ret[static DIGEST_LEN])
{
    uint8_t level[256 / 2][DIGEST_LEN];

    assert(n >= 1 && n <= 256 && (n & (n - 1)) == 0);
    if (n == 1) {
        memcpy(ret, hashes, DIGEST_LEN);
        return;
    }
    for (size_t i = 0; i < n / 2; i++)
        merkle_node(hashes + 2 * i * DIGEST_LEN, hashes + (2 * i + 1) * DIGEST_LEN, level[i]);
    for (size_t w = n / 2; w > 1; w /= 2)
        for (size_t i = 0; i < w / 2; i++)
            merkle_node(level[2 * i], level[2 * i + 1], level[i]);
    memcpy(ret, level[0], DIGEST_LEN);
}
