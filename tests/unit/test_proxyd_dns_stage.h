/* SPDX-License-Identifier: MIT */
/* The stage on which test_proxyd_dns_replay.c plays its files: the clock, the resolver, the cells, and what
 * they said. */
#pragma once

#include "tests/unit/test_proxyd_dns_rig.h"

#include <time.h>

#include "common/base/encoding.h"
#include "proxyd/dns/cell.h"

#define WAIT_MS     8000
#define SILENCE_MS  60
#define ZONES_MAX   64
#define RECORDS_MAX 160
#define EVENTS_MAX  256

/* ---- the clock of everything that is linked here: it stands unless the file lets time pass ---- */

static uint64_t skipped_us;

uint64_t clock_boottime_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u + skipped_us;
}

uint64_t clock_realtime_ms(void)
{
    return 1800000000000u + skipped_us / 1000;
}

/* ---- the stage ---- */

struct zone {
    char name[256];
    uint16_t type;
    uint8_t rcode;
    bool silent, truncated, late;
    size_t n, nauthority; /* records; the last nauthority of them */
    char *records[RECORDS_MAX];
};

struct event {
    char cell, kind[16], name[256], type[16], data[1024], removed[1024], why[256], resolver[32];
    const char *origin;
    bool allow, cached, stale, synthetic, ech, hints;
    enum dns_reason_code reason;
    uint8_t rcode;
    uint32_t novel;
};

struct player {
    struct dns_policy policy;
    struct dns_resolver resolvers[2];
    struct name names[8];
    struct dns_answer_rule rules[8];
    struct addr_prefix metadata[2];
    uint16_t types[8];
    struct dns_cell *cell;
    int udp, tcp, client;
    uint16_t port;
    char letter;
};

static struct {
    struct ev_loop *loop;
    ev_timer tick;
    int up_udp, up_tcp;
    uint16_t up_port;
    ev_io up_udp_io, up_tcp_io;
    unsigned asked;
    bool client_subnet;
    size_t held_len; /* a question whose answer is late */
    uint8_t held[4096];
    struct sockaddr_in held_from;
    struct zone zones[ZONES_MAX];
    size_t nzones;
    struct player players[2], *now;
    struct event events[EVENTS_MAX];
    size_t nevents, seen;
    bool hold, fail;
    size_t nacks;
    struct {
        dns_ack_cb ack;
        void *data;
    } acks[64];
    char pinned[1024]; /* the pin call that waits */
    dns_ack_cb pin_done;
    void *pin_data;
    bool resolved;
    int resolve_result;
    char resolve_addrs[512];
    uint16_t id;
    const char *file;
    unsigned line;
} on;

#define FAIL(...)                                                                                            \
    do {                                                                                                     \
        print_error("%s:%u: ", on.file, on.line);                                                            \
        fail_msg(__VA_ARGS__);                                                                               \
    } while (0)

static void turn(unsigned ms)
{
    uint64_t end = clock_boottime_us() + ms * 1000u;

    do
        ev_run(on.loop, EVRUN_ONCE);
    while (clock_boottime_us() < end);
}

/* ---- events ---- */

static void add_word(char *all, size_t size, const char *word)
{
    size_t n = strlen(all);

    (void)snprintf(all + n, size - n, "%s%s", n ? "," : "", word);
}

static struct event *event_new(void *self, const char *kind, const char *name, const char *type)
{
    struct event *e = &on.events[on.nevents++];

    assert_true(on.nevents < EVENTS_MAX);
    memset(e, 0, sizeof(*e));
    e->cell = ((struct player *)self)->letter;
    e->origin = "";
    (void)snprintf(e->kind, sizeof(e->kind), "%s", kind);
    (void)snprintf(e->name, sizeof(e->name), "%s", name ? name : "-");
    (void)snprintf(e->type, sizeof(e->type), "%s", type ? type : "-");
    return e;
}

static void take_ack(dns_ack_cb ack, void *data)
{
    if (!ack)
        return;
    if (!on.hold) {
        ack(data, on.fail ? -EIO : 0);
        return;
    }
    assert_true(on.nacks < ARRAY_LEN(on.acks));
    on.acks[on.nacks].ack = ack;
    on.acks[on.nacks++].data = data;
}

static void on_query(void *self, const struct dns_query_info *i, dns_ack_cb ack, void *data)
{
    struct event *e = event_new(self, "query", i->name, i->type);

    e->allow = i->allow;
    e->cached = i->cached;
    e->origin = i->own ? "dial" : i->refresh ? "refresh" : "cell";
    e->reason = i->reason;
    e->rcode = i->rcode;
    for (size_t k = 0; k < i->nanswers; k++)
        add_word(e->data, sizeof(e->data), i->answers[k].data);
    take_ack(ack, data);
}

