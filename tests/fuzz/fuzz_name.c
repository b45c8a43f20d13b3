/* SPDX-License-Identifier: MIT */
/* Names, hosts of rules, addresses, ports: whatever is accepted must read back from its canonical text as
 * itself. */
#include <stdlib.h>

#include "common/net/allow.h"

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(struct str s, enum name_kind kind)
{
    struct name n, again;
    int e = name_parse(s, kind, &n);
    CHECK(e >= NAME_OK && e < _NAME_E_MAX);
    if (e != NAME_OK)
        return;
    CHECK(n.len > 0 && n.len <= NAME_MAX_LEN && strlen(n.text) == n.len && n.len <= s.len);
    CHECK(name_parse(name_str(&n), kind, &again) == NAME_OK && str_eq(name_str(&n), name_str(&again)));
    struct addr a;
    CHECK(kind == NAME_DNS || addr_parse(s, &a) < 0);
    CHECK(n.text[0] == '*' || name_matches(&n, &again));
    for (size_t i = 0; i < n.len; i++)
        CHECK(n.text[i] == '.' || n.text[i] == '-' || n.text[i] == '_' || n.text[i] == '*' ||
              (n.text[i] >= 'a' && n.text[i] <= 'z') || (n.text[i] >= '0' && n.text[i] <= '9'));
}

static void check_addr(struct str s)
{
    struct addr a, b;
    struct endpoint_addr e, f;
    struct addr_prefix p;
    char text[ADDR_ENDPOINT_MAX];
    if (addr_parse(s, &a) == 0) {
        CHECK(addr_parse(str_of(addr_format(&a, text)), &b) == 0 && addr_eq(&a, &b));
        CHECK(strcmp(addr_class_name(addr_classify(&a)), "unknown") != 0);
    }
    if (addr_prefix_parse(s, &p) == 0)
        CHECK(addr_prefix_contains(&p, &p.addr));
    if (addr_endpoint_parse(s, 53, &e) == 0) {
        CHECK(addr_endpoint_parse(str_of(addr_endpoint_format(&e, text)), 0, &f) == 0);
        CHECK(addr_eq(&e.addr, &f.addr) && e.port == f.port);
    }
}

static void check_rule(struct str s)
{
    struct allow_rule rule;
    struct allow_list l = {&rule, 1, 1};
    int e = allow_rule_parse_host(s, &rule);
    CHECK(e >= ALLOW_OK && e < _ALLOW_E_MAX && allow_error_text(e));
    if (e == ALLOW_OK && rule.is_addr)
        CHECK(allow_find_addr(&l, &rule.prefix.addr, 1, ALLOW_TLS) == 0);
    else if (e == ALLOW_OK && rule.name.text[0] != '*')
        CHECK(allow_find_name(&l, &rule.name, 65535, ALLOW_HTTP) == 0);
    uint16_t lo, hi;
    if (allow_port_parse(s, &lo, &hi) == ALLOW_OK)
        CHECK(lo >= 1 && lo <= hi);
}

/* The whole input is one text; with a blank in the middle it is also a pattern and a name to match. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = {(const char *)data, size};
    for (int kind = NAME_HOST; kind <= NAME_PATTERN; kind++)
        check_name(s, (enum name_kind)kind);
    check_addr(s);
    check_rule(s);
    const char *blank = size > 0 ? memchr(data, ' ', size) : NULL;
    struct name pattern, name;
    if (!blank)
        return 0;
    struct str left = {s.p, (size_t)(blank - s.p)}, right = {blank + 1, size - left.len - 1};
    if (name_parse(left, NAME_PATTERN, &pattern) == NAME_OK &&
        name_parse(right, NAME_DNS, &name) == NAME_OK && name_matches(&pattern, &name)) {
        /* A match ends in the pattern's own labels and, with "*.", has at least one more. */
        bool wild = pattern.text[0] == '*';
        size_t rest = wild ? pattern.len - 2u : pattern.len;
        CHECK(name.len >= rest &&
              memcmp(name.text + name.len - rest, pattern.text + pattern.len - rest, rest) == 0);
        CHECK(wild ? name.len >= rest + 2 && name.text[name.len - rest - 1] == '.' : name.len == rest);
    }
    return 0;
}
