/* SPDX-License-Identifier: MIT */
/* What the DNS tests share: messages built by hand, a resolver on loopback that a test scripts, a cell with
 * sockets on
 * [::], a signer that acknowledges at once, later, never or with an error, and the events it was given. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "proxyd/dns/dns.h"
#include "proxyd/dns/reply.h"

#define UNUSED __attribute__((unused))

/* ---- messages ---- */

UNUSED static struct name host_of(const char *s)
{
    struct name n;

    assert_int_equal(name_parse(str_of(s), NAME_PATTERN, &n), NAME_OK);
    return n;
}

UNUSED static struct dns_wire_name wire_of(const char *s)
{
    struct dns_wire_name w = {.len = 0};
    struct name n;

    assert_int_equal(name_parse(str_of(s), NAME_DNS, &n), NAME_OK);
    dns_name_from_host(&n, &w);
    return w;
}

UNUSED static struct dns_question question_of(const char *name, uint16_t type)
{
    return (struct dns_question){wire_of(name), type, DNS_CLASS_IN};
}

UNUSED static void put_header(struct buf *b, uint16_t id, unsigned flags, uint16_t an, uint16_t ns,
                              uint16_t ar)
{
    buf_put_be16(b, id);
    buf_put_be16(b, (uint16_t)flags);
    buf_put_be16(b, 1);
    buf_put_be16(b, an);
    buf_put_be16(b, ns);
    buf_put_be16(b, ar);
}

UNUSED static void put_question(struct buf *b, const struct dns_question *q)
{
    buf_put(b, q->qname.b, q->qname.len);
    buf_put_be16(b, q->qtype);
    buf_put_be16(b, q->qclass);
}

UNUSED static void put_rr(struct buf *b, const char *owner, uint16_t type, uint32_t ttl, const void *rdata,
                          size_t n)
{
    struct dns_wire_name w = wire_of(owner);

    buf_put(b, w.b, w.len);
    buf_put_be16(b, type);
    buf_put_be16(b, DNS_CLASS_IN);
    buf_put_be32(b, ttl);
    buf_put_be16(b, (uint16_t)n);
    buf_put(b, rdata, n);
}

UNUSED static void put_addr(struct buf *b, const char *owner, uint32_t ttl, const char *addr)
{
    struct addr a;

    assert_int_equal(addr_parse(str_of(addr), &a), 0);
    put_rr(b, owner, a.family == AF_INET ? DNS_TYPE_A : DNS_TYPE_AAAA, ttl, a.bytes,
           a.family == AF_INET ? 4 : 16);
}

UNUSED static void put_cname(struct buf *b, const char *owner, uint32_t ttl, const char *target)
{
    struct dns_wire_name w = wire_of(target);

    put_rr(b, owner, DNS_TYPE_CNAME, ttl, w.b, w.len);
}

/* ---- the rig ---- */

enum ack_mode { ACK_AT_ONCE, ACK_LATER, ACK_HOLD, ACK_FAIL };

struct seen_event {
    char kind; /* 'q', 'a', 'g', 'd' (dns_authority_*) */
    char authority[12];
    char data[256]; /* all answers' data (of 'd': addresses), a blank between them */
    char removed_data[256];
    bool refresh, ech_removed, hints_removed, stale, synthetic;
    enum dnssec_status dnssec;
    uint32_t novel;
    char name[DNS_NAME_TEXT_MAX];
    char type[DNS_TYPE_TEXT_MAX];
    bool allow, cached, own, wants_ack;
    enum dns_reason_code reason;
    uint8_t rcode;
    char resolver[32];
    size_t nanswers, nremoved;
    char answer[DNS_NAME_TEXT_MAX]; /* the first */
    char removed[DNS_NAME_TEXT_MAX];
    char why[64];
    enum dns_reason_code removed_reason;
    uint64_t lost;
};

#define RIG_EVENTS 4096
#define RIG_ACKS   256

struct rig {
    struct ev_loop *loop;
    ev_timer tick;

