/* SPDX-License-Identifier: MIT */
/* A cell's sockets against a scripted resolver: what is refused, what leaves and when, and which answers
 * count. */
#include "tests/unit/test_proxyd_dns_rig.h"

static const struct seen_event *event(struct rig *rig, size_t i)
{
    if (i >= rig->nevents)
        fail_msg("event %zu of %zu", i, rig->nevents);
    return &rig->events[i];
}

static void an_allowed_name_is_answered(void **state)
{
    struct rig *rig = *state;
    const struct seen_event *e;

    rig->script = script_address;
    ask_gets(rig, "WWW.Example.COM", DNS_TYPE_A, DNS_NOERROR, 1);
    assert_int_equal(rig->udp_seen, 1);
    assert_true(rig->last_ask.rd);
    assert_true(rig->last_ask.edns);
    assert_string_equal(rig->last_ask.name.text, "www.example.com"); /* its case is drawn by lot */
    assert_int_equal(rig->nevents, 2);
    e = event(rig, 0);
    assert_int_equal(e->kind, 'q');
    assert_string_equal(e->name, "www.example.com");
    assert_string_equal(e->type, "A");
    assert_true(e->allow && e->wants_ack && !e->cached && !e->own);
    assert_int_equal(e->reason, DNS_ALLOWLIST_MATCH);
    assert_string_equal(e->resolver, "up");
    e = event(rig, 1);
    assert_int_equal(e->kind, 'a');
    assert_true(e->wants_ack);
    assert_int_equal(e->rcode, DNS_NOERROR);
    assert_int_equal(e->nanswers, 1);
    assert_string_equal(e->answer, "93.184.216.34");
    assert_string_equal(e->resolver, "up");
}

static void the_answer_echoes_the_question_and_edns(void **state)
{
    struct rig *rig = *state;
    struct dns_wire_name name = wire_of("www.example.com");
    struct buf b;

    rig->script = script_address;
    name.b[1] = 'W';
    rig->client = client_open(rig, "127.0.0.1", SOCK_DGRAM);
    buf_init(&b, 512);
    put_header(&b, 77, DNS_FLAG_RD, 0, 0, 1);
    put_question(&b, &(struct dns_question){name, DNS_TYPE_A, DNS_CLASS_IN});
    buf_put(&b, "\0\0\x29\x10\0\0\0\0\0\0\0", 11);
    assert_int_equal(send(rig->client, b.data, b.len, 0), b.len);
    assert_true(client_answer(rig, 2000));
    assert_int_equal(reply_id(rig), 77);
    assert_memory_equal(rig->reply + DNS_HEADER_LEN, name.b, name.len);
    assert_int_equal(rig->reply[11], 1); /* OPT, the last 11 bytes */
    assert_memory_equal(rig->reply + rig->reply_len - 11, "\0\0\x29\x04\xd0\0\0\0\0\0\0", 11);
    buf_done(&b);
}

static void what_is_denied_never_leaves(void **state)
{
    struct rig *rig = *state;

    rig->script = script_address;
    ask_gets(rig, "evil.example.com", DNS_TYPE_A, DNS_REFUSED, 0);
    ask_gets(rig, "wild.test", DNS_TYPE_A, DNS_REFUSED, 0);
    ask_gets(rig, "www.example.com", 16, DNS_REFUSED, 0);
    ask_gets(rig, "www.example.com", DNS_TYPE_ANY, DNS_REFUSED, 0);
    rig_run(rig, 50);
    assert_int_equal(rig->udp_seen + rig->tcp_seen, 0);
    assert_int_equal(rig->nevents, 4);
    assert_int_equal(event(rig, 0)->reason, DNS_ALLOWLIST_MISS);
    assert_int_equal(event(rig, 2)->reason, DNS_TYPE_DENIED);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(event(rig, i)->kind, 'q');
        assert_false(event(rig, i)->allow || event(rig, i)->wants_ack);
        assert_string_equal(event(rig, i)->resolver, "(none)");
    }
}