static void on_answer(void *self, const struct dns_answer_info *i, dns_ack_cb ack, void *data)
{
    struct event *e = event_new(self, "answer", i->name, i->type);

    e->allow = i->reason == DNS_ALLOWLIST_MATCH;
    assert_int_equal(e->allow, ack != NULL);
    e->reason = i->reason;
    e->rcode = i->rcode;
    e->stale = i->stale;
    e->synthetic = i->synthetic;
    e->ech = i->ech_removed;
    e->hints = i->hints_removed;
    (void)snprintf(e->resolver, sizeof(e->resolver), "%.31s", i->resolver_id);
    for (size_t k = 0; k < i->nanswers; k++)
        add_word(e->data, sizeof(e->data), i->answers[k].data);
    for (size_t k = 0; k < i->nremoved; k++) {
        add_word(e->removed, sizeof(e->removed), i->removed[k].data);
        add_word(e->why, sizeof(e->why), i->removed[k].why);
    }
    take_ack(ack, data);
}

static void on_gap(void *self, const struct dns_gap_info *i)
{
    event_new(self, "gap", i->cause, NULL);
}

static void on_authority(void *self, const struct dns_authority_info *i)
{
    static const char *const kinds[] = {"drift", "threshold", "rejected", "dnssec"};
    struct event *e = event_new(self, kinds[i->event], i->name, i->type);

    e->novel = i->counted ? i->novel : 0;
    (void)snprintf(e->why, sizeof(e->why), "%s", i->why ? i->why : "");
    for (size_t k = 0; k < i->naddresses; k++)
        add_word(e->data, sizeof(e->data), i->addresses[k]);
}

static const struct dns_events events = {on_query, on_answer, on_gap, on_authority};

static void on_pin(void *self, const struct name *name, const struct addr *addrs, size_t n, uint32_t ttl_s,
                   dns_ack_cb done, void *data)
{
    char text[ADDR_TEXT_MAX];

    (void)self;
    assert_null(on.pin_done);
    assert_true(ttl_s >= DNS_PIN_GRACE_S);
    (void)snprintf(on.pinned, sizeof(on.pinned), "%s", name->text);
    for (size_t i = 0; i < n; i++)
        add_word(on.pinned, sizeof(on.pinned), addr_format(&addrs[i], text));
    on.pin_done = done;
    on.pin_data = data;
}

/* ---- the resolver ---- */

static void bytes_hex(struct buf *b, const char *hex)
{
    uint8_t bytes[512];
    size_t n = strlen(hex) / 2;

    assert_true(n <= sizeof(bytes));
    if (encoding_hex_get(str_of(hex), bytes, n) < 0)
        FAIL("no hex digits: %s", hex);
    buf_put(b, bytes, n);
}