    /* the resolver */
    int up_udp, up_tcp;
    uint16_t up_port;
    ev_io up_udp_io, up_tcp_io;
    unsigned udp_seen, tcp_seen;
    struct sockaddr_in last_from;
    uint16_t last_id;
    struct dns_ask last_ask;
    void (*script)(struct rig *, const struct dns_ask *, bool tcp, struct buf *answer);
    int arg;

    struct dns_resolver resolvers[2];
    struct name names[4];
    struct dns_answer_rule rules[2];
    struct dns_policy policy;
    struct dns_cell *cell;
    int udp, tcp;
    uint16_t port;

    enum ack_mode mode;
    size_t nacks;
    struct {
        dns_ack_cb ack;
        void *data;
    } acks[RIG_ACKS];
    ev_timer ack_timer;
    size_t nevents;
    struct seen_event events[RIG_EVENTS];

    int client;
    uint8_t reply[65536];
    size_t reply_len;
};

static void rig_ack_all(struct rig *rig, int result)
{
    size_t n = rig->nacks;
    struct {
        dns_ack_cb ack;
        void *data;
    } acks[RIG_ACKS];

    memcpy(acks, rig->acks, sizeof(acks));
    rig->nacks = 0;
    for (size_t i = 0; i < n; i++)
        acks[i].ack(acks[i].data, result);
}

static void rig_on_ack_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    rig_ack_all(w->data, 0);
}

static void rig_take_ack(struct rig *rig, dns_ack_cb ack, void *data)
{
    if (!ack)
        return;
    if (rig->mode == ACK_AT_ONCE || rig->mode == ACK_FAIL) {
        ack(data, rig->mode == ACK_FAIL ? -EIO : 0);
        return;
    }
    assert_true(rig->nacks < RIG_ACKS);
    rig->acks[rig->nacks].ack = ack;
    rig->acks[rig->nacks++].data = data;
    if (rig->mode == ACK_LATER) {
        ev_timer_stop(rig->loop, &rig->ack_timer);
        ev_timer_set(&rig->ack_timer, 0.001, 0.);
        ev_timer_start(rig->loop, &rig->ack_timer);
    }
}

static struct seen_event *rig_event(struct rig *rig, char kind, const char *name, const char *type)
{
    struct seen_event *e = &rig->events[rig->nevents++];

    assert_true(rig->nevents < RIG_EVENTS);
    *e = (struct seen_event){.kind = kind};
    (void)snprintf(e->name, sizeof(e->name), "%s", name ? name : "(none)");
    (void)snprintf(e->type, sizeof(e->type), "%s", type ? type : "(none)");
    return e;
}

static void seen_data(char all[256], const char *one)
{
    size_t n = strlen(all);

    (void)snprintf(all + n, 256 - n, "%s%s", n ? " " : "", one);
}

static void rig_on_query(void *self, const struct dns_query_info *info, dns_ack_cb ack, void *data)
{
    struct seen_event *e = rig_event(self, 'q', info->name, info->type);

    e->allow = info->allow;
    e->cached = info->cached;
    e->own = info->own;
    e->wants_ack = ack != NULL;
    e->refresh = info->refresh;
    for (size_t i = 0; i < info->nanswers; i++)
        seen_data(e->data, info->answers[i].data);
    e->reason = info->reason;
    e->rcode = info->rcode;
    e->nanswers = info->nanswers;
    (void)snprintf(e->resolver, sizeof(e->resolver), "%.31s",
                   info->resolver_id ? info->resolver_id : "(none)");
    if (info->nanswers)
        (void)snprintf(e->answer, sizeof(e->answer), "%s", info->answers[0].data);
    rig_take_ack(self, ack, data);
}