static void what_is_malformed_gets_an_event_and_no_reply(void **state)
{
    struct rig *rig = *state;
    struct dns_question q = question_of("www.example.com", DNS_TYPE_A);
    uint8_t big[2000] = {0};
    struct buf b;

    rig->client = client_open(rig, "127.0.0.1", SOCK_DGRAM);
    buf_init(&b, 512);
    put_header(&b, 1, 0x8180, 0, 0, 0); /* a response */
    put_question(&b, &q);
    assert_int_equal(send(rig->client, b.data, b.len, 0), b.len);
    assert_int_equal(send(rig->client, b.data, 5, 0), 5);
    assert_int_equal(send(rig->client, big, sizeof(big), 0), sizeof(big));
    assert_int_equal(send(rig->client, big, 0, 0), 0);
    assert_false(client_answer(rig, 100));
    assert_int_equal(rig->nevents, 4);
    assert_string_equal(event(rig, 0)->name, "www.example.com");
    assert_string_equal(event(rig, 1)->name, "(none)");
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(event(rig, i)->reason, DNS_MALFORMED_QUERY);
        assert_false(event(rig, i)->allow || event(rig, i)->wants_ack);
    }
    assert_int_equal(rig->udp_seen, 0);
    buf_done(&b);
}

static void the_answer_comes_from_the_address_that_was_asked(void **state)
{
    static const char *const addrs[] = {"127.0.0.1", "127.0.0.5", "127.9.9.9", "::1"};
    struct rig *rig = *state;

    rig->script = script_address;
    for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
        /* connected: the kernel hands on only what comes from there */
        rig->client = client_open(rig, addrs[i], SOCK_DGRAM);
        ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
        close(rig->client);
    }
    rig->client = -EBADF;
}

static void nothing_leaves_before_the_acknowledgement(void **state)
{
    struct rig *rig = *state;

    rig->script = script_address;
    rig->mode = ACK_HOLD;
    client_ask(rig, 5, "www.example.com", DNS_TYPE_A);
    assert_false(client_answer(rig, 150));
    assert_int_equal(rig->udp_seen, 0); /* dns_query is not durable yet */
    assert_int_equal(rig->nacks, 1);
    rig_ack_all(rig, 0);
    assert_false(client_answer(rig, 150));
    assert_int_equal(rig->udp_seen, 1);
    assert_int_equal(rig->nacks, 1); /* dns_answer is not durable yet */
    rig_ack_all(rig, 0);
    assert_true(client_answer(rig, 1000));
    assert_int_equal(reply_rcode(rig), DNS_NOERROR);
}

static void a_refused_acknowledgement_is_servfail(void **state)
{
    struct rig *rig = *state;

    rig->script = script_address;
    rig->mode = ACK_FAIL;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_SERVFAIL, 0);
    assert_int_equal(rig->udp_seen, 0);
    rig->mode = ACK_HOLD;
    client_ask(rig, 5, "www.example.com", DNS_TYPE_A);
    rig_run(rig, 20);
    rig_ack_all(rig, 0);
    while (rig->nacks == 0)
        rig_run(rig, 5);
    rig_ack_all(rig, -EIO); /* of dns_answer */
    assert_true(client_answer(rig, 1000));
    assert_int_equal(reply_rcode(rig), DNS_SERVFAIL);
    /* what the resolver said is kept, and comes with evidence of its own */
    rig->mode = ACK_AT_ONCE;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
    assert_int_equal(rig->udp_seen, 1);
    assert_true(event(rig, rig->nevents - 1)->cached);
    assert_string_equal(event(rig, rig->nevents - 1)->answer, "93.184.216.34");
}

static void a_late_acknowledgement_is_servfail(void **state)
{
    struct rig *rig = *state;
    uint64_t start = clock_boottime_us();

    rig->script = script_address;
    rig->mode = ACK_HOLD;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_SERVFAIL, 0);
    assert_in_range(clock_boottime_us() - start, LIMIT_ACK_MS * 1000u - 100000,
                    LIMIT_ACK_MS * 1000u + 1500000);
    rig_ack_all(rig, 0); /* too late: nothing may follow */
    assert_false(client_answer(rig, 100));
    assert_int_equal(rig->udp_seen, 0);
    assert_int_equal(rig->nevents, 1);
}

static void a_cached_answer_is_one_event(void **state)
{
    struct rig *rig = *state;
    const struct seen_event *e;

    rig->script = script_address;
    rig->mode = ACK_LATER;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
    assert_int_equal(rig->udp_seen, 1);
    assert_int_equal(rig->nevents, 3);
    e = event(rig, 2);
    assert_true(e->kind == 'q' && e->cached && e->allow && e->wants_ack);
    assert_int_equal(e->nanswers, 1);
    assert_string_equal(e->answer, "93.184.216.34");
    /* held back like any other */
    rig->mode = ACK_HOLD;
    client_ask(rig, 9, "www.example.com", DNS_TYPE_A);
    assert_false(client_answer(rig, 100));
    rig_ack_all(rig, 0);
    assert_true(client_answer(rig, 1000));
}

