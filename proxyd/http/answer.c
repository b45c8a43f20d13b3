/* SPDX-License-Identifier: MIT */
#include "proxyd/http/answer.h"

#include <stdio.h>

#include "proto/words.h"

unsigned http_answer_status(const struct judgement *j)
{
    switch (j->reason) {
    case L7_UPSTREAM_UNREACHABLE:
        return 502;
    case L7_QUOTA:
        return 503;
    case L7_PEEK_TIMEOUT:
        return 408;
    default:
        return 403;
    }
}

static const char *status_text(unsigned status)
{
    switch (status) {
    case 408:
        return "Request Timeout";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    default:
        return "Forbidden";
    }
}

static const char *sentence(const struct judgement *j)
{
    switch (j->reason) {
    case L7_HTTP_HOST_ALLOWLIST_MISS:
    case L7_H2_AUTHORITY_ALLOWLIST_MISS:
        return "no egress rule allows it";
    case L7_HTTP_HOST_MISSING:
    case L7_H2_AUTHORITY_MISSING:
        return "the request names no host";
    case L7_H2_UNPARSEABLE_HEADERS:
        return "the request's fields cannot be read";
    case L7_NAME_CONFLICT:
        return "the request can be read in two ways";
    case L7_UNKNOWN_PROTOCOL:
        return "no tunnels: connections are judged by name where they lead, a proxy is not needed";
    case L7_PEEK_TIMEOUT:
        return "the request did not come in time";
    case L7_DESTINATION_DENIED:
        return "the name is allowed, but its addresses are not; responseIpAllowlist (--allow-answer HOST:IP) "
               "lists exceptions";
    case L7_UPSTREAM_UNREACHABLE:
        return "the server cannot be reached";
    case L7_QUOTA:
        return "the decision could not be recorded";
    default:
        return "not allowed";
    }
}

/* IPv6 stands in brackets in a rule. */
static const char *rule_host(const char *host, char dst[NAME_MAX_LEN + 3])
{
    snprintf(dst, NAME_MAX_LEN + 3, strchr(host, ':') ? "[%s]" : "%s", host);
    return dst;
}

size_t http_answer_words(const struct judgement *j, const struct endpoint_addr *original,
                         char dst[HTTP_WORDS_MAX])
{
    const char *protocol = j->protocol == L7_H2C ? "h2c" : "http";
    char addr[ADDR_TEXT_MAX], bracketed[NAME_MAX_LEN + 3], add[NAME_MAX_LEN + 64] = "";
    const char *host = j->name.len > 0 ? j->name.text : addr_format(&original->addr, addr);

    if (j->reason == L7_HTTP_HOST_ALLOWLIST_MISS || j->reason == L7_H2_AUTHORITY_ALLOWLIST_MISS)
        snprintf(add, sizeof(add), "; this one would: --allow %s:%u/%s", rule_host(host, bracketed),
                 original->port, protocol);
    int n = snprintf(dst, HTTP_WORDS_MAX, "%s: %s to %s port %u: %s%s\n",
                     enum_text(&enum_l7_reason, j->reason), protocol, host, original->port, sentence(j), add);
    return n > 0 && n < (int)HTTP_WORDS_MAX ? (size_t)n : 0;
}

void http_answer_put(const struct judgement *j, const struct endpoint_addr *original, bool close,
                     bool is_head, struct buf *b)
{
    char words[HTTP_WORDS_MAX];
    size_t n = http_answer_words(j, original, words);
    unsigned status = http_answer_status(j);

    buf_printf(b, "HTTP/1.1 %u %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n", status,
               status_text(status), n, close ? "Connection: close\r\n" : "");
    if (!is_head)
        buf_put(b, words, n);
}