static void rig_on_answer(void *self, const struct dns_answer_info *info, dns_ack_cb ack, void *data)
{
    struct seen_event *e = rig_event(self, 'a', info->name, info->type);

    e->own = info->own;
    e->wants_ack = ack != NULL;
    e->reason = info->reason;
    e->rcode = info->rcode;
    e->nanswers = info->nanswers;
    e->nremoved = info->nremoved;
    e->ech_removed = info->ech_removed;
    e->hints_removed = info->hints_removed;
    e->stale = info->stale;
    e->synthetic = info->synthetic;
    e->dnssec = info->dnssec;
    for (size_t i = 0; i < info->nanswers; i++)
        seen_data(e->data, info->answers[i].data);
    for (size_t i = 0; i < info->nremoved; i++)
        seen_data(e->removed_data, info->removed[i].data);
    (void)snprintf(e->resolver, sizeof(e->resolver), "%.31s", info->resolver_id);
    if (info->nanswers)
        (void)snprintf(e->answer, sizeof(e->answer), "%s", info->answers[0].data);
    if (info->nremoved) {
        (void)snprintf(e->removed, sizeof(e->removed), "%s", info->removed[0].data);
        (void)snprintf(e->why, sizeof(e->why), "%s", info->removed[0].why);
        e->removed_reason = info->removed[0].reason;
    }
    rig_take_ack(self, ack, data);
}

static void rig_on_gap(void *self, const struct dns_gap_info *info)
{
    struct seen_event *e = rig_event(self, 'g', info->cause, NULL);

    e->lost = info->lost;
    assert_true(info->since_ms <= info->until_ms);
}

static void rig_on_authority(void *self, const struct dns_authority_info *info)
{
    static const char *const names[] = {"drift", "threshold", "rejected", "dnssec"};
    struct seen_event *e = rig_event(self, 'd', info->name, info->type);

    (void)snprintf(e->authority, sizeof(e->authority), "%s", names[info->event]);
    (void)snprintf(e->resolver, sizeof(e->resolver), "%.31s", info->resolver_id);
    (void)snprintf(e->why, sizeof(e->why), "%.63s", info->why ? info->why : "");
    e->nanswers = info->naddresses;
    for (size_t i = 0; i < info->naddresses; i++)
        seen_data(e->data, info->addresses[i]);
    e->novel = info->novel;
    e->dnssec = info->dnssec;
    if (info->event == DNS_AUTHORITY_DRIFT)
        assert_true(info->previous && info->current && strcmp(info->previous, info->current) != 0 &&
                    strlen(info->previous) == LIMIT_DIGEST && strlen(info->current) == LIMIT_DIGEST);
}

static const struct dns_events rig_events = {rig_on_query, rig_on_answer, rig_on_gap, rig_on_authority};

static void rig_up_answer(struct rig *rig, const uint8_t *msg, size_t n, bool tcp, struct buf *b)
{
    assert_int_equal(dns_ask_read(msg, n, &rig->last_ask), 0);
    rig->last_id = rig->last_ask.id;
    if (rig->script)
        rig->script(rig, &rig->last_ask, tcp, b);
}

static void rig_on_up_udp(struct ev_loop *loop, ev_io *w, int events)
{
    struct rig *rig = w->data;
    socklen_t len = sizeof(rig->last_from);
    uint8_t msg[4096];
    struct buf b;

    (void)loop;
    (void)events;
    ssize_t n = recvfrom(rig->up_udp, msg, sizeof(msg), 0, (struct sockaddr *)&rig->last_from, &len);
    assert_true(n > 0);
    rig->udp_seen++;
    buf_init(&b, 65536);
    rig_up_answer(rig, msg, (size_t)n, false, &b);
    if (b.len)
        assert_int_equal(sendto(rig->up_udp, b.data, b.len, 0, (struct sockaddr *)&rig->last_from, len),
                         b.len);
    buf_done(&b);
}

/* One query a connection, read and answered at once: it is small and on loopback. */
static void rig_on_up_tcp(struct ev_loop *loop, ev_io *w, int events)
{
    struct rig *rig = w->data;
    uint8_t msg[4096];
    struct buf b;
    _cleanup_close_ int fd = accept4(rig->up_tcp, NULL, NULL, SOCK_CLOEXEC);

    (void)loop;
    (void)events;
    assert_true(fd >= 0);
    rig->tcp_seen++;
    /* the cell's side may need another turn of the loop before it writes */
    for (int i = 0; i < 100 && recv(fd, msg, sizeof(msg), MSG_PEEK | MSG_DONTWAIT) < 3; i++)
        ev_run(rig->loop, EVRUN_NOWAIT);
    ssize_t n = recv(fd, msg, sizeof(msg), 0);
    assert_true(n > 2);
    assert_int_equal(msg[0] << 8 | msg[1], n - 2);
    buf_init(&b, 65536);
    buf_put_be16(&b, 0);
    rig_up_answer(rig, msg + 2, (size_t)n - 2, true, &b);
    b.data[0] = (uint8_t)((b.len - 2) >> 8);
    b.data[1] = (uint8_t)(b.len - 2);
    if (b.len > 2)
        assert_int_equal(send(fd, b.data, b.len, MSG_NOSIGNAL), b.len);
    buf_done(&b);
}