static void script_liar(struct rig *rig, const struct dns_ask *ask, bool tcp, struct buf *b)
{
    struct dns_question other = question_of("www.example.org", DNS_TYPE_A);
    struct buf lie;

    (void)tcp;
    buf_init(&lie, 1024);
    for (int i = 0; i < 4; i++) {
        buf_clear(&lie);
        put_header(&lie, i == 0 ? (uint16_t)(ask->id + 1) : ask->id, i == 1 ? 0x0180 : 0x8180, 1, 0, 0);
        put_question(&lie, i == 2 ? &other : &ask->q);
        put_addr(&lie, "www.example.com", 60, "6.6.6.6");
        if (i == 3) {
            /* right in every byte, but from another port */
            uint16_t port;
            int fd = rig_socket(AF_INET, SOCK_DGRAM, 0, &port);
            sendto(fd, lie.data, lie.len, 0, (struct sockaddr *)&rig->last_from, sizeof(rig->last_from));
            close(fd);
        } else {
            sendto(rig->up_udp, lie.data, lie.len, 0, (struct sockaddr *)&rig->last_from,
                   sizeof(rig->last_from));
        }
    }
    buf_done(&lie);
    script_address(rig, ask, false, b);
}

static void wrong_answers_are_ignored(void **state)
{
    struct rig *rig = *state;
    struct dns_counters c;

    rig->script = script_liar;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
    assert_string_equal(event(rig, 1)->answer, "93.184.216.34");
    dns_cell_counters(rig->cell, &c);
    assert_int_equal(c.strays, 3); /* the one from elsewhere never got in */
}

static void script_flood_of_lies(struct rig *rig, const struct dns_ask *ask, bool tcp, struct buf *b)
{
    struct buf lie;

    (void)tcp;
    (void)b;
    buf_init(&lie, 1024);
    put_header(&lie, (uint16_t)(ask->id + 1), 0x8180, 0, 0, 0);
    put_question(&lie, &ask->q);
    for (int i = 0; i < 200; i++)
        sendto(rig->up_udp, lie.data, lie.len, 0, (struct sockaddr *)&rig->last_from, sizeof(rig->last_from));
    buf_done(&lie);
}

static void a_port_under_attack_is_given_up(void **state)
{
    struct rig *rig = *state;
    uint64_t start = clock_boottime_us();

    rig->script = script_flood_of_lies;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_SERVFAIL, 0);
    assert_int_equal(rig->udp_seen, LIMIT_DNS_TRIES);
    assert_true(clock_boottime_us() - start < 1000000);
    assert_int_equal(event(rig, 1)->reason, DNS_UPSTREAM_FAILURE);
}

static void script_ports(struct rig *rig, const struct dns_ask *ask, bool tcp, struct buf *b)
{
    static uint16_t ports[8], ids[8];

    ports[rig->arg] = ntohs(rig->last_from.sin_port);
    ids[rig->arg] = ask->id;
    for (int i = 0; i < rig->arg; i++)
        assert_false(ports[i] == ports[rig->arg] && ids[i] == ids[rig->arg]);
    if (rig->arg > 0)
        assert_int_not_equal(ports[rig->arg], ports[rig->arg - 1]);
    if (rig->arg < 7)
        rig->arg++;
    script_address(rig, ask, tcp, b);
}

static void every_query_has_its_own_port_and_id(void **state)
{
    static const char *const names[] = {"a.wild.test", "b.wild.test", "c.wild.test", "d.wild.test",
                                        "e.wild.test"};
    struct rig *rig = *state;

    rig->script = script_ports;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        ask_gets(rig, names[i], DNS_TYPE_A, DNS_NOERROR, 1);
    assert_int_equal(rig->arg, 5);
}

