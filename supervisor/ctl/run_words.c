/* SPDX-License-Identifier: MIT */
/* One flag's text into the document. Hosts and ports go through the parsers that judge connections later, so
 * a typing error is named at the flag, before anything is started. */
#include <limits.h>
#include <stdio.h>

#include "common/base/num.h"
#include "common/net/allow.h"
#include "proto/limits.h"
#include "supervisor/ctl/run_document.h"
#include "supervisor/spec/spec.h"

#define HTTPS_PORT       443
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

struct parts {
    struct str host, port, protocol; /* the last two may be absent */
};

/* "/8" after an address is a prefix, "/tls" is a protocol: protocols begin with a letter. */
static const char *cut_protocol(const char *text, struct parts *p)
{
    const char *end = text + strlen(text), *slash = strrchr(text, '/');
    if (!slash || !((slash[1] >= 'a' && slash[1] <= 'z') || (slash[1] >= 'A' && slash[1] <= 'Z')))
        return end;
    p->protocol = before(slash + 1, end);
    return slash;
}

static int split(const char *text, struct parts *p, char *why, size_t cap)
{
    *p = (struct parts){0};
    if (strstr(text, "://"))
        return wrong(why, cap, allow_error_text(ALLOW_E_URL));
    const char *end = cut_protocol(text, p), *rest;
    if (text[0] == '[') {
        const char *close = strchr(text, ']');
        if (!close || close > end)
            return wrong(why, cap, "lacks the closing \"]\"");
        p->host = before(text + 1, close);
        rest = close + 1;
    } else {
        const char *colon = memchr(text, ':', (size_t)(end - text));
        if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1)))
            return wrong(why, cap, "must have an IPv6 address in brackets, e.g. [2001:db8::1]:443");
        p->host = before(text, colon ? colon : end);
        rest = colon ? colon : end;
    }
    if (rest < end && *rest != ':')
        return wrong(why, cap, "must be HOST[:PORT[-PORT]][/PROTO]");
    if (rest < end)
        p->port = before(rest + 1, end);
    return 0;
}

static json_t *port_value(struct str text, uint16_t lo, uint16_t hi)
{
    return lo == hi ? json_integer(lo) : json_stringn(text.p, text.len);
}

static int remember_name(struct run_document *d, const struct name *n)
{
    for (size_t i = 0; i < json_array_size(d->names); i++)
        if (strcmp(json_string_value(json_array_get(d->names, i)), n->text) == 0)
            return 0;
    return added(json_array_append_new(d->names, json_string(n->text)));
}

int run_document_allow(struct run_document *d, const char *text, char *why, size_t cap)
{
    struct parts p;
    struct allow_rule rule;
    enum allow_protocol protocol;
    uint16_t lo = HTTPS_PORT, hi = HTTPS_PORT;
    int r = split(text, &p, why, cap);
    if (r != 0)
        return r;
    int e = allow_rule_parse_host(p.host, &rule);
    if (e == 0 && p.port.p)
        e = allow_port_parse(p.port, &lo, &hi);
    if (e == 0 && p.protocol.p)
        e = allow_protocol_parse(p.protocol, &protocol);
    if (e != 0)
        return wrong(why, cap, allow_error_text(e));
    json_t *o = json_pack("{s:s%, s:o}", "host", p.host.p, p.host.len, "port", port_value(p.port, lo, hi));
    if (!o ||
        (p.protocol.p &&
         json_object_set_new(o, "protocol", json_stringn(p.protocol.p, p.protocol.len)) < 0) ||
        json_array_append_new(d->egress, json_incref(o)) < 0) {
        json_decref(o);
        return -ENOMEM;
    }
    json_decref(o);
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

/* ---- --dns IP[:PORT] ---- */

int run_document_dns(struct run_document *d, const char *text, char *why, size_t cap)
{
    char endpoint[ADDR_ENDPOINT_MAX], id[16];
    struct endpoint_addr e = {.port = 53};
    size_t n = json_array_size(d->resolvers);
    if (addr_parse(str_of(text), &e.addr) < 0 && addr_endpoint_parse(str_of(text), 53, &e) < 0)
        return wrong(why, cap, "must be IP, IP:PORT or [IPv6]:PORT");
    if (n == LIMIT_RESOLVERS)
        return wrong(why, cap, "is one resolver too many: at most 8");
    (void)snprintf(id, sizeof(id), "dns-%zu", n + 1);
    return added(json_array_append_new(d->resolvers,
                                       json_pack("{s:s, s:s, s:s}", "resolverId", id, "protocol", "do53-udp",
                                                 "endpoint", addr_endpoint_format(&e, endpoint))));
}
_Static_assert(LIMIT_RESOLVERS == 8, "the sentence above names it");

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

static int set_limit(struct run_document *d, const char *key, json_t *value)
{
    if (!d->limits)
        d->limits = json_object();
    if (!d->limits || !value) {
        json_decref(value);
        return -ENOMEM;
    }
    return added(json_object_set_new(d->limits, key, value));
}

/* "512M": a number with an optional K, M or G (powers of 1024). */
int run_document_memory(struct run_document *d, const char *text, char *why, size_t cap)
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
        return wrong(why, cap, "must be a number of bytes, e.g. 512M or 2G");
    return set_limit(d, "memoryMaxBytes", json_integer((json_int_t)n * ((json_int_t)1 << shift)));
}

int run_document_pids(struct run_document *d, const char *text, char *why, size_t cap)
{
    uint64_t n;
    if (num_parse_u64(str_of(text), 1, SPEC_PIDS_MAX, &n) < 0)
        return wrong(why, cap, "must be a number between 1 and 4194304");
    return set_limit(d, "pidsMax", json_integer((json_int_t)n));
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
    return set_limit(d, "cpuMax", json_pack("{s:I}", "quotaMicros", hundredths * CPU_HUNDREDTH_US));
}
