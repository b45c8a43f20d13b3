/* SPDX-License-Identifier: MIT */
/* What a resolver sends, before it is believed; and the two texts a policy brings: urls and trust anchors.
 * The first byte says which. */
#include <assert.h>

#include "proxyd/resolver/anchors.h"
#include "proxyd/resolver/message.h"
#include "proxyd/resolver/upstream.h"

static void answer(const uint8_t *p, size_t n)
{
    struct dns_cookie cookie = {.client = {1, 2, 3, 4, 5, 6, 7, 8}, .server_len = 8};
    struct dns_asked asked = {.id = 0x1234, .edns = true, .cookie = &cookie};
    struct dns_reader r = dns_reader_of(p, n);
    struct dns_header h;
    struct dns_got got;

    /* the question as the answer has it, so that the rest is looked at as well */
    if (dns_header_read(&r.at, &h) < 0 || dns_question_read(&r, &asked.q) < 0)
        return;
    asked.id = h.id;
    if (dns_got_read(p, n, &asked, true, &got) != DNS_FIT)
        return;
    dns_cookie_learn(&cookie, &got);
    assert(cookie.server_len <= DNS_COOKIE_SERVER_MAX);
    assert(!got.server_cookie ||
           (got.server_cookie >= p && got.server_cookie + got.server_cookie_len <= p + n));
}

static int one(void *data, const char *record)
{
    assert(strlen(record) < DNS_ANCHOR_LINE_MAX && !strpbrk(record, "\n\r\t;()"));
    ++*(unsigned *)data;
    return 0;
}

static void anchors(struct str s)
{
    unsigned n = 0;

    if (s.len > 0 && dns_anchors_each(s, one, &n) == 0)
        assert(n > 0 && n <= DNS_ANCHORS_MAX);
}

static void url(struct str s)
{
    struct dns_url u;

    if (dns_url_parse(s, &u) < 0)
        return;
    assert(u.port > 0 && u.path[0] == '/' && u.host[0]);
    assert(!strpbrk(u.path, " \r\n") && !strpbrk(u.host, " \r\n/@"));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    if (n == 0)
        return 0;
    struct str rest = {(const char *)p + 1, n - 1};
    if (p[0] % 3 == 0)
        answer(p + 1, n - 1);
    else if (p[0] % 3 == 1)
        anchors(rest);
    else
        url(rest);
    return 0;
}
