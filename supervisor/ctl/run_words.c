/* SPDX-License-Identifier: MIT */
/* One flag's text into the document. Hosts and ports go through the parsers that judge connections later, so
 * a typing error is named at the flag, before anything is started. */
#include <limits.h>
#include <stdio.h>

#include "common/base/num.h"
#include "common/net/allow.h"
#include "proto/limits.h"
#include "supervisor/ctl/run_document.h"
#include "supervisor/spec/rule_words.h"
#include "supervisor/spec/spec.h"

#define CPU_HUNDREDTH_US ((json_int_t)(SPEC_CPU_PERIOD_US / 100))

static int wrong(char *why, size_t cap, const char *text)
{
    (void)snprintf(why, cap, "%s", text);
    return 1;
}

static int added(int r)
{
    return r == 0 ? 0 : -ENOMEM;
}

static int add_string(json_t *list, const char *text, char *why, size_t cap)
{
    json_t *s = json_string(text);
    if (!s)
        return wrong(why, cap, "must be UTF-8 text");
    return added(json_array_append_new(list, s));
}

static struct str before(const char *s, const char *end)
{
    return (struct str){s, (size_t)(end - s)};
}

/* ---- --allow HOST[:PORT[-PORT]][/PROTO] ---- */

static int remember_name(struct run_document *d, const struct name *n)
{
    for (size_t i = 0; i < json_array_size(d->names); i++)
        if (strcmp(json_string_value(json_array_get(d->names, i)), n->text) == 0)
            return 0;
    return added(json_array_append_new(d->names, json_string(n->text)));
}

int run_document_allow(struct run_document *d, const char *text, char *why, size_t cap)
{
    char clause[RULE_WORDS_WHY_MAX];
    struct allow_rule rule;
    json_t *o = NULL;
    int r = rule_words_parse(str_of(text), &rule, clause);
    if (r == RULE_WORDS_OK)
        r = rule_words_json(str_of(text), &o, clause);
    if (r == RULE_WORDS_BAD)
        return wrong(why, cap, clause);
    if (r < 0 || json_array_append_new(d->egress, o) < 0)
        return -ENOMEM;
    return rule.is_addr ? 0 : remember_name(d, &rule.name);
}

/* ---- --allow-answer HOST:IP|CIDR ---- */

int run_document_answer(struct run_document *d, const char *text, char *why, size_t cap)
{
    struct name name;
    struct addr_prefix prefix;
    const char *colon = strchr(text, ':');
    if (!colon)
        return wrong(why, cap, "must be HOST:IP or HOST:CIDR");
    struct str address = str_of(colon + 1);
    if (address.len >= 2 && address.p[0] == '[' && address.p[address.len - 1] == ']')
        address = (struct str){address.p + 1, address.len - 2};
    int e = name_parse(before(text, colon), NAME_PATTERN, &name);
    if (e != NAME_OK)
        return wrong(why, cap, name_error_text(e));
    if (addr_prefix_parse(address, &prefix) < 0)
        return wrong(why, cap,
                     "must end in an address, or a prefix such as 192.0.2.0/24 with no host bits set");
    return added(
        json_array_append_new(d->answers, json_sprintf("%s:%.*s", name.text, (int)address.len, address.p)));
}

int run_document_secret(struct run_document *d, const char *text, char *why, size_t cap)
{
    return add_string(d->secrets, text, why, cap);
}

int run_document_argument(struct run_document *d, const char *text, char *why, size_t cap)
{
    return add_string(d->argv, text, why, cap);
}

/* ---- paths ---- */

int run_document_path(struct run_document *d, json_t *list, const char *text, char *why, size_t cap)
{
    _cleanup_free_ char *real = realpath(text, NULL);
    if (!real && errno == ENOMEM)
        return -ENOMEM;
    if (!real)
        return wrong(why, cap, strerrordesc_np(errno));
    if (text[0] != '/')
        d->relative_path = true;
    int r = add_string(list, real, why, cap);
    return r != 0 ? r : added(json_array_append_new(d->given, json_pack("[s, s]", text, real)));
}

