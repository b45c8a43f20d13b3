/* SPDX-License-Identifier: MIT */
/* What netd reads of a cell's packets. First byte: 0 = the bytes of a packet as the workload sent it; else a
 * datagram of the flow log, whose messages the kernel makes around such bytes. What is accepted must have an
 * event's form: a row of the rule set, and addresses that are read back from their text. */
#include <stdlib.h>
#include <string.h>

#include "netd/nflog.h"

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_end(const struct packet_tuple *t, const struct endpoint_addr *end)
{
    char text[ADDR_ENDPOINT_MAX];
    struct endpoint_addr back = {0};
    const char *s = packet_end(t, end, text);
    CHECK(strlen(s) < sizeof(text));
    if (!t->has_ports)
        CHECK(addr_parse(str_of(s), &back.addr) == 0);
    else if (end->port != 0) /* a workload may well send to port 0, which is no endpoint of ours */
        CHECK(addr_endpoint_parse(str_of(s), 0, &back) == 0 && back.port == end->port);
    else
        return;
    CHECK(addr_eq(&back.addr, &end->addr));
}

static void check_tuple(const struct packet_tuple *t)
{
    char text[PACKET_PROTOCOL_MAX];
    CHECK(strlen(packet_protocol(t->protocol, text)) > 0);
    CHECK(t->source.addr.family == t->destination.addr.family);
    CHECK(t->source.addr.family == AF_INET || t->source.addr.family == AF_INET6);
    CHECK(t->has_ports || (t->source.port == 0 && t->destination.port == 0));
    CHECK(packet_tuple_eq(t, t));
    check_end(t, &t->source);
    check_end(t, &t->destination);
}

static void check_record(void *self, const struct nflog_record *r)
{
    const struct ruleset *rs = self;
    CHECK(r->row >= RULESET_UNCOUNTED && r->row < (int)rs->nrows);
    CHECK(r->kind == NFLOG_PACKET || r->kind == NFLOG_ENDED);
    CHECK(r->kind != NFLOG_PACKET || r->packets == 1);
    if (r->has_tuple)
        check_tuple(&r->tuple);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _Alignas(8) uint8_t datagram[NFLOG_DATAGRAM_MAX];
    struct packet_tuple t;
    uint64_t length = 0;
    if (size == 0 || size - 1 > sizeof(datagram))
        return 0;
    if (data[0] == 0) {
        if (packet_parse(data + 1, size - 1, &t, &length) == 0)
            check_tuple(&t);
        return 0;
    }
    const struct ruleset *rs = ruleset_of(data[0] % 2 ? NET_MODE_INTERCEPT : NET_MODE_NONE);
    memcpy(datagram, data + 1, size - 1);
    nflog_parse(datagram, size - 1, rs, check_record, (void *)(uintptr_t)rs);
    return 0;
}