static void silence_is_servfail_after_one_retry(void **state)
{
    struct rig *rig = *state;
    uint64_t start = clock_boottime_us();

    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_SERVFAIL, 0);
    assert_int_equal(rig->udp_seen, LIMIT_DNS_TRIES);
    assert_in_range(clock_boottime_us() - start, LIMIT_DNS_TIMEOUT_MS * LIMIT_DNS_TRIES * 1000u - 100000,
                    DNS_UPSTREAM_MS * 1000u + 1000000);
    assert_int_equal(rig->nevents, 2);
    assert_int_equal(event(rig, 1)->reason, DNS_UPSTREAM_TIMEOUT);
    assert_false(event(rig, 1)->wants_ack);
    assert_in_range(event(rig, 1)->rcode, DNS_SERVFAIL, DNS_SERVFAIL);
}

static void a_dead_resolver_fails_at_once(void **state)
{
    struct rig *rig = *state;
    uint64_t start = clock_boottime_us();
    uint16_t port;
    int fd = rig_socket(AF_INET, SOCK_DGRAM, 0, &port);

    close(fd); /* nobody listens there */
    rig->resolvers[0].addr.port = port;
    rig_restart(rig);
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_SERVFAIL, 0);
    assert_true(clock_boottime_us() - start < 1000000);
    assert_int_equal(event(rig, 1)->reason, DNS_UPSTREAM_FAILURE);
    /* the next in order answers */
    rig->resolvers[1] =
        (struct dns_resolver){.id = "second", .protocol = RESOLVER_DO53_UDP, .addr = loopback(rig->up_port)};
    rig->policy.nresolvers = 2;
    rig_restart(rig);
    rig->script = script_address;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
    assert_string_equal(event(rig, 3)->resolver, "second");
}

static void no_resolver_is_servfail(void **state)
{
    struct rig *rig = *state;

    rig->policy.nresolvers = 0;
    rig_restart(rig);
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_SERVFAIL, 0);
    assert_string_equal(event(rig, 1)->resolver, "");
}

static void script_rcode(struct rig *rig, const struct dns_ask *ask, bool tcp, struct buf *b)
{
    (void)tcp;
    put_header(b, ask->id, 0x8180u | (unsigned)rig->arg, 0, 0, 0);
    put_question(b, &ask->q);
}

static void a_resolvers_error_is_servfail(void **state)
{
    struct rig *rig = *state;

    rig->script = script_rcode;
    rig->arg = DNS_REFUSED;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_SERVFAIL, 0);
    assert_int_equal(event(rig, 1)->rcode, DNS_REFUSED); /* the event says what it was */
    assert_int_equal(event(rig, 1)->reason, DNS_UPSTREAM_FAILURE);
    rig->arg = DNS_NXDOMAIN;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NXDOMAIN, 0);
    assert_int_equal(event(rig, 3)->reason, DNS_ALLOWLIST_MATCH);
}

static void script_no_edns(struct rig *rig, const struct dns_ask *ask, bool tcp, struct buf *b)
{
    if (!ask->edns) {
        script_address(rig, ask, tcp, b);
        return;
    }
    put_header(b, ask->id, 0x8180u | DNS_FORMERR, 0, 0, 0);
    put_question(b, &ask->q);
}

static void an_old_resolver_is_asked_without_edns(void **state)
{
    struct rig *rig = *state;

    rig->script = script_no_edns;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
    assert_int_equal(rig->udp_seen, 2);
}

static void script_truncates(struct rig *rig, const struct dns_ask *ask, bool tcp, struct buf *b)
{
    if (tcp) {
        put_header(b, ask->id, 0x8180, 40, 0, 0);
        put_question(b, &ask->q);
        for (int i = 0; i < 40; i++)
            put_addr(b, ask->name.text, 60, "93.184.216.34");
        return;
    }
    (void)rig;
    put_header(b, ask->id, 0x8380, 0, 0, 0);
    put_question(b, &ask->q);
}

static void truncation_goes_over_to_tcp(void **state)
{
    struct rig *rig = *state;

    rig->script = script_truncates;
    /* 40 records do not fit 512 bytes: the cell is told to come back by TCP */
    client_ask(rig, 3, "www.example.com", DNS_TYPE_A);
    assert_true(client_answer(rig, 3000));
    assert_int_equal(rig->udp_seen, 1);
    assert_int_equal(rig->tcp_seen, 1);
    assert_int_equal(rig->reply[2] & 2, 2);
    assert_int_equal(reply_ancount(rig), 0);
    assert_int_equal(event(rig, 1)->nanswers, 40);
    close(rig->client);
    rig->client = client_open(rig, "127.0.0.1", SOCK_STREAM);
    struct buf b;
    buf_init(&b, 512);
    buf_put_be16(&b, 33);
    put_query(&b, 4, "www.example.com", DNS_TYPE_A);
    assert_int_equal(b.len, 35);
    assert_int_equal(send(rig->client, b.data, b.len, 0), b.len);
    assert_true(client_answer(rig, 3000));
    assert_int_equal(rig->reply_len, 2 + 33 + 40 * 16);
    assert_int_equal(rig->reply[2 + 7], 40);
    assert_int_equal(rig->tcp_seen, 1); /* from the cache */
    buf_done(&b);
}