/* A directory that the host lacks is fine: the cell gets a private one. */
int run_document_cwd(struct run_document *d, const char *text, char *why, size_t cap)
{
    char *path = realpath(text, NULL);
    if (!path && errno == ENOENT && text[0] == '/')
        path = strdup(text);
    if (!path && errno == ENOMEM)
        return -ENOMEM;
    if (!path)
        return wrong(why, cap,
                     errno == ENOENT ? "must be an absolute path, or an existing directory"
                                     : strerrordesc_np(errno));
    free(d->cwd);
    d->cwd = path;
    return 0;
}

/* ---- limits ---- */

static int set_limit(json_t **object, const char *key, json_t *value)
{
    if (!*object)
        *object = json_object();
    if (!*object || !value) {
        json_decref(value);
        return -ENOMEM;
    }
    return added(json_object_set_new(*object, key, value));
}

/* "512M": a number with an optional K, M or G (powers of 1024). */
static bool parse_bytes(const char *text, json_int_t *ret)
{
    static const char units[] = "KMG";
    struct str s = str_of(text);
    unsigned shift = 0;
    uint64_t n;
    const char *unit = s.len > 0 ? strchr(units, text[s.len - 1]) : NULL;
    if (unit) {
        shift = 10 * ((unsigned)(unit - units) + 1);
        s.len--;
    }
    if (num_parse_u64(s, 1, (uint64_t)INT64_MAX >> shift, &n) < 0)
        return false;
    *ret = (json_int_t)n * ((json_int_t)1 << shift);
    return true;
}

int run_document_memory(struct run_document *d, const char *text, char *why, size_t cap)
{
    json_int_t n;
    if (!parse_bytes(text, &n))
        return wrong(why, cap, "must be a number of bytes, e.g. 512M or 2G");
    return set_limit(&d->limits, "memoryMaxBytes", json_integer(n));
}

int run_document_quota(struct run_document *d, const char *key, const char *text, char *why, size_t cap)
{
    json_int_t n = 0;
    uint64_t connections;
    if (strcmp(key, "maxConnections") != 0) {
        if (!parse_bytes(text, &n))
            return wrong(why, cap, "must be a number of bytes, e.g. 512M or 2G");
    } else if (num_parse_u64(str_of(text), 1, LIMIT_TCP_OPEN, &connections) < 0) {
        return wrong(why, cap, "must be a number between 1 and 1024");
    } else {
        n = (json_int_t)connections;
    }
    return set_limit(&d->quota, key, json_integer(n));
}
_Static_assert(LIMIT_TCP_OPEN == 1024, "the sentence above names it");

int run_document_pids(struct run_document *d, const char *text, char *why, size_t cap)
{
    uint64_t n;
    if (num_parse_u64(str_of(text), 1, SPEC_PIDS_MAX, &n) < 0)
        return wrong(why, cap, "must be a number between 1 and 4194304");
    return set_limit(&d->limits, "pidsMax", json_integer((json_int_t)n));
}
_Static_assert(SPEC_PIDS_MAX == 4194304, "the sentence above names it");

/* "1.5" processors: whole ones, and up to two decimals. */
int run_document_cpu(struct run_document *d, const char *text, char *why, size_t cap)
{
    const char *dot = strchrnul(text, '.');
    struct str whole = before(text, dot), part = str_of(*dot ? dot + 1 : "0");
    uint64_t n;
    json_int_t hundredths = 0;
    bool good = num_parse_u64(whole, 0, 10000, &n) == 0 && part.len >= 1 && part.len <= 2;
    for (size_t i = 0; good && i < 2; i++) {
        char c = '0';
        if (i < part.len)
            c = part.p[i];
        good = c >= '0' && c <= '9';
        hundredths = hundredths * 10 + (c - '0');
    }
    if (good)
        hundredths += 100 * (json_int_t)n;
    if (!good || hundredths == 0)
        return wrong(why, cap, "must be a number of processors, e.g. 1.5");
    return set_limit(&d->limits, "cpuMax", json_pack("{s:I}", "quotaMicros", hundredths * CPU_HUNDREDTH_US));
}