static int rig_socket(int family, int type, uint16_t port, uint16_t *ret_port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr *sa = family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
    socklen_t len = family == AF_INET ? sizeof(four) : sizeof(six);
    const int off = 0;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    *ret_port = port;

    assert_true(fd >= 0);
    if (family == AF_INET6)
        assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
    if (bind(fd, sa, len) < 0) {
        close(fd);
        return -1;
    }
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getsockname(fd, sa, &len), 0);
    *ret_port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
    return fd;
}

/* A UDP and a TCP socket on one free port. */
static void rig_pair(int family, int *ret_udp, int *ret_tcp, uint16_t *ret_port)
{
    for (int i = 0; i < 50; i++) {
        *ret_udp = rig_socket(family, SOCK_DGRAM, 0, ret_port);
        assert_true(*ret_udp >= 0);
        *ret_tcp = rig_socket(family, SOCK_STREAM, *ret_port, ret_port);
        if (*ret_tcp >= 0)
            return;
        close(*ret_udp);
    }
    fail_msg("no free port");
}

static void rig_on_tick(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
}

UNUSED static struct endpoint_addr loopback(uint16_t port)
{
    return (struct endpoint_addr){{AF_INET, {127, 0, 0, 1}}, port};
}

UNUSED static void rig_cell_start(struct rig *rig)
{
    struct dns_cell_config cfg = {
        .loop = rig->loop,
        .run_id = "01930000-0000-7000-8000-000000000001",
        .policy = &rig->policy,
        .udp_fd = rig->udp,
        .tcp_fd = rig->tcp,
        .events = &rig_events,
        .self = rig,
    };

    assert_int_equal(dns_cell_new(&cfg, &rig->cell), 0);
}

/* Names: www.example.com and *.wild.test; one resolver, the scripted one. */
UNUSED static int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig->loop = ev_loop_new(EVFLAG_AUTO);
    rig_pair(AF_INET, &rig->up_udp, &rig->up_tcp, &rig->up_port);
    rig_pair(AF_INET6, &rig->udp, &rig->tcp, &rig->port);
    ev_io_init(&rig->up_udp_io, rig_on_up_udp, rig->up_udp, EV_READ);
    ev_io_init(&rig->up_tcp_io, rig_on_up_tcp, rig->up_tcp, EV_READ);
    ev_timer_init(&rig->tick, rig_on_tick, 0.005, 0.005);
    ev_init(&rig->ack_timer, rig_on_ack_timer);
    rig->up_udp_io.data = rig->up_tcp_io.data = rig->ack_timer.data = rig;
    ev_io_start(rig->loop, &rig->up_udp_io);
    ev_io_start(rig->loop, &rig->up_tcp_io);
    ev_timer_start(rig->loop, &rig->tick);
    rig->names[0] = host_of("www.example.com");
    rig->names[1] = host_of("*.wild.test");
    rig->resolvers[0] =
        (struct dns_resolver){.id = "up", .protocol = RESOLVER_DO53_UDP, .addr = loopback(rig->up_port)};
    rig->policy = (struct dns_policy){.names = rig->names,
                                      .nnames = 2,
                                      .resolvers = rig->resolvers,
                                      .nresolvers = 1,
                                      .answer_rules = rig->rules};
    rig->client = -EBADF;
    rig_cell_start(rig);
    *state = rig;
    return 0;
}

/* After a change of the resolvers, which a cell looks at only once: the same cell anew. */
UNUSED static void rig_restart(struct rig *rig)
{
    rig->cell = dns_cell_free(rig->cell);
    rig_ack_all(rig, 0);
    if (rig->client >= 0)
        close(rig->client);
    rig->client = -EBADF;
    rig_pair(AF_INET6, &rig->udp, &rig->tcp, &rig->port);
    rig_cell_start(rig);
}

