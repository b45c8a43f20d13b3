/* SPDX-License-Identifier: MIT */
/* --dns: IP[:PORT], tcp://IP[:PORT], tls://IP[:PORT][#NAME] or https://... */
#include <stdio.h>

#include "common/net/addr.h"
#include "common/net/name.h"
#include "proto/limits.h"
#include "proto/words.h"
#include "supervisor/ctl/run_document.h"

#define DNS_PORT 53
#define DOT_PORT 853 /* RFC 7858 section 3.1 */

static int wrong(char *why, size_t cap, const char *text)
{
    (void)snprintf(why, cap, "%s", text);
    return 1;
}

static int add(struct run_document *d, uint32_t protocol, const char *endpoint, const char *name, char *why,
               size_t cap)
{
    char id[32];
    size_t n = json_array_size(d->resolvers);
    if (n == LIMIT_RESOLVERS)
        return wrong(why, cap, "is one resolver too many: at most 8");
    (void)snprintf(id, sizeof(id), "dns-%zu", n + 1);
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s*}", "resolverId", id, "protocol",
                  enum_text(&enum_resolver_protocol, protocol), "endpoint", endpoint, "tlsServerName", name);
    return o && json_array_append_new(d->resolvers, o) == 0 ? 0 : -ENOMEM;
}
_Static_assert(LIMIT_RESOLVERS == 8, "the sentence above names it");

static int at_address(struct run_document *d, uint32_t protocol, struct str text, uint16_t port,
                      const char *name, char *why, size_t cap)
{
    char endpoint[ADDR_ENDPOINT_MAX];
    struct endpoint_addr e = {.port = port};
    if (addr_parse(text, &e.addr) < 0 && addr_endpoint_parse(text, port, &e) < 0)
        return wrong(why, cap,
                     "must be IP, IP:PORT or [IPv6]:PORT, or begin with tcp://, tls:// or https://");
    return add(d, protocol, addr_endpoint_format(&e, endpoint), name, why, cap);
}

static int over_tls(struct run_document *d, const char *rest, char *why, size_t cap)
{
    const char *hash = strchrnul(rest, '#');
    struct name name;
    struct str address = {rest, (size_t)(hash - rest)};
    if (!*hash)
        return at_address(d, RESOLVER_DOT, address, DOT_PORT, NULL, why, cap);
    int e = name_parse(str_of(hash + 1), NAME_HOST, &name);
    if (e != NAME_OK) {
        (void)snprintf(why, cap, "the name behind \"#\" %s", name_error_text(e));
        return 1;
    }
    return at_address(d, RESOLVER_DOT, address, DOT_PORT, name.text, why, cap);
}

int run_document_dns(struct run_document *d, const char *text, char *why, size_t cap)
{
    if (strncmp(text, "https://", 8) == 0) {
        if (!str_utf8_valid(text, strlen(text)))
            return wrong(why, cap, "must be UTF-8 text");
        return add(d, RESOLVER_DOH, text, NULL, why, cap);
    }
    if (strncmp(text, "tls://", 6) == 0)
        return over_tls(d, text + 6, why, cap);
    if (strncmp(text, "tcp://", 6) == 0)
        return at_address(d, RESOLVER_DO53_TCP, str_of(text + 6), DNS_PORT, NULL, why, cap);
    return at_address(d, RESOLVER_DO53_UDP, str_of(text), DNS_PORT, NULL, why, cap);
}
