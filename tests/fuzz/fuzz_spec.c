/* SPDX-License-Identifier: MIT */
/* Spec documents: a refused one has violations that can be shown anywhere; an accepted one becomes records
 * that the codec takes as they are. */
#include <stdlib.h>

#include "proto/limits.h"
#include "supervisor/spec/parse.h"
#include "supervisor/spec/policy.h"
#include "supervisor/spec/resolv_conf.h"

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_violations(const struct violations *v)
{
    CHECK(v->n > 0 && v->n <= LIMIT_VIOLATIONS);
    for (size_t i = 0; i < v->n; i++) {
        size_t path = strlen(v->v[i].path), message = strlen(v->v[i].message);
        CHECK(path > 0 && path < VIOLATION_PATH_MAX && message > 0 && message < VIOLATION_MESSAGE_MAX);
        for (const char *p = v->v[i].path; *p; p++)
            CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
        for (const char *p = v->v[i].message; *p; p++)
            CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
    }
}

static void check_encodes(const struct schema *schema, const void *rec, size_t max)
{
    struct buf b;
    buf_init(&b, max);
    CHECK(codec_encode(schema, rec, &b) == 0);
    buf_done(&b);
}

static void check_spec(const struct spec *s)
{
    static const struct endpoint_addr host[] = {{{AF_INET, {192, 0, 2, 53}}, 53}};
    struct arena a;
    struct policy p;
    struct launch l;
    struct ev_network_scope e;
    arena_init(&a, LIMIT_ARENA);
    const struct policy_operator op = {.evidence = EVIDENCE_STRICT, .mode = NET_MODE_INTERCEPT};
    const struct policy_host h = {host, 1};
    CHECK(policy_of_spec(s, &op, &h, &a, &p) == POLICY_OK);
    check_encodes(&schema_policy, &p, LIMIT_POLICY_DOC);
    CHECK(policy_launch(s, STR_LIT("01890a5d-ac96-774b-bcce-b302099a8057"), 1024, &a, &l) == 0);
    check_encodes(&schema_launch, &l, LIMIT_LAUNCH_DOC);
    CHECK(policy_network_scope(&p, &a, &e) == 0);
    check_encodes(&schema_ev_network_scope, &e, LIMIT_CLAIM_BODY);
    if (s->placement)
        check_encodes(&schema_ev_placement, s->placement, LIMIT_CLAIM_BODY);
    if (s->correlation)
        check_encodes(&schema_ev_correlation, s->correlation, LIMIT_CLAIM_BODY);
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {"/var/lib/cellos"};
    struct spec_operator op = {.paths = paths, .npaths = 1};
    struct violations found = {0};
    struct spec *s = NULL;
    struct endpoint_addr ns[RESOLV_CONF_NAMESERVERS];
    struct str text = {(const char *)data, size};
    int r = spec_parse(text, &op, &s, &found);
    CHECK(r == SPEC_OK || r == SPEC_INVALID);
    if (r == SPEC_OK)
        check_spec(s);
    else
        check_violations(&found);
    CHECK((s != NULL) == (r == SPEC_OK) && (found.n == 0) == (r == SPEC_OK));
    spec_free(s);
    violations_done(&found);
    CHECK(resolv_conf_parse(text, ns) <= RESOLV_CONF_NAMESERVERS);
    return 0;
}