static void put_addrs(struct buf *b, char *list)
{
    struct addr a;

    for (char *save, *w = strtok_r(list, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        if (addr_parse(str_of(w), &a) < 0)
            FAIL("no address: %s", w);
        buf_put(b, a.bytes, a.family == AF_INET ? 4 : 16);
    }
}

static const char *const svcb_keys[] = {"mandatory", "alpn", "no-default-alpn", "port",
                                        "ipv4hint",  "ech",  "ipv6hint"};

static unsigned svcb_key(const char *word)
{
    for (unsigned i = 0; i < ARRAY_LEN(svcb_keys); i++)
        if (strcmp(svcb_keys[i], word) == 0)
            return i;
    return (unsigned)strtoul(word + 3, NULL, 10); /* key65280, raw4 */
}

static void svcb_value(struct buf *b, unsigned key, char *v)
{
    char *save;

    if (key == 4 || key == 6) {
        put_addrs(b, v);
    } else if (key == 0) {
        for (char *w = strtok_r(v, ",", &save); w; w = strtok_r(NULL, ",", &save))
            buf_put_be16(b, (uint16_t)svcb_key(w));
    } else if (key == 1) {
        for (char *w = strtok_r(v, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
            buf_putc(b, (uint8_t)strlen(w));
            buf_puts(b, w);
        }
    } else if (key == 3) {
        buf_put_be16(b, (uint16_t)strtoul(v, NULL, 10));
    } else {
        bytes_hex(b, v);
    }
}

/* "1 . alpn=h2 ipv4hint=192.0.2.1", the parameters in the order in which they are to be sent */
static void svcb_put(struct buf *b, char *save)
{
    struct dns_wire_name target = {1, {0}};
    char *prio = strtok_r(NULL, " ", &save), *name = strtok_r(NULL, " ", &save);

    assert_non_null(prio);
    assert_non_null(name);
    if (strcmp(name, ".") != 0)
        target = wire_of(name);
    buf_put_be16(b, (uint16_t)strtoul(prio, NULL, 10));
    buf_put(b, target.b, target.len);
    for (char *w = strtok_r(NULL, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        char *v = strchr(w, '='), none[] = "";
        struct buf value;
        if (v)
            *v++ = '\0';
        buf_init(&value, 1024);
        if (strncmp(w, "raw", 3) == 0)
            bytes_hex(&value, v);
        else
            svcb_value(&value, svcb_key(w), v ? v : none);
        buf_put_be16(b, (uint16_t)svcb_key(w));
        buf_put_be16(b, (uint16_t)value.len);
        buf_put(b, value.data, value.len);
        buf_done(&value);
    }
}

static void rdata_put(struct buf *b, uint16_t type, char *save)
{
    struct dns_wire_name w;

    if (type == DNS_TYPE_HTTPS || type == DNS_TYPE_SVCB) {
        svcb_put(b, save);
        return;
    }
    char *data = strtok_r(NULL, " ", &save);
    assert_non_null(data);
    if (type == DNS_TYPE_A || type == DNS_TYPE_AAAA) {
        put_addrs(b, data);
    } else if (type == DNS_TYPE_CNAME || type == DNS_TYPE_DNAME) {
        w = wire_of(data);
        buf_put(b, w.b, w.len);
    } else if (type == DNS_TYPE_SOA) {
        buf_put(b, "\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1", 18);
        buf_put_be32(b, (uint32_t)strtoul(data, NULL, 10));
    } else {
        bytes_hex(b, data);
    }
}

/* "owner ttl type data" */
static void record_put(struct buf *b, const char *text)
{
    char line[1024], *save;
    uint16_t type;
    struct buf rdata;

    (void)snprintf(line, sizeof(line), "%s", text);
    const char *owner = strtok_r(line, " ", &save), *ttl = strtok_r(NULL, " ", &save);
    const char *type_text = strtok_r(NULL, " ", &save);
    assert_true(owner && ttl && type_text);
    if (dns_type_parse(str_of(type_text), &type) < 0)
        FAIL("no type: %s", type_text);
    buf_init(&rdata, 4096);
    rdata_put(&rdata, type, save);
    put_rr(b, owner, type, (uint32_t)strtoul(ttl, NULL, 10), rdata.data, rdata.len);
    buf_done(&rdata);
}

static struct zone *zone_of(const char *name, uint16_t type)
{
    for (size_t i = 0; i < on.nzones; i++)
        if (strcmp(on.zones[i].name, name) == 0 && on.zones[i].type == type)
            return &on.zones[i];
    return NULL;
}

static void note_options(const uint8_t *msg, size_t n)
{
    /* option 8, client subnet (RFC 7871), anywhere behind the question */
    for (size_t i = DNS_HEADER_LEN; i + 4 < n; i++)
        on.client_subnet |= msg[i] == 0 && msg[i + 1] == 8 && msg[i + 2] == 0 && msg[i + 3] == 7;
}

static void answer(const uint8_t *msg, size_t n, bool tcp, struct buf *b)
{
    struct dns_ask ask;

    assert_int_equal(dns_ask_read(msg, n, &ask), 0);
    on.asked++;
    note_options(msg, n);
    const struct zone *z = zone_of(ask.name.text, ask.q.qtype);
    if (z && z->silent)
        return;
    bool cut = z && z->truncated && !tcp;
    size_t nrecords = z && !cut ? z->n - z->nauthority : 0;
    put_header(b, ask.id, 0x8180u | (cut ? DNS_FLAG_TC : 0) | (z ? z->rcode : DNS_NXDOMAIN),
               (uint16_t)nrecords, z && !cut ? (uint16_t)z->nauthority : 0, 0);
    put_question(b, &ask.q);
    for (size_t i = 0; z && !cut && i < z->n; i++)
        record_put(b, z->records[i]);
}

static void answer_udp(const uint8_t *msg, size_t n, const struct sockaddr_in *to)
{
    struct buf b;

    buf_init(&b, 65536);
    answer(msg, n, false, &b);
    if (b.len)
        assert_int_equal(sendto(on.up_udp, b.data, b.len, 0, (const struct sockaddr *)to, sizeof(*to)),
                         b.len);
    buf_done(&b);
}

static bool is_late(const uint8_t *msg, size_t n)
{
    struct dns_ask ask;

    assert_int_equal(dns_ask_read(msg, n, &ask), 0);
    const struct zone *z = zone_of(ask.name.text, ask.q.qtype);
    return z && z->late;
}

static void on_up_udp(struct ev_loop *loop, ev_io *w, int revents)
{
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    uint8_t msg[4096];

    (void)loop;
    (void)revents;
    ssize_t n = recvfrom(w->fd, msg, sizeof(msg), 0, (struct sockaddr *)&from, &len);
    assert_true(n > 0);
    if (!is_late(msg, (size_t)n)) {
        answer_udp(msg, (size_t)n, &from);
        return;
    }
    memcpy(on.held, msg, (size_t)n);
    on.held_len = (size_t)n;
    on.held_from = from;
}

static void do_deliver(void)
{
    uint64_t end = clock_boottime_us() + WAIT_MS * 1000ull;

    while (on.held_len == 0 && clock_boottime_us() < end)
        ev_run(on.loop, EVRUN_ONCE);
    if (on.held_len == 0)
        FAIL("no question waits");
    answer_udp(on.held, on.held_len, &on.held_from);
    on.held_len = 0;
}

static void on_up_tcp(struct ev_loop *loop, ev_io *w, int revents)
{
    _cleanup_close_ int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
    uint8_t msg[4096];
    struct buf b;

    (void)revents;
    assert_true(fd >= 0);
    for (int i = 0; i < 200 && recv(fd, msg, sizeof(msg), MSG_PEEK | MSG_DONTWAIT) < 3; i++)
        ev_run(loop, EVRUN_NOWAIT);
    ssize_t n = recv(fd, msg, sizeof(msg), MSG_DONTWAIT);
    if (n < 3)
        return;
    buf_init(&b, 65536);
    buf_put_be16(&b, 0);
    answer(msg + 2, (size_t)n - 2, true, &b);
    b.data[0] = (uint8_t)((b.len - 2) >> 8);
    b.data[1] = (uint8_t)(b.len - 2);
    if (b.len > 2)
        assert_int_equal(send(fd, b.data, b.len, MSG_NOSIGNAL), b.len);
    buf_done(&b);
}

/* ---- set-up ---- */

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static void stage_open(const char *file)
{
    memset(&on, 0, sizeof(on));
    skipped_us = 0;
    on.file = file;
    on.loop = ev_loop_new(EVFLAG_AUTO);
    rig_pair(AF_INET, &on.up_udp, &on.up_tcp, &on.up_port);
    ev_io_init(&on.up_udp_io, on_up_udp, on.up_udp, EV_READ);
    ev_io_init(&on.up_tcp_io, on_up_tcp, on.up_tcp, EV_READ);
    ev_timer_init(&on.tick, on_tick, 0.002, 0.002);
    ev_io_start(on.loop, &on.up_udp_io);
    ev_io_start(on.loop, &on.up_tcp_io);
    ev_timer_start(on.loop, &on.tick);
    for (size_t i = 0; i < 2; i++) {
        struct player *p = &on.players[i];
        p->letter = (char)('a' + i);
        p->client = -EBADF;
        p->resolvers[0] =
            (struct dns_resolver){.id = "up", .protocol = RESOLVER_DO53_UDP, .addr = loopback(on.up_port)};
        p->policy = (struct dns_policy){.names = p->names,
                                        .resolvers = p->resolvers,
                                        .nresolvers = 1,
                                        .answer_rules = p->rules,
                                        .metadata = p->metadata,
                                        .qtypes = p->types};
    }
    on.now = &on.players[0];
}

static void stage_close(void)
{
    for (size_t i = 0; i < 2; i++) {
        dns_cell_free(on.players[i].cell);
        if (on.players[i].client >= 0)
            close(on.players[i].client);
    }
    for (size_t i = 0; i < on.nacks; i++)
        on.acks[i].ack(on.acks[i].data, 0);
    if (on.pin_done)
        on.pin_done(on.pin_data, 0);
    for (size_t i = 0; i < on.nzones; i++)
        for (size_t k = 0; k < on.zones[i].n; k++)
            free(on.zones[i].records[k]);
    close(on.up_udp);
    close(on.up_tcp);
    ev_loop_destroy(on.loop);
}

/* The cell serves from its first step on that is no policy. */
static void cell_start(void)
{
    struct player *p = on.now;

    if (p->cell)
        return;
    rig_pair(AF_INET6, &p->udp, &p->tcp, &p->port);
    struct dns_cell_config cfg = {
        .loop = on.loop,
        .run_id = p->letter == 'a' ? "01930000-0000-7000-8000-00000000000a"
                                   : "01930000-0000-7000-8000-00000000000b",
        .policy = &p->policy,
        .udp_fd = p->udp,
        .tcp_fd = p->tcp,
        .events = &events,
        .self = p,
        .pin = on_pin,
    };
    assert_int_equal(dns_cell_new(&cfg, &p->cell), 0);
    struct rig at = {.port = p->port};
    p->client = client_open(&at, "127.0.0.1", SOCK_DGRAM);
}