static void a_tcp_resolver_is_asked_by_tcp(void **state)
{
    struct rig *rig = *state;

    rig->script = script_address;
    rig->resolvers[0].protocol = RESOLVER_DO53_TCP;
    rig_restart(rig);
    ask_gets(rig, "www.example.com", DNS_TYPE_AAAA, DNS_NOERROR, 1);
    assert_int_equal(rig->udp_seen, 0);
    assert_int_equal(rig->tcp_seen, 1);
    assert_string_equal(event(rig, 1)->answer, "2606:2800:220:1::1");
}

static void script_rebind(struct rig *rig, const struct dns_ask *ask, bool tcp, struct buf *b)
{
    (void)tcp;
    put_header(b, ask->id, 0x8180, rig->arg ? 2 : 1, 0, 0);
    put_question(b, &ask->q);
    put_addr(b, ask->name.text, 60, "127.0.0.1");
    if (rig->arg)
        put_addr(b, ask->name.text, 60, "93.184.216.34");
}

static void rebinding_is_refused(void **state)
{
    struct rig *rig = *state;
    const struct seen_event *e;

    rig->script = script_rebind;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_SERVFAIL, 0);
    e = event(rig, 1);
    assert_int_equal(e->kind, 'd');
    assert_string_equal(e->authority, "rejected");
    assert_string_equal(e->data, "127.0.0.1");
    assert_string_equal(e->why, addr_class_name(ADDR_LOOPBACK));
    e = event(rig, 2);
    assert_int_equal(e->reason, DNS_REBIND_REJECTED);
    assert_int_equal(e->nanswers, 0);
    assert_int_equal(e->nremoved, 1);
    assert_string_equal(e->removed, "127.0.0.1");
    assert_string_equal(e->why, addr_class_name(ADDR_LOOPBACK));
    assert_int_equal(e->removed_reason, DNS_REBIND_REJECTED);
    assert_false(e->wants_ack);
    /* it stays what the resolver said for its TTL, and is refused again */
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_SERVFAIL, 0);
    assert_int_equal(rig->udp_seen, 1);
    assert_true(event(rig, 3)->kind == 'q' && event(rig, 3)->cached && event(rig, 3)->nanswers == 0);
    assert_true(event(rig, 4)->kind == 'a' && event(rig, 4)->reason == DNS_REBIND_REJECTED);
    assert_int_equal(rig->nevents, 5);
    /* one good address among bad ones is all that passes */
    rig->arg = 1;
    ask_gets(rig, "a.wild.test", DNS_TYPE_A, DNS_NOERROR, 1);
    assert_string_equal(event(rig, 6)->authority, "rejected");
    e = event(rig, 7);
    assert_int_equal(e->reason, DNS_ALLOWLIST_MATCH);
    assert_string_equal(e->answer, "93.184.216.34");
    assert_string_equal(e->removed, "127.0.0.1");
    assert_memory_equal(rig->reply + rig->reply_len - 4, "\x5d\xb8\xd8\x22", 4);
}

static void an_answer_rule_permits_it(void **state)
{
    struct rig *rig = *state;

    rig->script = script_rebind;
    rig->rules[0].host = host_of("www.example.com");
    assert_int_equal(addr_prefix_parse(STR_LIT("127.0.0.1"), &rig->rules[0].prefix), 0);
    rig->policy.nanswer_rules = 1;
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
    ask_gets(rig, "a.wild.test", DNS_TYPE_A, DNS_SERVFAIL, 0);
}

