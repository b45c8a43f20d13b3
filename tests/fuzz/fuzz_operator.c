/* SPDX-License-Identifier: MIT */
/* The operator's configuration: refused with violations, or good for every field that daemons are told. */
#include <stdlib.h>

#include "proto/limits.h"
#include "supervisor/spec/operator.h"

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const struct operator_config *c)
{
    CHECK(c->network.evidence && c->network.mode);
    CHECK(c->network.mode != NET_MODE_ROUTED || c->routed_pool.p);
    CHECK(c->network.metadata.n <= LIMIT_METADATA_PREFIXES);
    if (c->network.upstream) {
        struct buf b;
        buf_init(&b, LIMIT_FRAME);
        CHECK(codec_encode(&schema_policy_upstream, c->network.upstream, &b) == 0);
        buf_done(&b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct violations found = {0};
    struct operator_config *c = NULL;
    int r = operator_parse((struct str){(const char *)data, size}, &c, &found);
    CHECK(r == OPERATOR_OK || r == OPERATOR_INVALID);
    CHECK((c != NULL) == (r == OPERATOR_OK) && (found.n == 0) == (r == OPERATOR_OK));
    if (c)
        check_config(c);
    operator_free(c);
    violations_done(&found);
    return 0;
}