UNUSED static int rig_teardown(void **state)
{
    struct rig *rig = *state;

    dns_cell_free(rig->cell);
    rig_ack_all(rig, 0);
    close(rig->up_udp);
    close(rig->up_tcp);
    if (rig->client >= 0)
        close(rig->client);
    ev_loop_destroy(rig->loop);
    free(rig);
    return 0;
}

UNUSED static void rig_run(struct rig *rig, unsigned ms)
{
    uint64_t end = clock_boottime_us() + (uint64_t)ms * 1000;

    while (clock_boottime_us() < end)
        ev_run(rig->loop, EVRUN_ONCE);
}

/* ---- the cell's side ---- */

UNUSED static int client_open(struct rig *rig, const char *addr, int type)
{
    struct endpoint_addr e = {.port = rig->port};
    struct sockaddr_storage ss;

    assert_int_equal(addr_parse(str_of(addr), &e.addr), 0);
    socklen_t len = addr_to_sockaddr(&e, &ss);
    int fd = socket(ss.ss_family, type | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
    return fd;
}

UNUSED static void put_query(struct buf *b, uint16_t id, const char *name, uint16_t type)
{
    struct dns_question q = question_of(name, type);

    put_header(b, id, DNS_FLAG_RD, 0, 0, 0);
    put_question(b, &q);
}

UNUSED static void client_ask(struct rig *rig, uint16_t id, const char *name, uint16_t type)
{
    struct buf b;

    if (rig->client < 0)
        rig->client = client_open(rig, "127.0.0.1", SOCK_DGRAM);
    buf_init(&b, 512);
    put_query(&b, id, name, type);
    assert_int_equal(send(rig->client, b.data, b.len, 0), b.len);
    buf_done(&b);
}

/* True when an answer came within ms; it is in rig->reply. */
UNUSED static bool client_answer(struct rig *rig, unsigned ms)
{
    uint64_t end = clock_boottime_us() + (uint64_t)ms * 1000;

    while (clock_boottime_us() < end) {
        ssize_t n = recv(rig->client, rig->reply, sizeof(rig->reply), MSG_DONTWAIT);
        if (n > 0) {
            rig->reply_len = (size_t)n;
            return true;
        }
        ev_run(rig->loop, EVRUN_ONCE);
    }
    return false;
}

UNUSED static uint8_t reply_rcode(const struct rig *rig)
{
    assert_true(rig->reply_len >= DNS_HEADER_LEN && rig->reply[2] & 0x80);
    return rig->reply[3] & 0xf;
}

UNUSED static unsigned reply_id(const struct rig *rig)
{
    return (unsigned)rig->reply[0] << 8 | rig->reply[1];
}

UNUSED static unsigned reply_ancount(const struct rig *rig)
{
    return (unsigned)rig->reply[6] << 8 | rig->reply[7];
}

/* Asks and wants this code back. */
UNUSED static void ask_gets(struct rig *rig, const char *name, uint16_t type, uint8_t rcode, unsigned ancount)
{
    static uint16_t id = 100;

    client_ask(rig, ++id, name, type);
    if (!client_answer(rig, 7000))
        fail_msg("%s: no answer", name);
    assert_int_equal(reply_id(rig), id);
    assert_int_equal(reply_rcode(rig), rcode);
    assert_int_equal(reply_ancount(rig), ancount);
}

/* ---- scripts for the resolver ---- */

/* 93.184.216.34 for A, 2606:2800:220:1::1 for AAAA, ttl 60 */
UNUSED static void script_address(struct rig *rig, const struct dns_ask *ask, bool tcp, struct buf *b)
{
    bool v4 = ask->q.qtype == DNS_TYPE_A, v6 = ask->q.qtype == DNS_TYPE_AAAA;

    (void)rig;
    (void)tcp;
    put_header(b, ask->id, 0x8180, v4 || v6 ? 1 : 0, 0, 0);
    put_question(b, &ask->q);
    if (v4 || v6)
        put_addr(b, ask->name.text, 60, v4 ? "93.184.216.34" : "2606:2800:220:1::1");
}