static void in_flight_queries_are_bounded(void **state)
{
    struct rig *rig = *state;
    struct dns_counters c;

    rig->mode = ACK_HOLD;
    for (uint16_t i = 0; i < LIMIT_DNS_IN_FLIGHT + 10; i++) {
        client_ask(rig, i, "www.example.com", DNS_TYPE_A);
        rig_run(rig, 1);
    }
    rig_run(rig, 50);
    assert_int_equal(rig->nacks, LIMIT_DNS_IN_FLIGHT);
    dns_cell_counters(rig->cell, &c);
    assert_int_equal(c.limited, 10);
    /* denials still act */
    ask_gets(rig, "evil.test", DNS_TYPE_A, DNS_REFUSED, 0);
    rig_run(rig, 1200);
    const struct seen_event *last = event(rig, rig->nevents - 1);
    assert_int_equal(last->kind, 'g');
    assert_int_equal(last->lost, 10);
    assert_string_equal(last->name, "dns_rate_limited");
    /* freed in the middle of it: the acknowledgements that are still to come must find nothing to do */
    rig->cell = dns_cell_free(rig->cell);
    assert_int_equal(rig->nacks, LIMIT_DNS_IN_FLIGHT);
    rig_ack_all(rig, 0);
    assert_int_equal(rig->udp_seen, 0);
}

static void a_flood_is_bounded_and_counted(void **state)
{
    struct rig *rig = *state;
    struct dns_counters c;
    uint64_t sent = 0, lost = 0;

    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 15; i++, sent++)
            client_ask(rig, 1, "evil.test", DNS_TYPE_A);
        ev_run(rig->loop, EVRUN_NOWAIT);
        while (recv(rig->client, rig->reply, sizeof(rig->reply), MSG_DONTWAIT) > 0)
            ;
    }
    rig_run(rig, 1300);
    dns_cell_counters(rig->cell, &c);
    assert_int_equal(c.queries, sent);
    assert_int_equal(c.denied + c.limited, sent);
    /* a second's worth at once, and what its duration adds */
    assert_in_range(c.denied, LIMIT_DNS_PER_SECOND, LIMIT_DNS_PER_SECOND * 2);
    for (size_t i = 0; i < rig->nevents; i++)
        lost += rig->events[i].lost;
    assert_int_equal(lost, c.limited);
    /* and it is over when it is over */
    ask_gets(rig, "evil.test", DNS_TYPE_A, DNS_REFUSED, 0);
}

static void one_turn_takes_a_bounded_batch(void **state)
{
    struct rig *rig = *state;
    struct dns_counters c;

    for (int i = 0; i < 100; i++)
        client_ask(rig, 1, "evil.test", DNS_TYPE_A);
    ev_run(rig->loop, EVRUN_ONCE);
    dns_cell_counters(rig->cell, &c);
    assert_in_range(c.queries, 1, 16);
}

static void a_last_gap_is_reported_at_the_end(void **state)
{
    struct rig *rig = *state;

    rig->mode = ACK_HOLD;
    for (uint16_t i = 0; i < LIMIT_DNS_IN_FLIGHT + 3; i++) {
        client_ask(rig, i, "www.example.com", DNS_TYPE_A);
        rig_run(rig, 1);
    }
    rig_run(rig, 20);
    rig->cell = dns_cell_free(rig->cell);
    assert_int_equal(event(rig, rig->nevents - 1)->lost, 3);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_allowed_name_is_answered),
        T(the_answer_echoes_the_question_and_edns),
        T(what_is_denied_never_leaves),
        T(what_is_malformed_gets_an_event_and_no_reply),
        T(the_answer_comes_from_the_address_that_was_asked),
        T(nothing_leaves_before_the_acknowledgement),
        T(a_refused_acknowledgement_is_servfail),
        T(a_late_acknowledgement_is_servfail),
        T(a_cached_answer_is_one_event),
        T(wrong_answers_are_ignored),
        T(a_port_under_attack_is_given_up),
        T(every_query_has_its_own_port_and_id),
        T(silence_is_servfail_after_one_retry),
        T(a_dead_resolver_fails_at_once),
        T(no_resolver_is_servfail),
        T(a_resolvers_error_is_servfail),
        T(an_old_resolver_is_asked_without_edns),
        T(truncation_goes_over_to_tcp),
        T(a_tcp_resolver_is_asked_by_tcp),
        T(rebinding_is_refused),
        T(an_answer_rule_permits_it),
        T(in_flight_queries_are_bounded),
        T(a_flood_is_bounded_and_counted),
        T(one_turn_takes_a_bounded_batch),
        T(a_last_gap_is_reported_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
