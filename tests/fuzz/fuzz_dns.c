/* SPDX-License-Identifier: MIT */
/* Messages of both sides. First byte: 0 = what the cell sends, 2 = the rdata of an HTTPS record, else = what
 * a resolver sends, as the answer to the question in the message itself (so that the fuzzer gets past the
 * match). Whatever is accepted must come
 * out again as a message that our own reader takes, within its size, and without an address that the policy
 * forbids. */
#include <stdlib.h>

#include "proxyd/dns/answer.h"
#include "proxyd/dns/svcb.h"

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No policy: every address that is not global is forbidden. */
static const struct dns_policy policy = {.novel_limited = true, .reject_rebind = true, .max_novel = 1};

static void check_reply(const struct dns_ask *ask, uint8_t rcode, const struct dns_reply *reply, size_t max)
{
    struct dns_question q;
    struct dns_header h;
    struct dns_rr rr;
    struct buf b;

    buf_init(&b, 1 << 20);
    CHECK(dns_reply_write(&b, ask, rcode, reply, UINT64_MAX, max) == 0);
    CHECK(b.len <= max);
    CHECK(dns_response_matches(b.data, b.len, ask->id, &ask->q));
    struct dns_reader r = dns_reader_of(b.data, b.len);
    CHECK(dns_header_read(&r.at, &h) == 0 && dns_question_read(&r, &q) == 0);
    for (unsigned i = 0; i < (unsigned)h.ancount + h.arcount; i++)
        CHECK(dns_rr_read(&r, &rr) == 0);
    CHECK(cursor_left(&r.at) == 0);
    CHECK(!reply || h.ancount == reply->n || h.flags & DNS_FLAG_TC);
    buf_done(&b);
}

static void check_names(const struct dns_wire_name *w)
{
    char text[DNS_NAME_TEXT_MAX];
    struct dns_wire_name back = {.len = 0};
    struct name host;

    CHECK(w->len >= 1 && w->b[w->len - 1] == 0);
    CHECK(strlen(dns_name_text(w, text)) <= LIMIT_HOSTNAME && text[0]);
    if (!dns_name_host(w, &host))
        return;
    CHECK(strcmp(text, host.text) == 0);
    dns_name_from_host(&host, &back);
    CHECK(dns_name_eq(w, &back));
}

static void from_cell(const uint8_t *p, size_t n)
{
    struct dns_ask ask;
    int r = dns_ask_read(p, n, &ask);

    if (ask.q.qname.len > 0)
        check_names(&ask.q.qname);
    if (r < 0)
        return;
    CHECK(ask.udp_size >= 512);
    CHECK(dns_policy_judge(&policy, &ask, false) == DNS_ALLOWLIST_MISS);
    check_reply(&ask, DNS_REFUSED, NULL, 512);
}

static void check_addrs(const struct dns_reply *reply)
{
    struct addr addrs[LIMIT_DIAL_ADDRS];
    size_t n = dns_reply_addrs(reply, addrs, LIMIT_DIAL_ADDRS);

    CHECK(n <= LIMIT_DIAL_ADDRS);
    for (size_t i = 0; i < n; i++)
        CHECK(addr_classify(&addrs[i]) == ADDR_GLOBAL);
}

static void from_resolver(const uint8_t *p, size_t n)
{
    struct dns_reader r = dns_reader_of(p, n);
    struct dns_ask ask = {.edns = true, .udp_size = 4096};
    struct dns_header h;

    if (dns_header_read(&r.at, &h) < 0 || dns_question_read(&r, &ask.q) < 0 ||
        !dns_name_host(&ask.q.qname, &ask.name))
        return;
    ask.id = h.id;
    struct dns_history *history = NULL;
    const struct dns_terms terms = {.policy = &policy, .history = &history};
    struct dns_verdict *v = dns_answer_judge(&terms, &ask.name, &ask.q, p, n);
    CHECK(v);
    CHECK((v->reason == DNS_ALLOWLIST_MATCH) == (v->reply != NULL));
    CHECK(v->kept.n + v->removed.n <= DNS_ANSWERS_MAX);
    if (v->reply) {
        CHECK(v->reply->n == v->kept.n);
        check_addrs(v->reply);
        check_reply(&ask, v->reply->rcode, v->reply, UINT16_MAX);
        check_reply(&ask, v->reply->rcode, v->reply, 512);
    }
    for (size_t i = 0; i < v->naddrs; i++)
        CHECK(addr_classify(&v->addrs[i]) == ADDR_GLOBAL);
    dns_verdict_free(v);
    dns_history_free(history);
}

static bool hint_ok(void *self, const struct addr *addr)
{
    (void)self;
    return addr->bytes[0] != 10;
}

static bool target_ok(void *self, const struct name *target)
{
    (void)self;
    return target->len % 2 == 0;
}

/* What comes out is good by the same terms, and comes out unchanged. */
static void svcb(const uint8_t *p, size_t n)
{
    const struct dns_svcb_terms terms = {hint_ok, target_ok, NULL};
    const struct dns_wire_name owner = {4, {2, 'a', 'b', 0}};
    struct dns_svcb info, again;
    struct buf one, two;

    buf_init(&one, 1 << 16);
    buf_init(&two, 1 << 16);
    if (dns_svcb_rebuild(p, n, &owner, &terms, &one, &info) == DNS_SVCB_KEPT) {
        CHECK(one.len <= n);
        CHECK(dns_svcb_rebuild(one.data, one.len, &owner, &terms, &two, &again) == DNS_SVCB_KEPT);
        CHECK(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
        CHECK(!again.ech_removed && !again.hints_removed && again.nhints == info.nhints);
    } else {
        CHECK(one.len == 0);
    }
    buf_done(&one);
    buf_done(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > DNS_MESSAGE_MAX + 1)
        return 0;
    if (data[0] == 0)
        from_cell(data + 1, size - 1);
    else if (data[0] == 2)
        svcb(data + 1, size - 1);
    else
        from_resolver(data + 1, size - 1);
    return 0;
}
