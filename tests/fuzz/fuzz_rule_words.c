/* SPDX-License-Identifier: MIT */
/* An operator's words for a rule: what is taken becomes a rule whose own text is taken again and means the
 * same. */
#include <stdlib.h>

#include "supervisor/spec/parse.h"
#include "supervisor/spec/policy.h"
#include "supervisor/spec/rule_words.h"

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct spec_egress *r, struct arena *a)
{
    struct policy_egress p = {r->host.text, r->port_lo, r->port_hi, r->protocol};
    struct violations found = {0};
    struct spec_egress again;
    char text[POLICY_RULE_TEXT_MAX];
    CHECK(spec_parse_rule(str_of(policy_rule_text(&p, text)), NULL, a, &again, &found) == SPEC_OK);
    CHECK(str_eq(again.host.text, r->host.text) && again.port_lo == r->port_lo &&
          again.port_hi == r->port_hi && again.protocol == r->protocol);
    violations_done(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct violations found = {0};
    struct spec_egress r;
    struct allow_rule rule;
    struct arena a;
    char why[RULE_WORDS_WHY_MAX];
    if (size > 320 || !str_utf8_valid(text.p, text.len) || (size && memchr(data, 0, size)))
        return 0; /* the codec lets none of these through */
    arena_init(&a, LIMIT_ARENA);
    int words = rule_words_parse(text, &rule, why);
    int e = spec_parse_rule(text, NULL, &a, &r, &found);
    CHECK(e == SPEC_OK || e == SPEC_INVALID);
    CHECK(e == SPEC_INVALID || words == RULE_WORDS_OK);
    CHECK((found.n == 0) == (e == SPEC_OK));
    if (e == SPEC_OK)
        check_again(&r, &a);
    violations_done(&found);
    arena_done(&a);
    return 0;
}
